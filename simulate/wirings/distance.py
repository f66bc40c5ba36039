"""Wiring by distance: near neurons are connected more often, and signals from afar come later.

Neurons lie at random in a square sheet. The chance of an edge falls with the distance d as exp(-d / length) or
exp(-d² / 2 length²), scaled to the density (falling local connectivity: Perin, Berger & Markram 2011, PNAS
108:5419; exponential decay over long ranges: Markov et al. 2011, Cereb. Cortex 21:1254). A signal travels at
the conduction velocity, so d / velocity is added to the delay of an edge.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from simulate.checks import above_zero
from simulate.wirings.sketch import Population, Sketch, scaled_to_density, toss


@dataclass(kw_only=True)
class DistanceConfig:
    """The sheet of `wiring.kind=distance`."""

    side_um: float = 1000.0
    """Side of the square sheet (µm)."""
    decay: Literal["exponential", "gaussian"] = "exponential"
    """How the chance of an edge falls with distance."""
    length_um: float = 200.0
    """Length over which it falls (µm)."""
    velocity_m_s: float | None = 0.3
    """Conduction velocity (m/s), 0.3 being that of a thin axon; null: delays know no distance."""

    def __post_init__(self) -> None:
        above_zero(self, "side_um length_um", section="wiring.distance.")
        if self.velocity_m_s is not None:
            above_zero(self, "velocity_m_s", section="wiring.distance.")


def distance(
    config: DistanceConfig, *, density: float, population: Population, rng: np.random.Generator
) -> Sketch:
    """Connect by distance in the sheet; see `simulate.wirings`. `places` has the positions, (n, 2) in µm.

    Raises:
        UserError: The length is too short for the density.
    """
    position = config.side_um * rng.random((population.n, 2))
    away = np.linalg.norm(position[:, None] - position[None, :], axis=2)
    scaled = away / config.length_um
    exponent = scaled if config.decay == "exponential" else scaled**2 / 2
    profile = np.exp(-np.minimum(exponent, 500))
    np.fill_diagonal(profile, 0.0)
    probability = scaled_to_density(profile, density, cure="lower it or raise wiring.distance.length_um")
    return Sketch(
        connected=toss(probability, rng),
        travel_s=None if config.velocity_m_s is None else away * 1e-6 / config.velocity_m_s,
        places={"position": position},
    )
