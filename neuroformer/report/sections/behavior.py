"""Behaviour of an animal that pretraining has not seen: error against labels, of the model and of other methods."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from neuroformer.decoding.learning_curve import (
    ERRORS,
    amount_label,
    draw,
    lead_of,
    method_name,
    panels_of,
    sentences,
)
from neuroformer.report.blocks import (
    Block,
    Drawing,
    Missing,
    Paragraph,
    Section,
    Table,
    duration,
    interval,
    number,
)
from neuroformer.report.collect import FEWSHOT, Fewshot, Run


def blocks(run: Run) -> Iterator[Block]:
    """Sentences, the curves, and a table of errors; nothing for a run that decodes nothing."""
    found = run.fewshot()
    if found is None:
        if _decodes(run):
            yield Missing(
                "Behaviour has not been decoded in an animal that this run has not seen.",
                f"neuroformer fewshot run={run.path} 'sessions=[NEW.h5]' out={run.path / FEWSHOT}",
            )
        return
    for text in verdicts(found):
        yield Paragraph(text)
    if panels_of(found.rows):
        yield Drawing(
            figure=draw(found.rows, units=found.units, amounts=found.amounts),
            title="A new animal from few labels",
            caption=_caption(found),
        )
    yield from tables(found)


SECTION = Section(slug="behavior", title="Behaviour of a new animal", blocks=blocks)


def verdicts(found: Fewshot) -> Iterator[str]:
    """The sentence of each variable."""
    for text in sentences(found.rows, units=found.units, amounts=found.amounts).values():
        yield text[:1].upper() + text[1:]


def tables(found: Fewshot) -> Iterator[Table]:
    """The first score of each variable, methods down and labels across; the other scores folded."""
    shown: set[str] = set()
    for target, metric in dict.fromkeys((row["target"], row["metric"]) for row in found.rows):
        rows = [row for row in found.rows if (row["target"], row["metric"]) == (target, metric)]
        name = f"{target}: {metric.replace('_', ' ')}{found.unit_of(rows[0], '({})')}"
        methods = list(dict.fromkeys(row["method"] for row in rows))
        columns = {row["amount"]: row["label_s"] for row in sorted(rows, key=lambda row: row["amount"])}
        cells = {(row["method"], row["amount"]): _cell(row) for row in rows}
        yield Table(
            columns=(name, *(f"{amount_label(a, found.amounts)}, {duration(s)}" for a, s in columns.items())),
            rows=[
                (method_name(method), *(cells.get((method, amount), "–") for amount in columns))
                for method in methods
            ],
            caption="" if target in shown else f"{_mean_of(rows)} In brackets: 95 % interval.",
            summary=name if target in shown else "",
            emphasis=methods.index(lead) if (lead := lead_of(methods)) in methods else None,
        )
        shown.add(target)


def _cell(row: Mapping[str, Any]) -> str:
    bounds = interval(row["interval"], 2)
    return f"{number(row['mean'], 2)} ({bounds})" if bounds else number(row["mean"], 2)


def _mean_of(rows: Sequence[Mapping[str, Any]]) -> str:
    count = max(row["sessions"] for row in rows)
    if count > 1:
        return f"Mean of {count} sessions; intervals from drawing sessions with replacement."
    return "One session; intervals from drawing blocks of its test time with replacement."


def _caption(found: Fewshot) -> str:
    metrics = {metric for _, metric in panels_of(found.rows)}
    less, more = metrics & set(ERRORS), metrics - set(ERRORS)
    better = " and ".join(
        [*(["lower errors"] if less else []), *([f"higher {', '.join(sorted(more))}"] if more else [])]
    )
    return (
        "Scores on a test stretch that nothing was fitted to, against how much of the training stretch had labels; "
        f"{better} are better, lines are 95 % intervals. All methods have the same labels and are scored on the same "
        "bins; the pretrained model also knows other animals. The model, pretrained or not, reads all events of "
        "the test stretch, those after a bin included, unless it says “past events only”; the other methods read the "
        "past unless they were set to do otherwise."
    )


def _decodes(run: Run) -> bool:
    """Whether a run can be turned round to decode behaviour."""
    settings = run.config() or {}
    return any(
        key.startswith("data.variables.") and key.endswith(".role") and value == "both"
        for key, value in settings.items()
    )
