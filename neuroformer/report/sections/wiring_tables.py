"""Tables of the wiring section: agreement with the truth, and what is called where no truth is known."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from neuroformer.plotting import method_label
from neuroformer.report.blocks import Block, Paragraph, Table, interval, number, percent
from neuroformer.report.collect import Couplings, Run
from neuroformer.report.lead import leading_estimator

# Columns of the table of scores, by the name in metrics.json.
_SCORES = (
    ("average_precision", "average precision"),
    ("auroc", "AUROC"),
    ("mcc", "MCC"),
    ("called_share", "called"),
    ("average_precision_excitatory", "AP excitatory"),
    ("average_precision_inhibitory", "AP inhibitory"),
    ("direction_accuracy", "direction"),
    ("sign_accuracy", "sign"),
)


# What no method can tell from a recording alone.
CANNOT_KNOW = (
    "What this cannot know. A neuron that was not recorded can drive two recorded ones and look like a connection "
    "between them. So can shared drive that changes faster than the time scale over which an estimator's null shuffles "
    "events. With calcium, events are inferred from an indicator that rises and decays slowly: order within that time, "
    "and with it direction and delay, is uncertain. A called pair is a pair worth testing, not a synapse."
)


def score_table(
    scores: Mapping[str, Mapping[str, float]], intervals: Mapping[str, Mapping[str, tuple[float, float]]]
) -> Table:
    """The estimators' agreement with the truth, a line each; columns that no estimator has are left out."""
    columns = [(key, label) for key, label in _SCORES if any(key in values for values in scores.values())]
    has_interval = any("average_precision" in bounds for bounds in intervals.values())
    labels = [label for _, label in columns]
    if has_interval:
        labels.insert(1, "95 % interval")
    rows = []
    for name, values in scores.items():
        cells = [
            percent(values[key]) if key == "called_share" and key in values else number(values.get(key))
            for key, _ in columns
        ]
        if has_interval:
            cells.insert(1, interval(intervals.get(name, {}).get("average_precision")) or "–")
        rows.append((method_label(name), *cells))
    caption = (
        "Agreement with the known wiring over all ordered pairs of different units. Average precision: 1 is a "
        "perfect ranking, a random one gets the share of pairs that are connected. AUROC: 0.5 is chance; it flatters "
        "where edges are few, so average precision leads. Excitatory, inhibitory: edges of one kind among all pairs, "
        "ranked by the signed estimate. Direction: share of one-way pairs with the larger estimate along the edge."
    )
    if any(key == "mcc" for key, _ in columns):
        caption += (
            " MCC and called: the estimator's own graph, pairs called by its own null at its own threshold; MCC is 1 "
            "for the true graph and 0 for one drawn at random, called is the share of pairs in the graph."
        )
    if has_interval:
        caption += (
            " Intervals: units drawn with replacement, or sessions where there are three or more; they do not cover "
            "another recording of the same circuit or another training."
        )
    lead = leading_estimator(scores)
    return Table(
        columns=("estimator", *labels),
        rows=rows,
        caption=caption,
        emphasis=list(scores).index(lead) if lead is not None else None,
    )


def calls_table(run: Run, session: Couplings, estimators: Sequence[str]) -> Iterator[Block]:
    """What is called where there is no edge to find, or none known."""
    calls = run.wiring_calls(session.session_id)
    rows = [
        (
            method_label(name),
            number(calls[name].get("n_called"), 0),
            percent(share) if isinstance(share := calls[name].get("called_share"), float | int) else "–",
            ", ".join(_pair(pair) for pair in (calls[name].get("strongest") or [])[:3]) or "–",
        )
        for name in estimators
        if name in calls
    ]
    if rows:
        rate = next((entry["q"] for entry in calls.values() if "q" in entry), None)
        caption = (
            f"Pairs that each estimator calls against its own null, at a false-discovery rate of {number(rate, 2)}, "
            "and its strongest pairs, source → target, positive where the source excites."
        )
        if session.truth is not None and not session.truth[~np.eye(len(session.truth), dtype=bool)].any():
            caption += " This circuit has no connection at all: whatever is called is false."
        yield Table(columns=("estimator", "called", "of all pairs", "strongest"), rows=rows, caption=caption)
    if session.truth is None:
        yield Paragraph(CANNOT_KNOW)


def _pair(pair: Mapping[str, Any]) -> str:
    strength = pair.get("strength")
    size = f" {strength:+.2g}".replace("-", "−") if isinstance(strength, float | int) else ""
    return f"{pair.get('source')} → {pair.get('target')}{size}"


def session_table(run: Run, estimators: Sequence[str]) -> Iterator[Table]:
    """Average precision session by session, where there are several."""
    sessions: dict[str, Any] = (run.metrics("connectivity") or {}).get("sessions") or {}
    if len(sessions) < 2 or not estimators:
        return
    yield Table(
        columns=("session", *(method_label(name) for name in estimators)),
        rows=[
            (
                session,
                *(number(entry.get(name, {}).get("average_precision")) for name in estimators),
            )
            for session, entry in sessions.items()
        ],
        summary=f"Average precision in each of the {len(sessions)} sessions",
    )
