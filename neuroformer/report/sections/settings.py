"""What was run: commands, versions, settings and everything that was measured."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from neuroformer.report.blocks import Block, Missing, Section, Table, duration, number, plural
from neuroformer.report.collect import Run, flatten, is_run, resume_command

# In order of the work; "" is training.
_STAGES = ("simulate", "", "evaluate", "connectivity")
# What a reader asks first, by its name in a stage's metrics.json or config.yaml.
_FACTS = ("seed", "device", "seconds")


def blocks(run: Run) -> Iterator[Block]:
    """A table of stages, then settings and metrics, folded."""
    stages = [*_STAGES, *_further_stages(run)]
    rows = [row for stage in stages if (row := _stage_row(run, stage))]
    if rows:
        yield Table(
            columns=("stage", "command", "version", "seed", "device", "time", "finished"),
            rows=rows,
            prose=True,
        )
    yield from _recordings(run)
    if run.metrics() is None:
        yield Missing(
            "Training has not finished here (no metrics.json).",
            resume_command(run.path),
        )
    for stage in stages:
        config = run.config(stage)
        if config:
            yield _folded(f"Settings of {_stage_name(stage)}", ("setting", "value"), config)
    for stage in stages:
        metrics = run.metrics(stage)
        if metrics:
            # A long table has its own section and its own file; here it would bury the rest.
            content = {key: value for key, value in metrics.items() if key != "rows"}
            rest = ", but for the rows of table.csv" if len(content) < len(metrics) else ""
            yield _folded(
                f"Every figure measured by {_stage_name(stage)}{rest}", ("figure", "value"), flatten(content)
            )


SECTION = Section(slug="settings", title="What was run", blocks=blocks)


def _recordings(run: Run) -> Iterator[Table]:
    """What the model was trained on."""
    sessions = [entry for entry in (run.metrics() or {}).get("sessions") or [] if isinstance(entry, dict)]
    if sessions:
        yield Table(
            columns=("recording", "units", "training events", "training time"),
            rows=[
                (
                    str(entry.get("session_id", "–")),
                    number(entry.get("units"), 0),
                    number(entry.get("train_events"), 0),
                    duration(entry["train_s"]) if isinstance(entry.get("train_s"), int | float) else "–",
                )
                for entry in sessions
            ],
            summary=f"{plural(len(sessions), 'recording')} in training",
        )


def _further_stages(run: Run) -> list[str]:
    """Subfolders that other commands made."""
    made = {path.parent for path in run.path.glob("*/metrics.json")}
    return sorted(folder.name for folder in made if folder.name not in _STAGES and not is_run(folder))


def _stage_row(run: Run, stage: str) -> tuple[str, ...] | None:
    metrics = run.metrics(stage)
    if metrics is None:
        return None
    facts = flatten(run.config(stage) or {}) | flatten(metrics)
    seed, device, seconds = (facts.get(name) for name in _FACTS)
    finished = datetime.fromtimestamp((run.path / stage / "metrics.json").stat().st_mtime)
    return (
        _stage_name(stage),
        str(metrics.get("command", "–")),
        str(metrics.get("version", "–")),
        _text(seed),
        _text(device),
        duration(seconds) if isinstance(seconds, int | float) else "–",
        f"{finished:%d %B %Y, %H:%M}",
    )


def _stage_name(stage: str) -> str:
    return stage or "training"


def _folded(summary: str, columns: tuple[str, str], content: dict[str, Any]) -> Table:
    return Table(
        columns=columns,
        rows=[(key, _text(value)) for key, value in content.items()],
        summary=summary,
        prose=True,
    )


def _text(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        # As many digits as tell runs apart, without the noise of binary fractions.
        return (
            number(value, 0) if value.is_integer() and abs(value) < 1e15 else f"{value:.6g}".replace("-", "−")
        )
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value) or "none"
    return str(value)
