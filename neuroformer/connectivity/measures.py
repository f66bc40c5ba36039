"""Every score of an estimate against known wiring, under many weightings of the pairs at once.

P = ordered pairs off the diagonal, B = weightings. Each score is a ratio of weighted sums over pairs (or a weighted
median, or an area under a ranking), so the plain score and its bootstrap draws come out of the same lines.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neuroformer.connectivity.estimate import ConnectivityMap
from neuroformer.connectivity.ranking import (
    off_diagonal,
    rank,
    ratio,
    weighted_auroc,
    weighted_average_precision,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """What is known of each pair, all (P,)."""

    estimate: np.ndarray
    """Signed estimate."""
    reverse: np.ndarray
    """Signed estimate of the pair the other way round."""
    weight: np.ndarray
    """Signed true weight."""
    reverse_weight: np.ndarray
    called: np.ndarray | None
    """Whether the method calls the pair; None without p-values."""
    delay_error: np.ndarray | None
    """Absolute error of the delay in seconds; None without lags or true delays."""

    @classmethod
    def of(
        cls,
        estimate: ConnectivityMap,
        weights: np.ndarray,
        delays: np.ndarray | None,
        *,
        called: np.ndarray | None,
    ) -> Pairs:
        """Lay the matrices out as pairs; `called` is (P,) or None."""
        error = None
        if delays is not None and estimate.lag_profile is not None:
            error = np.abs(off_diagonal(estimate.delays_s()) - off_diagonal(delays))
        return cls(
            estimate=off_diagonal(estimate.matrix),
            reverse=off_diagonal(estimate.matrix.T),
            weight=off_diagonal(weights),
            reverse_weight=off_diagonal(weights.T),
            called=called,
            delay_error=error,
        )

    @property
    def edge(self) -> np.ndarray:
        """Whether the pair is connected."""
        return self.weight != 0

    @property
    def recovered(self) -> np.ndarray:
        """Edges that the method calls, or without p-values those among the K strongest pairs, K = number of edges.

        Pairs as strong as the K-th count as well, pairs with an estimate of 0 never.
        """
        if self.called is not None:
            return self.edge & self.called
        strength, n_edges = np.abs(self.estimate), int(self.edge.sum())
        if not n_edges:
            return self.edge
        weakest = np.partition(strength, -n_edges)[-n_edges]
        return self.edge & (strength >= weakest) & (strength > 0)


def measure(pairs: Pairs, weight: np.ndarray) -> dict[str, np.ndarray]:
    """Every score by the name it has in `ConnectivityScores`, (B,) each; NaN where it is not known.

    Args:
        pairs: The pairs.
        weight: (B, P) how often each pair counts.
    """
    signed, strength, true = pairs.estimate, np.abs(pairs.estimate), pairs.weight
    kinds = {
        "": (strength, pairs.edge),
        "_excitatory": (signed, true > 0),
        "_inhibitory": (-signed, true < 0),
    }
    scores = {}
    for kind, (score, positive) in kinds.items():
        ranked = rank(score, positive, weight)
        scores[f"average_precision{kind}"] = weighted_average_precision(ranked)
        scores[f"auroc{kind}"] = weighted_auroc(ranked)
    right_sign = wins(signed * np.sign(true))
    right_way = wins(strength - np.abs(pairs.reverse))
    one_way = pairs.edge & (pairs.reverse_weight == 0)
    for name, chosen in (("", pairs.edge), ("_recovered", pairs.recovered)):
        scores[f"sign_accuracy{name}"] = weighted_mean(right_sign, chosen, weight)
        scores[f"direction_accuracy{name}"] = weighted_mean(right_way, chosen & one_way, weight)
    unknown = np.full(len(weight), np.nan)
    scores["delay_error_s"] = (
        unknown if pairs.delay_error is None else weighted_median(pairs.delay_error, pairs.recovered, weight)
    )
    return scores | _calling_scores(pairs, weight)


def _calling_scores(pairs: Pairs, weight: np.ndarray) -> dict[str, np.ndarray]:
    """How good the method's own graph is; in a circuit without edges only how much it calls."""
    names = ("mcc", "precision", "recall", "called_share", "false_call_share")
    if pairs.called is None:
        return {name: np.full(len(weight), np.nan) for name in names}
    every = np.ones(len(pairs.called), dtype=bool)
    scores = {
        "called_share": weighted_mean(pairs.called, every, weight),
        "false_call_share": weighted_mean(pairs.called, ~pairs.edge, weight),
        "precision": weighted_mean(pairs.edge, pairs.called, weight),
        "recall": weighted_mean(pairs.called, pairs.edge, weight),
        "mcc": matthews(pairs.called, pairs.edge, weight),
    }
    if not pairs.edge.any():
        scores |= {name: np.full(len(weight), np.nan) for name in ("mcc", "precision", "recall")}
    return scores


def matthews(called: np.ndarray, edge: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(B,) Matthews correlation (Matthews 1975, Biochim. Biophys. Acta 405:442) of two (P,) bool arrays.

    0 where one of them is constant, as scikit-learn and torchmetrics have it.
    """
    cells = np.stack([edge & called, edge & ~called, ~edge & called, ~edge & ~called], axis=1)
    hit, miss, false, rest = (weight @ cells.astype(float)).T
    size = np.sqrt((hit + miss) * (hit + false) * (rest + miss) * (rest + false))
    return np.nan_to_num(ratio(hit * rest - miss * false, size))


def weighted_mean(values: np.ndarray, chosen: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(B,) mean of (P,) values over the chosen pairs; NaN where they weigh nothing."""
    weight = weight[:, chosen]
    return ratio(weight @ values[chosen].astype(float), weight.sum(axis=1))


def weighted_median(values: np.ndarray, chosen: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(B,) median of (P,) values over the chosen pairs, each repeated as often as it counts.

    The mean of the two middle values where their number is even; NaN where the chosen pairs weigh nothing.
    """
    if not chosen.any():
        return np.full(len(weight), np.nan)
    order = np.argsort(values[chosen], kind="stable")
    ordered, cumulative = values[chosen][order], np.cumsum(weight[:, chosen][:, order], axis=1)
    half = cumulative[:, -1:] / 2
    last = len(ordered) - 1
    lower = np.minimum((cumulative < half).sum(axis=1), last)
    upper = np.minimum((cumulative <= half).sum(axis=1), last)
    median = (ordered[lower] + ordered[upper]) / 2
    return np.where(half[:, 0] > 0, median, np.nan)


def wins(difference: np.ndarray) -> np.ndarray:
    """1 where positive, 0 where negative, ½ where zero."""
    return (np.sign(difference) + 1) / 2
