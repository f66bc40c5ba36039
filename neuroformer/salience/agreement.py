"""Do two saliences agree? Rank correlation, and the overlap of their most salient units beside chance."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy.stats import rankdata


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's, of two saliences (N,); NaN if one is constant.

    >>> rank_correlation(np.array([1.0, 2.0, 9.0]), np.array([0.1, 0.2, 0.3]))
    1.0
    """
    x, y = rankdata(a) - (len(a) + 1) / 2, rankdata(b) - (len(b) + 1) / 2
    size = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / size) if size > 0 else float("nan")


def order(salience: np.ndarray) -> np.ndarray:
    """(N,) units from the most salient down; among equals the earlier one is first."""
    return np.argsort(-salience, kind="stable")


def overlap(a: np.ndarray, b: np.ndarray, k: int) -> float:
    """Part of the k most salient units of one that is among those of the other; by chance k / N."""
    return len(np.intersect1d(order(a)[:k], order(b)[:k])) / k


def mean_agreement(saliences: Sequence[np.ndarray], k: int) -> dict[str, float] | None:
    """Mean over all pairs, with the overlap that chance gives; None of fewer than two.

    Args:
        saliences: (N,) each.
        k: most salient units that are compared.
    """
    pairs = list(combinations(saliences, 2))
    if not pairs:
        return None
    return {
        "rank_correlation": float(np.mean([rank_correlation(a, b) for a, b in pairs])),
        "overlap": float(np.mean([overlap(a, b, k) for a, b in pairs])),
        "chance": k / len(saliences[0]),
        "pairs": len(pairs),
    }
