"""Honest numbers: bits per spike and intervals by a bootstrap over blocks of time."""

from __future__ import annotations

import math

import numpy as np


def bits_per_spike(log_likelihood: float, null: float, n_events: float) -> float:
    """(log-likelihood − null) / (events · ln 2), pooled over units.

    Pei et al. 2021 (Neural Latents Benchmark, arXiv 2109.04463) with one difference: the null is a homogeneous Poisson
    process at each unit's *training* rate, not at its rate in the evaluated data.

    Args:
        log_likelihood: of the events under the model, in nats.
        null: of the same events under the homogeneous Poisson process, in nats.
        n_events: number of events; NaN comes back where there is none.

    >>> bits_per_spike(log_likelihood=-300.0, null=-300.0 - 100 * math.log(2), n_events=50)  # doctest: +ELLIPSIS
    2.0...
    """
    return (log_likelihood - null) / (n_events * math.log(2)) if n_events else math.nan


def bootstrap_ratio(
    numerator: np.ndarray,
    denominator: np.ndarray,
    rng: np.random.Generator,
    *,
    n_draws: int = 2000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of Σ numerator / Σ denominator when blocks are drawn with replacement.

    Args:
        numerator: (M,) per block, such as log-likelihood differences in bits.
        denominator: (M,) per block, such as numbers of events.
        rng: source of the draws.
        n_draws: bootstrap samples.
        level: coverage.

    Returns:
        Lower and upper end; NaN with fewer than two blocks.
    """
    n = len(numerator)
    if n < 2 or denominator.sum() == 0:
        return math.nan, math.nan
    times = rng.multinomial(n, np.full(n, 1 / n), size=n_draws)
    total = times @ denominator
    ratio = (times @ numerator)[total > 0] / total[total > 0]
    tail = (1 - level) / 2
    low, high = np.quantile(ratio, [tail, 1 - tail])
    return float(low), float(high)
