"""Sparse excitatory-inhibitory wiring: Dale's law, log-normal weights and a delay for each edge.

Who may be connected to whom is a matter of its kind, one file each in `simulate.wirings`.

Log-normal weights: Song, Sjöström, Reigl, Nelson & Chklovskii 2005, PLoS Biol. 3:e68. Heavy tails of weights
and degrees: Buzsáki & Mizuseki 2014, Nat. Rev. Neurosci. 15:264.
"""

from dataclasses import dataclass, field

import numpy as np

from simulate.config import WiringConfig
from simulate.wirings.clustered import clustered
from simulate.wirings.distance import distance
from simulate.wirings.feed_forward import feed_forward
from simulate.wirings.motifs import motifs
from simulate.wirings.random import random
from simulate.wirings.ring import ring
from simulate.wirings.sketch import Population, Sketch
from simulate.wirings.small_world import small_world


@dataclass(frozen=True, kw_only=True, eq=False)
class Wiring:
    """Edges of a circuit of n neurons, in order of (source, target)."""

    inhibitory: np.ndarray
    """(n,) bool, the cell type."""
    source: np.ndarray
    """(K,) int64."""
    target: np.ndarray
    """(K,) int64."""
    weight: np.ndarray
    """(K,) float64, with the sign of the source."""
    delay: np.ndarray
    """(K,) int64, steps from an event to its first effect, 1 or more."""
    median: np.ndarray
    """(K,) float64, median of the law that each weight was drawn from, with its sign."""
    places: dict[str, np.ndarray] = field(default_factory=dict)
    """Columns (n, ...) for the unit table: position (µm), layer, cluster or angle_deg, by the kind."""

    @property
    def n(self) -> int:
        """Number of neurons."""
        return len(self.inhibitory)

    def matrix(self, values: np.ndarray) -> np.ndarray:
        """Set a (K,) value for each edge into an (n, n) float32 matrix `[source, target]`, 0 elsewhere."""
        dense = np.zeros((self.n, self.n), np.float32)
        dense[self.source, self.target] = values
        return dense


def cell_types(n: int, *, excitatory: float) -> np.ndarray:
    """(n,) bool: the last neurons inhibit, so that a matrix in this order shows both populations."""
    return np.arange(n) >= round(excitatory * n)


def draw_wiring(
    config: WiringConfig,
    *,
    inhibitory: np.ndarray,
    delays: tuple[int, int],
    rng: np.random.Generator,
    places_rng: np.random.Generator | None = None,
    observed: int | None = None,
    dt: float = 0.001,
) -> Wiring:
    """Draw who is connected to whom. A weight is ±median · exp(sigma · z), z standard normal.

    Args:
        config: Kind, density and weights.
        inhibitory: (n,) bool, cell types.
        delays: Shortest and longest delay (steps), both included, before what distance adds.
        rng: The stream of the wiring.
        places_rng: The stream of positions and edges of all kinds but `random`; None: `rng`.
        observed: The first so many neurons are observed; None: all.
        dt: Time step (seconds), for delays that grow with distance.

    Raises:
        UserError: The kind cannot have this density.
    """
    n = len(inhibitory)
    population = Population(inhibitory=inhibitory, observed=n if observed is None else observed)
    sketch = _sketch(config, population, rng=rng, places_rng=places_rng or rng)
    source, target = np.nonzero(sketch.connected)
    size = config.weight * np.exp(config.weight_sigma * rng.standard_normal(len(source)))
    sign = np.where(inhibitory[source], -config.inhibition, 1.0)
    if sketch.strength is not None:
        sign = sign * sketch.strength[source, target]
    delay = rng.integers(*delays, len(source), endpoint=True)
    if sketch.travel_s is not None:
        delay = delay + np.rint(sketch.travel_s[source, target] / dt).astype(np.int64)
    return Wiring(
        inhibitory=inhibitory,
        source=source,
        target=target,
        weight=sign * size,
        delay=delay,
        median=sign * config.weight,
        places=sketch.places,
    )


def _sketch(
    config: WiringConfig,
    population: Population,
    *,
    rng: np.random.Generator,
    places_rng: np.random.Generator,
) -> Sketch:
    """Draw the edges of a kind."""
    density = config.density
    match config.kind:
        case "random":
            return random(config.hub_exponent, density=density, population=population, rng=rng)
        case "feed_forward":
            return feed_forward(config.feed_forward, density=density, population=population, rng=places_rng)
        case "ring":
            return ring(config.ring, density=density, population=population, rng=places_rng)
        case "clustered":
            return clustered(config.clustered, density=density, population=population, rng=places_rng)
        case "small_world":
            return small_world(config.small_world, density=density, population=population, rng=places_rng)
        case "distance":
            return distance(config.distance, density=density, population=population, rng=places_rng)
        case "motifs":
            return motifs(config.motifs, density=density, population=population, rng=places_rng)
