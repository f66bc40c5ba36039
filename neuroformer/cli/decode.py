"""``neuroformer decode``: behaviour from events, by every method, against truth."""

from __future__ import annotations

from typing import Any

from neuroformer.cli.command import Command
from neuroformer.plotting import method_label
from neuroformer.settings.decode import DecodeConfig

_SHOWN = {
    "continuous": ("r2", "correlation", "mean_error", "median_error", "coverage"),
    "circular": ("circular_correlation", "mean_error", "median_error", "coverage"),
    "categorical": ("accuracy", "balanced_accuracy", "auc", "log_loss"),
}
_HEADS = {
    "r2": "R²",
    "circular_correlation": "circ. corr.",
    "mean_error": "mean error",
    "median_error": "median error",
    "balanced_accuracy": "balanced",
    "log_loss": "log-loss",
    "auc": "AUC",
    "coverage": "80 % covers",
}


def run(config: DecodeConfig) -> None:
    """Decode and print a table per variable."""
    from neuroformer.decoding.decode import decode

    metrics = decode(config, command=COMMAND.name)
    print(render(metrics))
    print(f"predictions, table.csv and figures: {config.out or config.run + '/decode'}")


def render(metrics: dict[str, Any]) -> str:
    """A table per variable, of all sessions together if there are several; sentences, leak check, notes."""
    lines = []
    sessions = {r["session"] for r in metrics["results"]}
    shown = "all" if "all" in sessions else None
    for name, about in metrics["variables"].items():
        for level in ("bin", "trial"):
            rows = [
                r
                for r in metrics["results"]
                if r["variable"] == name and r["level"] == level and shown in (None, r["session"])
            ]
            if rows:
                lines += _table(name, about, level, rows, metrics)
    lines += [
        sentence
        for sentence, about in zip(metrics["sentences"], metrics["comparisons"], strict=True)
        if sentence is not None and shown in (None, about["session"])
    ]
    lines += metrics["leak_sentences"]
    lines += [f"note: {note}" for note in metrics["notes"]]
    return "\n".join(lines)


def _table(
    name: str, about: dict[str, Any], level: str, rows: list[dict[str, Any]], metrics: dict[str, Any]
) -> list[str]:
    kind = "circular" if about["period"] is not None else about["kind"]
    columns = [c for c in _SHOWN[kind] if any(c in r["scores"] for r in rows)]
    unit = f", errors in {about['unit']}" if about["unit"] and kind != "categorical" else ""
    whose = "all sessions" if rows[0]["session"] == "all" else rows[0]["session"]
    where = f" where {metrics['when']}" if metrics["when"] else ""
    what = "bins" if level == "bin" else "trials, one decision each"
    head = "".join(f"{_HEADS.get(c, c):>24}" for c in columns)
    lines = [
        f"{name}{unit}: {rows[0]['n']:,} {what} of the {metrics['part']} part{where}, {whose} (95 % interval)",
        f"  {'':<20}{head}",
    ]
    for row in rows:
        cells = "".join(f"{_cell(row['scores'].get(c)):>24}" for c in columns)
        lines.append(f"  {method_label(row['method']):<20}{cells}")
    return lines


def _cell(score: dict[str, Any] | None) -> str:
    if score is None or score["value"] is None or score["value"] != score["value"]:
        return "–"
    if score["interval"] is None:
        return f"{score['value']:.3g}"
    low, high = score["interval"]
    return f"{score['value']:.3g} [{low:.3g}, {high:.3g}]"


COMMAND = Command(
    name="neuroformer decode",
    summary="Decode behaviour, beside baselines with the same labels, and score it.",
    config=DecodeConfig,
    run=run,
    positional="run",
    examples=(
        "neuroformer decode run=out/ca1",
        "neuroformer decode run=out/ca1 sessions=[sessions/new_mouse.h5] when='abs(velocity) > 5'",
        "neuroformer decode run=out/ca1 methods=[inversion] baselines=[ridge,kalman,gru] leak_check=false",
    ),
)
