"""The benchmark as Markdown, written between two marks of RESULTS.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.connectivity.summary import (
    LEAD,
    NO_EDGES,
    RIVALS,
    Results,
    best_of,
    called,
    methods,
    score,
    strongest_glm,
)
from neuroformer.errors import UserError
from neuroformer.files import atomic_path
from neuroformer.plotting import method_label

START, STOP = "<!-- connectivity: start -->", "<!-- connectivity: stop -->"
DETAILS = (
    ("average_precision", "AP"),
    ("auroc", "AUROC"),
    ("mcc", "MCC"),
    ("precision", "precision of the graph"),
    ("recall", "its recall"),
    ("direction_accuracy_recovered", "direction"),
    ("sign_accuracy_recovered", "sign"),
    ("delay_error_s", "delay error (ms)"),
)


def render(results: Results) -> str:
    """All tables."""
    parts = [_precision(results), _contest(results)]
    if NO_EDGES in results:
        parts.append(_calls(results))
    parts += [_details(results), _seconds(results)]
    return "\n\n".join(parts)


def write_into(path: Path, text: str) -> None:
    """Put the text between the two marks of a Markdown file, in place of what is there.

    Raises:
        UserError: The file lacks the marks.
    """
    old = check_marks(path)
    head, tail = old.split(START)[0], old.split(STOP)[1]
    with atomic_path(path) as temporary:
        temporary.write_text(f"{head}{START}\n\n{text}\n\n{STOP}{tail}", encoding="utf-8")


def check_marks(path: Path) -> str:
    """The file's text, if it has the two marks."""
    text = path.read_text(encoding="utf-8")
    if text.count(START) != 1 or text.count(STOP) != 1:
        raise UserError(f"{path}: expected one line {START} and one {STOP}; put them where the tables belong")
    return text


def _circuits(results: Results) -> list[str]:
    return [name for name in results if name != NO_EDGES]


def _precision(results: Results) -> str:
    circuits = _circuits(results)
    rows = []
    for method in methods(results):
        values = [score(results, circuit, method, "average_precision") for circuit in circuits]
        if not all(np.isnan(value).all() for value in values):
            rows.append([method_label(method), *map(_mean_range, values)])
    rows.append(["chance", *(_short(np.nanmean(_chance(results, c))) for c in circuits)])
    seeds = [f"{circuit} ({len(results[circuit])})" for circuit in circuits]
    return (
        "**Average precision**, mean over seeds [lowest, highest]; number of seeds in round brackets.\n\n"
        + _table(["method", *seeds], rows)
    )


def _contest(results: Results) -> str:
    rows = []
    for circuit in _circuits(results):
        ours = score(results, circuit, LEAD, "average_precision")
        best = best_of(results, circuit, RIVALS)
        glm = strongest_glm(results, circuit)
        if best is None or np.isnan(ours).any() or np.isnan(glm).any():
            continue
        rival, theirs = best
        adjusted = score(results, circuit, "adjusted_glm", "average_precision")
        rows.append(
            [circuit, _short(ours.mean()), method_label(rival), _short(theirs.mean()),
             f"{ours.mean() - theirs.mean():+.3f}", _short(glm.mean()), _ratio(ours, glm),
             "–" if np.isnan(adjusted).any() else _short(adjusted.mean())]
        )  # fmt: skip
    header = ["circuit", method_label(LEAD), "best rival", "AP", "difference", "strongest GLM",
              "(1 − AP) / (1 − AP of that GLM)", method_label("adjusted_glm")]  # fmt: skip
    return (
        "**The model against the others.** Average precision, means over seeds. Rivals are the classical methods "
        "and the GLMs (by size with three kinds of penalty, and in standard errors), of which the best is named with "
        "the truth in sight; the strongest GLM is chosen so anew on every seed. The adjusted GLM is our read-out on "
        "the GLM: what separates it from the adjusted coupling is the model.\n\n" + _table(header, rows)
    )


def _calls(results: Results) -> str:
    rows = [
        [method_label(method), f"{100 * np.nanmean(values):.2f}", f"{100 * np.nanmax(values):.2f}"]
        for method in _every(results, NO_EDGES)
        if not np.isnan(values := called(results, NO_EDGES, method)).all()
    ]
    rows.sort(key=lambda row: float(row[1]))
    return (
        f"**False calls**: pairs called at q = 0.05 on {NO_EDGES} ({len(results[NO_EDGES])} seeds), where no pair is "
        "connected, in % of all pairs.\n\n" + _table(["method", "mean", "worst seed"], rows)
    )


def _details(results: Results) -> str:
    parts = []
    for circuit in _circuits(results):
        rows = []
        for method in methods(results):
            values = [score(results, circuit, method, name) for name, _ in DETAILS]
            if np.isnan(values[0]).all():
                continue
            values[-1] = 1000 * values[-1]
            cells = ["–" if np.isnan(v).all() else f"{np.nanmean(v):.3f}" for v in values[:-1]]
            delay = "–" if np.isnan(values[-1]).all() else f"{np.nanmean(values[-1]):.1f}"
            rows.append([method_label(method), *cells, delay])
        table = _table(["method", *(label for _, label in DETAILS)], rows)
        parts.append(
            f"<details><summary>{circuit}: all scores, means over seeds</summary>\n\n{table}\n\n</details>"
        )
    return "\n\n".join(parts)


def _seconds(results: Results) -> str:
    rows = []
    circuits = list(results)
    for method in methods(results):
        taken = [
            [cell["seconds"][circuit].get(method, np.nan) for cell in results[circuit].values()]
            for circuit in circuits
        ]
        rows.append(
            [method_label(method), *("–" if np.isnan(t).all() else f"{np.nanmedian(t):.0f}" for t in taken)]
        )
    return (
        "**Seconds** on one core, median over seeds, with another cell on the other core. Couplings, stimulation and "
        "silencing read one trained model (about a minute of training for 60 units), Wald and adjusted GLM the fitted "
        "Poisson GLM; what several methods share is counted where it was needed first.\n\n"
        + _table(["method", *circuits], rows)
    )


def _every(results: Results, circuit: str) -> list[str]:
    return list(dict.fromkeys(m for cell in results[circuit].values() for m in cell["calls"][circuit]))


def _chance(results: Results, circuit: str) -> np.ndarray:
    cells = results[circuit].values()
    return np.array([next(iter(cell["connectivity"].values()))["chance"] for cell in cells], dtype=float)


def _ratio(ours: np.ndarray, glm: np.ndarray) -> str:
    return f"{(1 - ours).mean() / (1 - glm).mean():.2f}" if (glm < 0.9995).any() else "–"


def _mean_range(values: np.ndarray) -> str:
    if np.isnan(values).all():
        return "–"
    known = values[~np.isnan(values)]
    note = "" if len(known) == len(values) else f" ({len(known)})"
    if len(known) == 1:
        return _short(known[0]) + note
    return f"{_short(known.mean())} [{_short(known.min())}, {_short(known.max())}]{note}"


def _short(value: float) -> str:
    """Three decimals without the leading zero."""
    text = f"{value:.3f}"
    return text.removeprefix("0") if value < 1 else text


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
