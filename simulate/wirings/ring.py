"""A ring: neurons with similar preferred angles excite each other, and inhibition reaches farther.

The "Mexican hat" of Ben-Yishai, Bar-Or & Sompolinsky 1995, PNAS 92:3844, where the interaction of two neurons
depends on the difference of their angles alone. Dale's law asks for two populations: the chance that neuron i
reaches j is proportional to

    exp((cos(θ_i - θ_j) - 1) / width²),    width of excitation < width of inhibition, in radians

and is scaled so that either population has the density asked for. A bump of activity can stand anywhere.
"""

from dataclasses import dataclass

import numpy as np

from simulate.checks import above_zero
from simulate.wirings.sketch import Population, Sketch, scaled_to_density, toss


@dataclass(kw_only=True)
class RingConfig:
    """The profile of `wiring.kind=ring`."""

    excitatory_deg: float = 30.0
    """Width of the excitatory profile, like a Gaussian's standard deviation (degrees)."""
    inhibitory_deg: float = 90.0
    """Width of the inhibitory profile (degrees)."""

    def __post_init__(self) -> None:
        above_zero(self, "excitatory_deg inhibitory_deg", section="wiring.ring.")


def ring(config: RingConfig, *, density: float, population: Population, rng: np.random.Generator) -> Sketch:
    """Connect neurons by the difference of their angles; see `simulate.wirings`.

    Raises:
        UserError: The profile is too narrow for the density.
    """
    angle = 2 * np.pi * population.spread()
    closeness = np.cos(angle[:, None] - angle[None, :]) - 1
    probability = np.zeros((population.n, population.n))
    for inhibitory, name in ((False, "excitatory_deg"), (True, "inhibitory_deg")):
        rows = np.flatnonzero(population.inhibitory == inhibitory)
        profile = np.exp(np.maximum(closeness[rows] / np.deg2rad(getattr(config, name)) ** 2, -500))
        profile[np.arange(len(rows)), rows] = 0.0
        cure = f"lower wiring.density or raise wiring.ring.{name}"
        probability[rows] = scaled_to_density(profile, density, cure=cure)
    return Sketch(connected=toss(probability, rng), places={"angle_deg": np.rad2deg(angle)})
