"""Correlation of a pattern (over units, or over pairs of units) between generated and recorded activity.

Half against half, beside the ceiling that the recorded halves reach against one another, and their ratio. Its interval
comes from a jackknife over units; for pairs it leaves out all pairs of a unit at once and is scaled as Snijders and
Borgatti (1999, Connections 22:161) do for networks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

_NORMAL = 1.96  # 97.5 % quantile of the normal distribution


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How alike two patterns are.

    Attributes:
        whole: r of all copies together with the whole recording.
        generated: r of a copy's half with the opposite half of the recording, mean over splits, copies and sides.
        ceiling: r of the recording's two halves, mean over splits.
        ratio: generated / ceiling; NaN where the ceiling is not above 0 or not distinct from it.
        interval: 95 % of the ratio.
        ceiling_interval: 95 % of the ceiling.
        n: units or pairs.
    """

    whole: float
    generated: float
    ceiling: float
    ratio: float
    interval: tuple[float, float]
    ceiling_interval: tuple[float, float]
    n: int

    def table(self) -> dict[str, Any]:
        """As it is written to metrics.json."""
        return {
            "r": self.whole,
            "r_half": self.generated,
            "ceiling": self.ceiling,
            "ceiling_interval": self.ceiling_interval,
            "ratio": self.ratio,
            "ratio_interval": self.interval,
            "n": self.n,
        }


def agreement(
    *,
    real: tuple[np.ndarray, np.ndarray],
    copies: Iterable[tuple[np.ndarray, np.ndarray]],
    whole: tuple[np.ndarray, np.ndarray],
    pairs: bool = False,
) -> Agreement:
    """Correlate patterns.

    Args:
        real: patterns (R, N) of the recording's halves in each split or, of pairs, (R, N, N) symmetric matrices.
        copies: the same of each copy.
        whole: patterns (N,) or (N, N) of the whole recording and of all copies together.
        pairs: whether patterns are matrices; the diagonal does not count, and what is NaN in either is left out.
    """
    a, b = real
    ceiling, left_out = (x.mean(0) for x in leave_one_out(a, b, pairs=pairs))
    found = []
    for copy in copies:
        for one, other in ((copy[0], b), (copy[1], a)):
            found.append([x.mean(0) for x in leave_one_out(one, other, pairs=pairs)])
    generated = float(np.mean([f[0] for f in found]))
    generated_out = np.mean([f[1] for f in found], 0)
    r, _ = leave_one_out(whole[0][None], whole[1][None], pairs=pairs)
    low = ceiling - _NORMAL * _spread(left_out, pairs)
    distinct = low > 0
    ratio = generated / ceiling if distinct else np.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        half = _NORMAL * _spread(generated_out / left_out, pairs)
    known = np.isfinite(whole[0]) & np.isfinite(whole[1])
    return Agreement(
        whole=float(r[0]),
        generated=generated,
        ceiling=float(ceiling),
        ratio=float(ratio),
        interval=(float(ratio - half), float(ratio + half)),
        ceiling_interval=(float(low), float(2 * ceiling - low)),
        n=int(np.triu(known, 1).sum() if pairs else known.sum()),
    )


def leave_one_out(a: np.ndarray, b: np.ndarray, *, pairs: bool) -> tuple[np.ndarray, np.ndarray]:
    """Pearson's r (R,) of two patterns over units or pairs, and r (R, N) without each unit.

    Args:
        a: (R, N) or, of pairs, (R, N, N) symmetric; NaN is left out.
        b: likewise.
        pairs: which of both.
    """
    weight = (np.isfinite(a) & np.isfinite(b)).astype(float)
    if pairs:
        weight = weight * (1 - np.eye(a.shape[-1]))
    known = weight > 0
    axes = tuple(range(1, a.ndim))
    a, b = (_centred(np.where(known, x, 0.0), weight, axes) for x in (a, b))
    terms = (weight, a, b, a * a, b * b, a * b)
    if pairs:  # symmetric: a unit's row and its column
        rows = [x.sum(-1) for x in terms]
        totals = [x.sum(-1, keepdims=True) for x in rows]
        without = [total - 2 * row for total, row in zip(totals, rows, strict=True)]
    else:
        totals = [x.sum(-1, keepdims=True) for x in terms]
        without = [total - x for total, x in zip(totals, terms, strict=True)]
    return _pearson(*totals)[:, 0], _pearson(*without)


def _centred(x: np.ndarray, weight: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Shifted to a mean of 0, so that sums of squares keep their digits."""
    mean = x.sum(axes, keepdims=True) / np.maximum(weight.sum(axes, keepdims=True), 1)
    return (x - mean) * weight


def _pearson(
    n: np.ndarray, a: np.ndarray, b: np.ndarray, aa: np.ndarray, bb: np.ndarray, ab: np.ndarray
) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        covariance = ab - a * b / n
        found = covariance / np.sqrt((aa - a * a / n) * (bb - b * b / n))
    return np.where(np.isfinite(found), found, 0.0)


def _spread(left_out: np.ndarray, pairs: bool) -> float:
    """Standard error from the values without each unit."""
    n = len(left_out)
    if n < 3:
        return float("nan")
    factor = (n - 2) / (2 * n) if pairs else (n - 1) / n
    return float(np.sqrt(factor * ((left_out - left_out.mean()) ** 2).sum()))
