"""Results as a printed table, as a file, and in one sentence."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neuroformer.files import atomic_path
from neuroformer.identity.compare import CHANCE, Result
from neuroformer.identity.scores import LEAD, METRICS

_HEADS = {"macro_f1": "macro-F1", "accuracy": "accuracy", "balanced_accuracy": "balanced", "top5": "top 5"}
PROBE_NAMES = {
    "linear": "linear",
    "neighbours": "neighbours",
    "matching": "one-to-one",
    "graph_matching": "one-to-one, graph",
    "": "",
}


def render_table(results: Sequence[Result], *, n_classes: int) -> str:
    """One line per feature set and probe, in the order given, chance last; without the parts of the embedding alone."""
    metrics = [m for m in METRICS if m != "top5" or n_classes > 10]
    head = f"  {'features':<26} {'probe':<18}" + "".join(
        f"{_HEADS[m]:>9}" + ("   95 % interval" if m == LEAD else "") for m in metrics
    )
    lines = [head + "        p"]
    for r in results:
        cells = f"  {r.features:<26} {PROBE_NAMES[r.probe]:<18}"
        for m in metrics:
            cells += f"{_number(r.scores[m]):>9}"
            if m == LEAD:
                low, high = r.intervals[m]
                cells += f"  [{_number(low)}, {_number(high)}]" if math.isfinite(low) else f"{'–':>15} "
        lines.append(cells + (f"   {r.p:6.4f}" if math.isfinite(r.p) else ""))
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:.3f}"


def verdict(
    results: Sequence[Result],
    *,
    label: str,
    n_animals: int,
    adds: Sequence[tuple[str, str, dict[str, Any]]],
) -> str:
    """One sentence: which set wins, and whether the learned embedding adds to plain statistics.

    Args:
        results: all.
        label: what was asked.
        n_animals: how many animals were held out.
        adds: (set with the embedding, the set without it, from `compare.difference`).
    """
    whole = [r for r in results if not r.features.startswith("embedding:")]
    best = max((r for r in whole if r.features != CHANCE), key=lambda r: r.scores[LEAD])
    chance = next(r for r in whole if r.features == CHANCE)
    above = "above chance" if best.p < 0.05 else "not clearly above chance"
    text = (
        f"{label} of a held-out animal is told best by {best.features} ({PROBE_NAMES[best.probe]} probe, macro-F1 "
        f"{best.scores[LEAD]:.3f}, chance {chance.scores[LEAD]:.3f}, {above}: p {best.p:.2g})"
    )
    clauses = []
    for _, without, found in adds:
        low, high = found["interval"]
        says = "adds" if low > 0 else "takes away" if high < 0 else "does not clearly add or take away"
        clauses.append(
            f"{says} ({found['value']:+.3f} [{low:+.3f}, {high:+.3f}], higher in {found['animals']} of {found['of']} "
            f"animals) to {without}"
        )
    if clauses:
        text += f"; under the {PROBE_NAMES[adds[0][2]['probe']]} probe the learned embedding " + " and ".join(
            clauses
        )
    few = " With so few animals the intervals are too narrow." if n_animals < 8 else ""
    return text + "." + few


def write_table(path: Path, results: Sequence[Result]) -> None:
    """All numbers, a row per feature set and probe."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        ends = [f"{m}{end}" for m in METRICS for end in ("", "_low", "_high")]
        animals = list(results[0].by_animal)
        writer.writerow(
            ["features", "probe", "n_features", "undefined", *ends, "p"]
            + [f"{LEAD}:{name}" for name in animals]
        )
        for r in results:
            numbers = [x for m in METRICS for x in (r.scores[m], *r.intervals[m])]
            writer.writerow(
                [r.features, r.probe, r.n_features, f"{r.undefined:.4g}"]
                + [f"{x:.6g}" if math.isfinite(x) else "" for x in (*numbers, r.p)]
                + [f"{r.by_animal[name]:.6g}" for name in animals]
            )


def as_dict(result: Result) -> dict[str, Any]:
    """Plain nested numbers, for metrics.json."""
    return {
        "features": result.features,
        "probe": result.probe,
        "n_features": result.n_features,
        "undefined": result.undefined,
        "scores": result.scores,
        "intervals": result.intervals,
        "p": result.p,
        "by_animal": result.by_animal,
    }
