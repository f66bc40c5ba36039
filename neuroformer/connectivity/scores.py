"""How well an estimate of wiring agrees with the wiring that is known.

Scored over ordered pairs (source, target) off the diagonal. An edge is a pair with weight ≠ 0. Average
precision leads: edges are few, and AUROC saturates long before the top of the ranking is clean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from scipy.stats import rankdata

from neuroformer.errors import UserError


@dataclass(frozen=True, kw_only=True)
class ConnectivityScores:
    """Agreement of one estimate with the truth; NaN where the truth has none of a kind of edge.

    "Excitatory" ranks pairs by the signed estimate and asks for the edges with weight > 0 among all pairs,
    inhibitory edges included; "inhibitory" ranks by minus the estimate and asks for those with weight < 0.
    """

    average_precision: float
    """Of |estimate| against edges; a ranking at random has `chance`, a perfect one 1."""
    chance: float
    """Share of pairs that are edges, which is the average precision of a constant estimate."""
    auroc: float
    """Of |estimate| against edges; at random 0.5."""
    average_precision_excitatory: float
    chance_excitatory: float
    auroc_excitatory: float
    average_precision_inhibitory: float
    chance_inhibitory: float
    auroc_inhibitory: float
    sign_accuracy: float
    """Share of edges whose estimate has the sign of the weight; an estimate of 0 counts one half."""
    direction_accuracy: float
    """Share of one-way pairs whose |estimate| is larger along than against the edge; ties count one half."""
    n_edges: int
    n_pairs: int


def score_connectivity(estimate: np.ndarray, weights: np.ndarray) -> ConnectivityScores:
    """Score a signed estimate against known weights, both (N, N) as [source, target].

    Raises:
        UserError: Shapes differ, a number is NaN or infinite, or the truth has no edges or nothing else.
    """
    if estimate.shape != weights.shape:
        raise UserError(
            f"estimate: found shape {estimate.shape}, expected that of the known weights, {weights.shape}; "
            "take both from the same session"
        )
    edge = off_diagonal(weights) != 0
    if not edge.any() or edge.all():
        raise UserError(
            f"truth/weights: {edge.sum()} of {len(edge)} pairs off the diagonal are edges; "
            "expected some with and some without, there is nothing to rank otherwise"
        )
    for name, matrix in (("estimate", estimate), ("truth/weights", weights)):
        bad = int((~np.isfinite(off_diagonal(matrix))).sum())
        if bad:
            raise UserError(
                f"{name}: {bad} entries are NaN or infinite; expected finite numbers, do not trust this run"
            )
    signed, weight = off_diagonal(estimate), off_diagonal(weights)
    excites, inhibits = weight > 0, weight < 0
    return ConnectivityScores(
        average_precision=average_precision(np.abs(signed), edge),
        chance=float(edge.mean()),
        auroc=auroc(np.abs(signed), edge),
        average_precision_excitatory=average_precision(signed, excites),
        chance_excitatory=float(excites.mean()),
        auroc_excitatory=auroc(signed, excites),
        average_precision_inhibitory=average_precision(-signed, inhibits),
        chance_inhibitory=float(inhibits.mean()),
        auroc_inhibitory=auroc(-signed, inhibits),
        sign_accuracy=float(_wins(signed[edge] * np.sign(weight[edge])).mean()),
        direction_accuracy=direction_accuracy(estimate, weights),
        n_edges=int(edge.sum()),
        n_pairs=len(edge),
    )


def mean_scores(scores: Sequence[ConnectivityScores]) -> ConnectivityScores:
    """Average each score over the sessions that have it; counts of edges and pairs are added up."""
    pooled: dict[str, Any] = {}
    for name in (field.name for field in fields(ConnectivityScores)):
        values = [getattr(score, name) for score in scores]
        known = [value for value in values if not np.isnan(value)]
        if name.startswith("n_"):
            pooled[name] = sum(values)
        else:
            pooled[name] = float(np.mean(known)) if known else float("nan")
    return ConnectivityScores(**pooled)


def off_diagonal(matrix: np.ndarray) -> np.ndarray:
    """Return the N (N − 1) entries off the diagonal of an (N, N) matrix, row by row."""
    return matrix[~np.eye(len(matrix), dtype=bool)]


def auroc(score: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve: P(score of a positive > score of a negative) + ½ P(equal).

    Mann and Whitney's U from mid-ranks (Hanley & McNeil 1982, Radiology 143:29). NaN without both kinds.
    """
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if n_positive == 0 or n_negative == 0:
        return float("nan")
    u = rankdata(score)[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(u / (n_positive * n_negative))


def average_precision(score: np.ndarray, positive: np.ndarray) -> float:
    """Return Σ_k (R_k − R_{k−1}) P_k over the distinct thresholds k from high to low; NaN without positives.

    No interpolation (which flatters), and equal scores enter together, so the order of ties cannot matter:
    the definition of scikit-learn and torchmetrics, in float64 and for scores of any range.
    """
    if not positive.any():
        return float("nan")
    precision, recall = precision_recall_curve(score, positive)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def precision_recall_curve(score: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (precision (K,), recall (K,)) at the K distinct scores as thresholds, from high to low."""
    order = np.argsort(-score)
    last_of_ties = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    true_positives = np.cumsum(positive[order])[last_of_ties]
    return true_positives / (last_of_ties + 1), true_positives / positive.sum()


def direction_accuracy(estimate: np.ndarray, weights: np.ndarray) -> float:
    """Share of one-way pairs (i → j, not j → i) with |estimate[i, j]| > |estimate[j, i]|.

    Ties count one half. At random 0.5, and exactly 0.5 for any symmetric estimate; NaN without one-way pairs.
    """
    edge = weights != 0
    one_way = edge & ~edge.T
    if not one_way.any():
        return float("nan")
    strength = np.abs(estimate)
    return float(_wins((strength - strength.T)[one_way]).mean())


def _wins(difference: np.ndarray) -> np.ndarray:
    """1 where positive, 0 where negative, ½ where zero."""
    return (np.sign(difference) + 1) / 2
