"""One table of all methods: their scores where the wiring is known, what they call where it is not.

No line is wider than 120 columns.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from neuroformer.connectivity.estimate import ConnectivityMap
from neuroformer.connectivity.ranking import off_diagonal
from neuroformer.connectivity.scores import ConnectivityScores
from neuroformer.connectivity.store import SessionConnectivity

WIDTH = 120
STRONGEST = 3  # pairs shown of each method
CANNOT_KNOW = (
    "The true wiring is not known here. A called pair may still owe its call to neurons that were not recorded, to "
    "shared drive faster than the time scale of the method's null, or, with calcium, to the slow rise and decay of the "
    "indicator, which blurs order and delay."
)


def render_summary(
    means: Mapping[str, ConnectivityScores], *, n_scored: int, n_sessions: int, q: float = 0.05
) -> str:
    """Lay out the scores as a table with a line per method, best average precision first.

    Args:
        means: Scores over the sessions, by method.
        n_scored: How many sessions have known wiring.
        n_sessions: How many there are.
        q: False-discovery rate at which pairs were called.
    """
    if not means:
        return "no session has known wiring with edges in it: estimates are written, nothing is scored"
    header = ("method", "AP", "[95 %]", "AUROC", "AP exc", "AP inh", "MCC", "prec", "recall", "direct", "sign",
              "delay ms", "called %")  # fmt: skip
    ranked = sorted(means.items(), key=lambda item: -np.nan_to_num(item[1].average_precision, nan=-1))
    rows = [
        (name, number(s.average_precision), bounds(s, "average_precision"), number(s.auroc),
         number(s.average_precision_excitatory), number(s.average_precision_inhibitory), number(s.mcc),
         number(s.precision), number(s.recall), number(s.direction_accuracy_recovered),
         number(s.sign_accuracy_recovered), number(1000 * s.delay_error_s, 1), number(100 * s.called_share, 2))
        for name, s in ranked
    ]  # fmt: skip
    first = ranked[0][1]
    rows.append(
        ("chance", number(first.chance), "", number(0.5), number(first.chance_excitatory),
         number(first.chance_inhibitory), number(0.0), number(first.chance), "", number(0.5), number(0.5), "", "")
    )  # fmt: skip
    return "\n".join(
        (
            f"{n_scored} of {n_sessions} sessions with known wiring",
            align_table(header, rows),
            f"MCC, prec, recall, called: each method's own graph at a false-discovery rate of {q:g}, - without a null.",
            "direct, sign, delay: over the true edges that a method recovers.",
        )
    )


def calls(sessions: Iterable[SessionConnectivity], *, q: float) -> dict[str, dict[str, dict[str, Any]]]:
    """How many pairs each method calls, by session and method: what ``metrics.json`` holds where no truth is known.

    Each entry has `n_called` and `called_share` (NaN without p-values), `n_pairs`, `q`, and `strongest`: a list of
    {source, target, strength, p_value} by falling |strength|, called pairs before all others.
    """
    return {
        session.session_id: {
            estimate.name: _calls(estimate, session.unit_ids, q=q) for estimate in session.maps
        }
        for session in sessions
    }


def render_calls(sessions: Sequence[SessionConnectivity], *, q: float) -> str:
    """Lay out, for sessions without known edges, what each method calls and its strongest pairs.

    Signs are those of the estimate, source before target. Numbers with an interval are gains: changes of the target's
    log-intensity after an event of the source, summed over lags.
    """
    parts = []
    unconnected = {
        s.session_id for s in sessions if s.weights is not None and not off_diagonal(s.weights).any()
    }
    for session_id, by_method in calls(sessions, q=q).items():
        rows = []
        for name, entry in by_method.items():
            strongest = entry["strongest"]
            shown = STRONGEST - any("gain" in pair for pair in strongest)  # intervals take room
            pairs = [
                f"{_short(pair['source'])}→{_short(pair['target'])} {_strength(pair)}"
                for pair in strongest[:shown]
            ]
            rows.append(
                (name, number(entry["n_called"], 0), number(100 * entry["called_share"], 2), ", ".join(pairs))
            )
        n_pairs = next(iter(by_method.values()))["n_pairs"]
        table = align_table(("method", "called", "called %", "strongest pairs"), rows, left=(0, 3))
        truth = " that are not connected" if session_id in unconnected else ""
        parts.append(f"{session_id}: pairs called at q = {q:g} of {n_pairs}{truth}\n{table}")
    if any(session.weights is None for session in sessions):
        parts.append(textwrap.fill(CANNOT_KNOW, WIDTH))
    return "\n\n".join(parts)


def strongest_pairs(estimate: ConnectivityMap, *, q: float, most: int) -> np.ndarray:
    """(K, 2) source and target of the strongest pairs by |estimate|, called ones before all others; K ≤ `most`."""
    strength = np.where(np.eye(len(estimate.matrix), dtype=bool), -1.0, np.abs(estimate.matrix))
    called = np.zeros(strength.shape, bool) if estimate.p_values is None else estimate.called(q)
    order = np.lexsort((-strength.ravel(), ~called.ravel()))
    order = order[strength.ravel()[order] > 0][:most]
    return np.stack(np.divmod(order, len(strength)), axis=1)


def align_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, left: Sequence[int] = (0,)) -> str:
    """Align the columns `left` to the left and all others to the right."""
    cells = [list(header), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join(line.rstrip() for line in [lines[0], rule, *lines[1:]])


def number(value: float, digits: int = 3) -> str:
    """A number with `digits` decimals; a dash where it is not known.

    >>> number(0.98349), number(float("nan"))
    ('0.983', '-')
    """
    return "-" if np.isnan(value) else f"{value:.{digits}f}"


def bounds(scores: ConnectivityScores, name: str) -> str:
    """The interval of a share, short: `[.971, .990]`; empty where there is none."""
    if name not in scores.intervals:
        return ""
    low, high = (
        "1.00" if value > 0.9995 else f"{value:.3f}".removeprefix("0") for value in scores.intervals[name]
    )
    return f"[{low}, {high}]"


def _calls(estimate: ConnectivityMap, unit_ids: np.ndarray, *, q: float) -> dict[str, Any]:
    n_pairs = len(unit_ids) * (len(unit_ids) - 1)
    n_called = np.nan if estimate.p_values is None else float(estimate.called(q).sum())
    strongest = [
        {
            "source": unit_ids[i].item(),
            "target": unit_ids[j].item(),
            "strength": float(estimate.matrix[i, j]),
            "p_value": None if estimate.p_values is None else float(estimate.p_values[i, j]),
            **_gain(estimate, i, j),
        }
        for i, j in strongest_pairs(estimate, q=q, most=10)
    ]
    share = n_called / n_pairs if n_pairs else np.nan
    return {"n_called": n_called, "called_share": share, "n_pairs": n_pairs, "q": q, "strongest": strongest}


def _strength(pair: Mapping[str, Any]) -> str:
    """The gain with its interval where there is one, else the method's own number."""
    if "gain" not in pair:
        return f"{pair['strength']:+.2g}"
    low, high = pair["gain_interval"]
    return f"{pair['gain']:+.2g} [{low:+.2g}, {high:+.2g}]"


def _gain(estimate: ConnectivityMap, i: int, j: int) -> dict[str, Any]:
    """Change of the target's log-intensity, with its 95 % interval, where the method has one."""
    if estimate.gain is None or estimate.gain_error is None:
        return {}
    gain, margin = float(estimate.gain[i, j]), 1.96 * float(estimate.gain_error[i, j])
    return {"gain": gain, "gain_interval": [gain - margin, gain + margin]}


def _short(unit_id: object, most: int = 10) -> str:
    text = str(unit_id)
    return text if len(text) <= most else f"{text[: most - 1]}…"
