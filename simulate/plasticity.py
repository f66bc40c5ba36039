"""Plasticity: some weights change at one moment, for comparisons of before and after.

A fraction of the edges, each with the same chance, is multiplied by a factor (0 removes them) or gets new weights
from the same log-normal law. Events that occur from then on act with the new weights. Signs stay (Dale's law), and
no edge appears where none was.
"""

from dataclasses import dataclass

import numpy as np

from neuroformer.errors import UserError
from simulate.checks import fraction, not_negative


@dataclass(kw_only=True)
class PlasticityConfig:
    """Weights that change once."""

    fraction: float = 0.0
    """Fraction of the edges that change; 0: no plasticity."""
    at: float = 0.5
    """When, as a fraction of `duration_s`; rounded to a whole block of `block_s`."""
    factor: float | None = 2.0
    """What the changed weights are multiplied by; 0: these edges vanish; null: drawn anew from the same law."""

    def __post_init__(self) -> None:
        fraction(self, "fraction at", section="plasticity.")
        if self.factor is not None:
            not_negative(self, "factor", section="plasticity.")


@dataclass(frozen=True, kw_only=True, eq=False)
class Change:
    """What changes and when."""

    step: int
    """The first step of the new weights, the first of a block."""
    weight: np.ndarray
    """(K,) float64, the new weight of each edge, in the order of the wiring's."""


def draw_change(
    config: PlasticityConfig,
    weight: np.ndarray,
    *,
    median: np.ndarray,
    sigma: float,
    n_steps: int,
    block: int,
    rng: np.random.Generator,
) -> Change:
    """Draw which edges change, and how.

    Args:
        config: How many, when, and to what.
        weight: (K,) weight of each edge before.
        median: (K,) median of the law that each was drawn from, with its sign.
        sigma: Standard deviation of the logarithm of weights.
        n_steps: Steps of the recording.
        block: Steps of a block of the log-likelihood.
        rng: The stream of the plasticity.

    Raises:
        UserError: No whole block lies before the change, or none begins after it.
    """
    step = block * round(config.at * n_steps / block)
    if not 0 < step < n_steps:
        raise UserError(
            f"plasticity.at={config.at:g}: expected at least one block of block_s before and after the change; "
            "bring it nearer to 0.5, raise duration_s or lower block_s"
        )
    changes = rng.permutation(len(weight)) < round(config.fraction * len(weight))
    if config.factor is None:
        new = median * np.exp(sigma * rng.standard_normal(len(weight)))
    else:
        new = config.factor * weight
    return Change(step=step, weight=np.where(changes, new, weight))
