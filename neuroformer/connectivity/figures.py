"""Pictures of wiring: the truth beside each estimate, and what each estimate's ranking is worth."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from neuroformer.connectivity.ranking import average_precision, off_diagonal, precision_recall_curve
from neuroformer.connectivity.store import SessionConnectivity
from neuroformer.plotting import (
    MUTED,
    draw_couplings,
    method_color,
    method_label,
    new_figure,
    off_diagonal_limit,
    style,
)

PANELS_PER_ROW = 5


def draw_matrices(session: SessionConnectivity) -> Figure:
    """Draw the known wiring, where it is known, and every estimate beside it.

    All panels share one order of units (`unit_order`), rows are sources and columns targets; each has its own
    symmetric colour scale, because estimators measure in different units.
    """
    panels = [("truth", session.weights)] if session.weights is not None else []
    panels += [(estimate.name, estimate.matrix) for estimate in session.maps]
    order = unit_order(panels[0][1])
    n_columns = min(len(panels), PANELS_PER_ROW)
    n_rows = -(-len(panels) // n_columns)
    figure = new_figure(width=1.2 + 2.6 * n_columns, height=0.8 + 2.9 * n_rows)
    with style():
        grid = figure.subplots(n_rows, n_columns, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        for axes, (name, matrix) in zip(grid.flat, panels, strict=False):
            limit = off_diagonal_limit(matrix)
            image = draw_couplings(axes, matrix[np.ix_(order, order)], limit=limit)
            axes.set(title=_panel_title(session, name, matrix), xticks=[], yticks=[])
            axes.label_outer()
        bar = figure.colorbar(image, ax=grid, shrink=0.6, aspect=25, pad=0.02)
        bar.set_ticks([-limit, 0, limit], labels=["inhibits", "none", "excites"])
        bar.outline.set_visible(False)
        order_note = "net exciters first, strongest output first"
        figure.supxlabel(f"{session.session_id}, {len(order)} units\n{order_note}", fontsize=7.5, color=MUTED)
    return figure


def draw_precision_recall(session: SessionConnectivity) -> Figure:
    """Draw precision against recall of the known edges for every estimate, and the chance level."""
    assert session.weights is not None, (
        f"{session.session_id}: no known wiring to draw precision and recall against"
    )
    edge = off_diagonal(session.weights) != 0
    figure = new_figure(width=6.4, height=3.6)
    with style():
        axes = figure.subplots()
        for estimate in session.maps:
            score = np.abs(off_diagonal(estimate.matrix))
            precision, recall = precision_recall_curve(score, edge)
            label = f"{method_label(estimate.name)} ({average_precision(score, edge):.3f})"
            axes.step(recall, precision, where="pre", color=method_color(estimate.name), label=label)
        axes.axhline(edge.mean(), color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate("chance", (0.005, edge.mean()), xytext=(0, 3), textcoords="offset points", color=MUTED)
        axes.set(xlim=(0, 1.01), ylim=(0, 1.02), xlabel="recall: share of true edges found")
        axes.set(ylabel="precision: share of found that are true")
        axes.set_title(f"{session.session_id}: pairs ranked by strength")
        axes.legend(
            loc="center left", bbox_to_anchor=(1.01, 0.5), title="average precision", alignment="left"
        )
        axes.grid(True)
    return figure


def unit_order(matrix: np.ndarray) -> np.ndarray:
    """Order units by type, then by out-degree: net exciters first, each group from the strongest source down.

    Args:
        matrix: (N, N) signed [source, target]; the truth where known, else an estimate.

    Returns:
        (N,) indices of units.
    """
    outgoing = np.where(np.eye(len(matrix), dtype=bool), 0, matrix)
    strength = np.abs(outgoing).sum(axis=1)
    inhibits = outgoing.sum(axis=1) < 0
    return np.lexsort((-strength, inhibits))


def _panel_title(session: SessionConnectivity, name: str, matrix: np.ndarray) -> str:
    if name == "truth" or session.weights is None or not session.scorable:
        return method_label(name)
    score = average_precision(np.abs(off_diagonal(matrix)), off_diagonal(session.weights) != 0)
    return f"{method_label(name)}\naverage precision {score:.3f}"
