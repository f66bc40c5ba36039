"""Learning curves of several left-out animals in one table and one figure: `python -m benchmarks.fewshot`.

Reads folders that `neuroformer fewshot` has written, one per left-out animal, and trains nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from neuroformer.cli.command import Command, run_command
from neuroformer.decoding.learning_curve import amount_label, draw_panel, method_name
from neuroformer.errors import UserError
from neuroformer.files import atomic_path, read_json
from neuroformer.plotting import new_figure, save_figure, style


@dataclass(kw_only=True)
class Config:
    """Put results of `neuroformer fewshot` side by side."""

    folders: list[str]
    """Results of `neuroformer fewshot`, one folder per left-out animal; the folder's name is the animal's."""
    target: str
    """Variable."""
    metrics: list[str]
    """Scores, such as [mean_error, median_error]; the first is drawn."""
    out: str
    """Folder of table.md and curves.png."""

    def __post_init__(self) -> None:
        """Check for emptiness."""
        if not (self.folders and self.metrics):
            raise ValueError("folders, metrics: expected one or more of each")


def run(config: Config) -> None:
    """Write the table and the figure."""
    found = {}
    for folder in config.folders:
        path = Path(folder) / "metrics.json"
        if not path.is_file():
            raise UserError(
                f"{folder}: holds no metrics.json; run neuroformer fewshot out={folder} to its end first"
            )
        found[Path(folder).name] = read_json(path)
    text = "\n".join(table(found, config.target, metric) for metric in config.metrics)
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    with atomic_path(out / "table.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    save_figure(draw(found, config.target, config.metrics[0]), out / "curves.png", dpi=110)
    print(text)


def table(found: Mapping[str, Mapping[str, Any]], target: str, metric: str) -> str:
    """A Markdown table per animal: a row per method, a column per amount of labels, each column's best in bold."""
    better = max if metric in ("r2", "correlation", "accuracy", "balanced_accuracy", "auc") else min
    lines = []
    for name, results in found.items():
        cells: dict[str, dict[float, tuple[float, list[float] | None]]] = {}
        for row in results["rows"]:
            if (row["target"], row["metric"]) == (target, metric):
                cells.setdefault(row["method"], {})[row["amount"]] = (row["mean"], row["interval"])
        if not cells:
            raise UserError(f"target={target}, metrics={metric}: not among the scores of {name}")
        amounts = sorted({amount for row in cells.values() for amount in row})
        best = {a: better(row[a][0] for row in cells.values() if a in row) for a in amounts}
        heads = [amount_label(a, results["amounts"]) for a in amounts]
        lines += [f"| {name} left out, {metric.replace('_', ' ')} of {target} | {' | '.join(heads)} |"]
        lines += ["| --- " * (len(heads) + 1) + "|"]
        for method, row in cells.items():
            words = [_cell(row.get(a), None if metric == "coverage" else best[a]) for a in amounts]
            lines.append(f"| {method_name(method)} | {' | '.join(words)} |")
        lines.append("")
    return "\n".join(lines)


def _cell(found: tuple[float, Sequence[float] | None] | None, best: float | None) -> str:
    if found is None:
        return "–"
    value, interval = found
    text = f"**{value:.2f}**" if value == best else f"{value:.2f}"
    return text if interval is None else f"{text} [{interval[0]:.2f}, {interval[1]:.2f}]"


def draw(found: Mapping[str, Mapping[str, Any]], target: str, metric: str) -> Figure:
    """A panel per animal, all on one scale."""
    across = min(2, len(found))
    down = -(-len(found) // across)
    figure = new_figure(width=4.3 * across, height=0.6 + 3.0 * down)
    with style():
        panels = figure.subplots(down, across, sharey=True, squeeze=False).ravel()
        for axes, (name, results) in zip(panels, found.items(), strict=False):
            unit = results["units"].get(target, "")
            draw_panel(axes, results["rows"], target, metric, unit=unit, amounts=results["amounts"])
            axes.set_title(f"{name} left out")
            axes.label_outer()
        for axes in panels[len(found) :]:
            axes.remove()
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


COMMAND = Command(
    name="benchmarks.fewshot",
    summary="Learning curves of several left-out animals in one table and one figure.",
    config=Config,
    run=run,
    examples=(
        "python -m benchmarks.fewshot 'folders=[out/fewshot/C11_M1, out/fewshot/C12_M4]' target=position "
        "'metrics=[mean_error, median_error]' out=out/curves",
    ),
)

if __name__ == "__main__":
    raise SystemExit(run_command(COMMAND))
