"""How well an estimate of wiring agrees with the wiring that is known.

Scored over ordered pairs (source, target) off the diagonal. An edge is a pair with weight ≠ 0. Average
precision leads: edges are few, and AUROC saturates long before the top of the ranking is clean. Where the method has a
null, its graph (`ConnectivityMap.called`) is scored as well, at the threshold that the method itself takes.
Every score comes with an interval (`neuroformer.connectivity.bootstrap` says what it covers).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from neuroformer.connectivity.bootstrap import interval, pair_weights
from neuroformer.connectivity.estimate import ConnectivityMap
from neuroformer.connectivity.measures import Pairs, measure
from neuroformer.connectivity.ranking import off_diagonal
from neuroformer.errors import UserError

ENOUGH_SESSIONS = 3  # from which on the spread over sessions is drawn from the sessions themselves


@dataclass(frozen=True, kw_only=True)
class ConnectivityScores:
    """Agreement of one estimate with the truth; NaN where truth or estimate lack what a score needs.

    "Excitatory" ranks pairs by the signed estimate and asks for the edges with weight > 0 among all pairs,
    inhibitory edges included; "inhibitory" ranks by minus the estimate and asks for those with weight < 0.
    "Called" are the pairs of the method's own graph; NaN without p-values. "Recovered" are the true edges among the
    called pairs; without p-values, those among the K strongest pairs, where K is the number of true edges.
    In a circuit without any edge only the numbers of called pairs are known.
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
    mcc: float
    """Matthews correlation of called pairs with edges, −1 … 1; 0 where nothing or everything is called."""
    precision: float
    """Share of called pairs that are edges; NaN where nothing is called."""
    recall: float
    """Share of edges that are called."""
    called_share: float
    """Share of all pairs that are called."""
    false_call_share: float
    """Share of the pairs without an edge that are called all the same."""
    sign_accuracy: float
    """Share of edges whose estimate has the sign of the weight; an estimate of 0 counts one half."""
    sign_accuracy_recovered: float
    """The same over recovered edges."""
    direction_accuracy: float
    """Share of one-way pairs whose |estimate| is larger along than against the edge; ties count one half."""
    direction_accuracy_recovered: float
    """The same over recovered one-way edges."""
    delay_error_s: float
    """Median over recovered edges of |lag of the estimate's peak − true delay|, seconds. A method that counts events in
    bins sees an influence up to one bin after the delay, so an error of up to a bin is no fault."""
    n_called: float
    n_edges: int
    n_pairs: int
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """95 % interval by name of score, of those that are known."""
    draws: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    """(B,) bootstrap draws by name of score."""

    def as_dict(self) -> dict[str, Any]:
        """All numbers by name, with `intervals` below them: what ``metrics.json`` holds."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "draws"}


_NUMBERS = tuple(f.name for f in fields(ConnectivityScores) if f.name not in ("intervals", "draws"))


def score_connectivity(
    estimate: ConnectivityMap,
    weights: np.ndarray,
    delays: np.ndarray | None = None,
    *,
    rng: np.random.Generator,
    q: float = 0.05,
    bootstrap: int = 200,
) -> ConnectivityScores:
    """Score an estimate against known wiring.

    Args:
        estimate: The map of N units.
        weights: (N, N) known signed weights, [source, target].
        delays: (N, N) known delays in seconds, [source, target]; read where there is an edge.
        rng: Of the bootstrap; the same state for two methods gives paired draws.
        q: False-discovery rate at which the method calls pairs.
        bootstrap: Number of draws B; 0 leaves the intervals out.

    Raises:
        UserError: Shapes differ, a number is NaN or infinite, or every pair is an edge.
    """
    _check(estimate, weights, delays)
    called = None if estimate.p_values is None else off_diagonal(estimate.called(q))
    pairs = Pairs.of(estimate, weights, delays, called=called)
    blocks = [measure(pairs, weight) for weight in pair_weights(rng, n_units=len(weights), draws=bootstrap)]
    values = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    known = {name for name, value in values.items() if not np.isnan(value[0])}
    intervals = {name: interval(values[name][1:]) for name in values if name in known}
    has_edges = bool(pairs.edge.any())
    return ConnectivityScores(
        **{name: float(value[0]) for name, value in values.items()},
        chance=float(pairs.edge.mean()) if has_edges else np.nan,
        chance_excitatory=float((pairs.weight > 0).mean()) if has_edges else np.nan,
        chance_inhibitory=float((pairs.weight < 0).mean()) if has_edges else np.nan,
        n_called=np.nan if called is None else float(called.sum()),
        n_edges=int(pairs.edge.sum()),
        n_pairs=len(pairs.edge),
        intervals={name: bounds for name, bounds in intervals.items() if bounds is not None},
        draws={name: values[name][1:] for name in values if name in known and bootstrap},
    )


def mean_scores(
    scores: Sequence[ConnectivityScores], *, rng: np.random.Generator, bootstrap: int = 200
) -> ConnectivityScores:
    """Average each score over the sessions that have it; counts are added up.

    From three sessions on, the interval is that of the mean over sessions drawn with replacement, so it covers the next
    session of the same kind (narrowly, while they are few); for fewer, it is that of the mean of the
    sessions' own draws, and covers their units only.
    """
    pooled: dict[str, Any] = {}
    intervals: dict[str, tuple[float, float]] = {}
    for name in _NUMBERS:
        having = [score for score in scores if not np.isnan(getattr(score, name))]
        values = np.array([getattr(score, name) for score in having], dtype=float)
        if name.startswith("n_"):
            pooled[name] = sum(getattr(score, name) for score in having) if having else np.nan
            continue
        pooled[name] = float(values.mean()) if having else np.nan
        if name.startswith("chance"):
            continue
        drawn = [score.draws[name] for score in having if name in score.draws]
        if len(having) >= ENOUGH_SESSIONS:
            of_mean = values[rng.integers(len(values), size=(bootstrap, len(values)))].mean(axis=1)
        elif drawn and len(drawn) == len(having):
            of_mean = np.mean([draws[: min(map(len, drawn))] for draws in drawn], axis=0)
        else:
            continue
        bounds = interval(of_mean)
        if bounds is not None:
            intervals[name] = bounds
    return ConnectivityScores(**pooled, intervals=intervals)


def _check(estimate: ConnectivityMap, weights: np.ndarray, delays: np.ndarray | None) -> None:
    found = {"estimate": estimate.matrix, "truth/delays": delays}
    for name, matrix in found.items():
        if matrix is not None and matrix.shape != weights.shape:
            raise UserError(
                f"{name}: found shape {matrix.shape}, expected that of the known weights, {weights.shape}; "
                "take both from the same session"
            )
    edge = off_diagonal(weights) != 0
    if edge.all():
        raise UserError(
            f"truth/weights: {edge.sum()} of {len(edge)} pairs off the diagonal are edges; "
            "expected some without, there is nothing to rank otherwise"
        )
    found = {
        "estimate": estimate.matrix,
        "p-values of the estimate": estimate.p_values,
        "truth/weights": weights,
    }
    for name, matrix in found.items():
        bad = 0 if matrix is None else int((~np.isfinite(off_diagonal(matrix))).sum())
        if bad:
            raise UserError(
                f"{name}: {bad} entries are NaN or infinite; expected finite numbers, do not trust this run"
            )
