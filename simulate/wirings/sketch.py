"""What every kind of wiring is told, and what it gives."""

from dataclasses import dataclass, field

import numpy as np

from neuroformer.errors import UserError


@dataclass(frozen=True, kw_only=True, eq=False)
class Population:
    """The n neurons to be connected."""

    inhibitory: np.ndarray
    """(n,) bool, the cell type."""
    observed: int
    """The first so many are observed, the others hidden."""

    @property
    def n(self) -> int:
        """Number of neurons."""
        return len(self.inhibitory)

    def spread(self) -> np.ndarray:
        """(n,) places in (0, 1), even for each cell type and for observed and hidden neurons apart.

        So every layer, cluster or stretch of a ring has its share of all four.
        """
        places = np.zeros(self.n)
        hidden = np.arange(self.n) >= self.observed
        for group in (2 * hidden + self.inhibitory == code for code in range(4)):
            places[group] = (np.arange(group.sum()) + 0.5) / max(group.sum(), 1)
        return places


@dataclass(frozen=True, kw_only=True, eq=False)
class Sketch:
    """Who is connected to whom, before weights and delays are drawn."""

    connected: np.ndarray
    """(n, n) bool, `[source, target]`; False on the diagonal."""
    strength: np.ndarray | None = None
    """(n, n), by which weights are multiplied; None: 1."""
    travel_s: np.ndarray | None = None
    """(n, n) seconds by which the delay is longer; None: 0."""
    places: dict[str, np.ndarray] = field(default_factory=dict)
    """Columns (n, ...) for the unit table: where each neuron lies."""


def scaled_to_density(profile: np.ndarray, density: float, *, cure: str) -> np.ndarray:
    """Turn relative chances into probabilities min(1, s · profile), with s such that their mean is `density`.

    Args:
        profile: (m, n) relative chance of an edge, 0 or more; 0 where none may be.
        density: Mean of the probabilities over all entries but the m of neurons onto themselves.
        cure: What to change when there is no such s.

    Raises:
        UserError: Even with all that may be connected, the density is not reached.
    """
    wanted = density * (profile.size - len(profile))
    possible = np.count_nonzero(profile)
    if wanted > possible:
        highest = possible / (profile.size - len(profile))
        raise UserError(f"wiring.density={density:g}: expected at most {highest:.3g} in this wiring; {cure}")
    if wanted == 0:
        return np.zeros_like(profile)
    low, high = 0.0, 1.0 / profile[profile > 0].min()  # at `high`, all that may be connected are
    for _ in range(100):
        scale = (low + high) / 2
        low, high = (scale, high) if np.minimum(scale * profile, 1).sum() < wanted else (low, scale)
    return np.minimum(high * profile, 1)


def toss(probability: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n, n) bool: each pair on its own with its probability, nobody with itself."""
    connected = rng.random(probability.shape) < probability
    np.fill_diagonal(connected, False)
    return connected
