"""The benchmark at a glance: average precision of every method on every circuit."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from benchmarks.connectivity.summary import NO_EDGES, OURS, Results, methods, score
from neuroformer.plotting import MUTED, method_color, method_label, new_figure, style

PANELS_PER_ROW = 4


def draw(results: Results) -> Figure:
    """One panel a circuit: a dot a seed and a bar at their mean; the model's own read-outs are filled.

    The axis is 1 − AP on a logarithmic scale, turned round, because the differences that matter lie close to 1.
    """
    circuits = [name for name in results if name != NO_EDGES]
    assert circuits, "no circuit with connections: nothing to draw"
    names = [name for name in methods(results) if any(_known(results, c, name) for c in circuits)]
    n_columns = min(len(circuits), PANELS_PER_ROW)
    n_rows = -(-len(circuits) // n_columns)
    figure = new_figure(width=2.3 + 2.1 * n_columns, height=0.9 + (0.7 + 0.17 * len(names)) * n_rows)
    with style():
        grid = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True)
        for axes in grid.flat[len(circuits) :]:
            axes.set_visible(False)
        for axes, circuit in zip(grid.flat, circuits, strict=False):
            for row, name in enumerate(names):
                values = score(results, circuit, name, "average_precision")
                values = values[~np.isnan(values)]
                if not len(values):
                    continue
                color = method_color(name)
                error = np.maximum(1 - values, 1e-4)
                face = color if name in OURS else "white"
                axes.scatter(
                    error, np.full(len(values), row), s=16, facecolor=face, edgecolor=color, linewidth=1
                )
                axes.vlines(error.mean(), row - 0.35, row + 0.35, color=color, linewidth=2)
            axes.axvline(0.03, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
            axes.set(xscale="log", xlim=(1.3, 7e-5), ylim=(len(names) - 0.4, -0.6))
            axes.set_xticks([1, 0.1, 0.01, 0.001, 1e-4], labels=["0", ".9", ".99", ".999", "1"])
            axes.minorticks_off()
            axes.set_title(circuit.replace("_", " "))
            axes.set_yticks(range(len(names)), labels=[method_label(name) for name in names])
            axes.grid(True, axis="x")
        figure.supxlabel(
            "average precision (dots: seeds; bars: mean; dashed: .97; filled: read from the model)",
            fontsize=8,
        )
    return figure


def _known(results: Results, circuit: str, name: str) -> bool:
    return not np.isnan(score(results, circuit, name, "average_precision")).all()
