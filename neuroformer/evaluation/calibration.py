"""Spreads whose intervals cover what they say: one factor a dimension, from validation.

Split conformal prediction with the score |error| / spread (Angelopoulos & Bates 2021, arXiv 2107.07511, §2.3): with n
validation samples the factor is their ⌈(n + 1)·level⌉-th smallest score over the normal quantile of the level. Where
validation and test samples are exchangeable, intervals of this level then cover at least `level` and at most
`level + 1/(n + 1)` of test samples on average. Samples in time are not quite exchangeable: the fewer and the longer the
stretches of validation, the rougher the coverage, so it is scored on test, never assumed.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from neuroformer.errors import UserError


def calibrate_spread(
    truth: np.ndarray,
    mean: np.ndarray,
    spread: np.ndarray,
    *,
    level: float = 0.8,
    period: float | None = None,
    name: str = "target",
) -> np.ndarray:
    """Factors for the spread, such that mean ± z·factor·spread covers `level`; z is 1.28 at 0.8.

    Args:
        truth: (n, D) of validation; bins with a NaN are left out.
        mean: (n, D) decoded.
        spread: (n, D) standard deviation, above 0.
        level: wanted coverage.
        period: of a circular variable.
        name: of the target, for messages.

    Returns:
        (D,) factors above 0.

    Raises:
        UserError: too few samples for the level, or a spread that is not above 0.
    """
    assert 0 < level < 1
    known = np.isfinite(truth).all(1)
    truth, mean, spread = truth[known], mean[known], spread[known]
    n = len(truth)
    rank = int(np.ceil((n + 1) * level - 1e-9))
    if rank > n:
        raise UserError(
            f"{name}: {n} labelled validation sample(s) cannot calibrate an interval of {level:.0%}; "
            f"use {int(np.ceil(level / (1 - level) - 1e-9))} or more"
        )
    if not (np.isfinite(spread).all() and (spread > 0).all() and np.isfinite(mean).all()):
        raise UserError(f"{name}: a decoded mean or spread is not finite, or a spread is not above 0")
    error = mean - truth
    if period is not None:
        error = (error + period / 2) % period - period / 2
    ratio = np.sort(np.abs(error) / spread, axis=0)[rank - 1]
    factor: np.ndarray = np.maximum(ratio, 1e-9) / float(ndtri((1 + level) / 2))
    return factor
