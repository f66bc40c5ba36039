"""What a ranking of pairs is worth: average precision and AUROC, plain or under many weightings of the pairs at once.

A weighting gives every pair a count, as a bootstrap draw does. The ranking is sorted once, whatever the number of
weightings. P = pairs, B = weightings, E = positive pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """Positive pairs in a ranking, with the pairs at or above each; equal scores stand at the same place."""

    positives: np.ndarray
    """(B, E) weight of each positive, best first."""
    found: np.ndarray
    """(B, E) weight of the positives that score as much as this one or more."""
    reached: np.ndarray
    """(B, E) weight of all pairs that score as much as this one or more."""
    above: np.ndarray
    """(B, E) weight of the negatives that score more than this one."""
    total: np.ndarray
    """(B,) weight of all pairs."""


def rank(score: np.ndarray, positive: np.ndarray, weight: np.ndarray) -> Ranked:
    """Sort the pairs by falling score and add up the weights.

    Args:
        score: (P,) how likely each pair is positive.
        positive: (P,) bool.
        weight: (B, P) not negative.
    """
    order = np.argsort(-score, kind="stable")
    is_last = np.append(np.diff(score[order]) != 0, True)  # of a run of equal scores
    last = np.flatnonzero(is_last)
    place = np.flatnonzero(positive[order])  # (E,) of each positive in the ranking
    run = np.cumsum(is_last)[place] - is_last[place]  # (E,) which run of equal scores it is in
    cumulative = np.cumsum(weight[:, order], axis=1)  # (B, P)
    positives = weight[:, order[place]]
    cumulative_positive = np.pad(np.cumsum(positives, axis=1), ((0, 0), (1, 0)))  # (B, E + 1)
    start = np.append(0, last[:-1] + 1)[run]  # (E,) first place of the run
    positives_above = np.searchsorted(place, start, side="left")
    positives_reached = np.searchsorted(place, last[run], side="right")
    before = np.where(start > 0, cumulative[:, start - 1], 0)
    return Ranked(
        positives=positives,
        found=cumulative_positive[:, positives_reached],
        reached=cumulative[:, last[run]],
        above=before - cumulative_positive[:, positives_above],
        total=cumulative[:, -1],
    )


def weighted_average_precision(ranked: Ranked) -> np.ndarray:
    """(B,) Σ_k (R_k − R_{k−1}) P_k over the distinct thresholds k from high to low; NaN without positives.

    No interpolation (which flatters), and equal scores enter together, so the order of ties cannot matter:
    the definition of scikit-learn and torchmetrics, in float64 and for scores of any range.
    """
    # A positive of weight 0 contributes nothing, even where nothing is reached yet.
    precision = ranked.found / np.maximum(ranked.reached, np.finfo(float).tiny)
    return ratio((ranked.positives * precision).sum(axis=1), ranked.positives.sum(axis=1))


def weighted_auroc(ranked: Ranked) -> np.ndarray:
    """(B,) P(score of a positive > score of a negative) + ½ P(equal); NaN without both kinds.

    Mann and Whitney's U (Hanley & McNeil 1982, Radiology 143:29).
    """
    n_positive = ranked.positives.sum(axis=1)
    n_negative = ranked.total - n_positive
    level_or_above = ranked.reached - ranked.found  # negatives that score as much or more
    beaten = n_negative[:, None] - (ranked.above + level_or_above) / 2
    return ratio((ranked.positives * beaten).sum(axis=1), n_positive * n_negative)


def average_precision(score: np.ndarray, positive: np.ndarray) -> float:
    """`weighted_average_precision` with every pair counted once, for (P,) scores."""
    return float(weighted_average_precision(rank(score, positive, np.ones((1, len(score)))))[0])


def auroc(score: np.ndarray, positive: np.ndarray) -> float:
    """`weighted_auroc` with every pair counted once, for (P,) scores."""
    return float(weighted_auroc(rank(score, positive, np.ones((1, len(score)))))[0])


def precision_recall_curve(score: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (precision (K,), recall (K,)) at the K distinct scores as thresholds, from high to low."""
    order = np.argsort(-score)
    last_of_ties = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    true_positives = np.cumsum(positive[order])[last_of_ties]
    return true_positives / (last_of_ties + 1), true_positives / positive.sum()


def off_diagonal(matrix: np.ndarray) -> np.ndarray:
    """Return the N (N − 1) entries off the diagonal of an (N, N) matrix, row by row."""
    return matrix[~np.eye(len(matrix), dtype=bool)]


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient of two arrays of one shape; NaN where the denominator is 0."""
    return np.divide(
        numerator,
        denominator,
        out=np.full(np.shape(denominator), np.nan),
        where=np.asarray(denominator) != 0,
    )
