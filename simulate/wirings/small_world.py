"""A small world: a ring lattice some of whose edges lead anywhere.

Watts & Strogatz 1998, Nature 393:440, directed: every neuron reaches its k nearest neighbours on a ring, k =
density · (n - 1), half of them on either side. Each edge is moved with probability `rewire`: it keeps its source,
and its target becomes a neuron that is no neighbour, each with the same chance and none twice. So all out-degrees
stay k, and the fraction of edges off the lattice is `rewire` on average. A few moved edges make every path short;
neighbours of neighbours stay connected.
"""

from dataclasses import dataclass

import numpy as np

from neuroformer.errors import UserError
from simulate.checks import fraction
from simulate.wirings.sketch import Population, Sketch


@dataclass(kw_only=True)
class SmallWorldConfig:
    """The rewiring of `wiring.kind=small_world`."""

    rewire: float = 0.1
    """Probability that an edge of the lattice leads elsewhere; 0: a lattice, 1: no neighbours at all."""

    def __post_init__(self) -> None:
        fraction(self, "rewire", section="wiring.small_world.")


def small_world(
    config: SmallWorldConfig, *, density: float, population: Population, rng: np.random.Generator
) -> Sketch:
    """Connect neighbours on the ring and move some edges; see `simulate.wirings`.

    Raises:
        UserError: More than half of all pairs would be connected, so there may be no room to move edges to.
    """
    if density > 0.5:
        raise UserError(
            f"wiring.density={density:g}: expected at most 0.5 with wiring.kind=small_world; lower it"
        )
    n, spread = population.n, population.spread()
    k = round(density * (n - 1))
    order = np.argsort(spread, kind="stable")  # who stands where on the ring
    steps = np.arange(1, n)
    steps = steps[np.argsort(np.minimum(steps, n - steps), kind="stable")]  # from near to far, both ways
    near, far = steps[:k], steps[k:]
    connected = np.zeros((n, n), bool)
    for place, source in enumerate(order):
        moved = rng.random(k) < config.rewire
        hops = np.concatenate([near[~moved], rng.permutation(far)[: moved.sum()]])
        connected[source, order[(place + hops) % n]] = True
    return Sketch(connected=connected, places={"angle_deg": 360.0 * spread})
