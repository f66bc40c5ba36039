"""Sparse excitatory-inhibitory wiring with hubs, Dale's law, log-normal weights and a delay for each edge.

Log-normal weights: Song, Sjöström, Reigl, Nelson & Chklovskii 2005, PLoS Biol. 3:e68. Heavy tails of weights
and degrees: Buzsáki & Mizuseki 2014, Nat. Rev. Neurosci. 15:264.
"""

from dataclasses import dataclass

import numpy as np

from simulate.config import WiringConfig


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
    config: WiringConfig, *, inhibitory: np.ndarray, delays: tuple[int, int], rng: np.random.Generator
) -> Wiring:
    """Draw who is connected to whom.

    Neuron i reaches each other neuron with probability min(1, density · q_i); q_i is 1 without hubs, and
    Pareto distributed with mean 1 and tail exponent `hub_exponent` with them. A weight is
    ±median · exp(sigma · z), z standard normal.

    Args:
        config: Density, hubs and weights.
        inhibitory: (n,) bool, cell types.
        delays: Shortest and longest delay (steps), both included.
        rng: The stream of the wiring.
    """
    n = len(inhibitory)
    hubness = np.ones(n)
    if config.hub_exponent is not None:
        smallest = (config.hub_exponent - 1) / config.hub_exponent
        hubness = smallest * (1 - rng.random(n)) ** (-1 / config.hub_exponent)
    connected = rng.random((n, n)) < config.density * hubness[:, None]
    np.fill_diagonal(connected, False)
    source, target = np.nonzero(connected)
    size = config.weight * np.exp(config.weight_sigma * rng.standard_normal(len(source)))
    return Wiring(
        inhibitory=inhibitory,
        source=source,
        target=target,
        weight=np.where(inhibitory[source], -config.inhibition * size, size),
        delay=rng.integers(*delays, len(source), endpoint=True),
    )
