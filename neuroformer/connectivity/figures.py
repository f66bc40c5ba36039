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
    method_line,
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


def draw_precision_recall(session: SessionConnectivity, *, q: float = 0.05) -> Figure:
    """Draw precision against recall of the known edges for every estimate, and the chance level.

    A dot is the method's own graph, called at false-discovery rate `q`: it lies off the curve where p-values rank pairs
    otherwise than the estimate's size does.
    """
    assert session.weights is not None, (
        f"{session.session_id}: no known wiring to draw precision and recall against"
    )
    edge = off_diagonal(session.weights) != 0
    scores = {e.name: np.abs(off_diagonal(e.matrix)) for e in session.maps}
    precisions = {name: average_precision(score, edge) for name, score in scores.items()}
    figure = new_figure(width=7.2, height=max(3.6, 1.4 + 0.2 * len(session.maps)))
    with style():
        axes = figure.subplots()
        for estimate in sorted(session.maps, key=lambda e: -precisions[e.name]):
            precision, recall = precision_recall_curve(scores[estimate.name], edge)
            label = f"{method_label(estimate.name)} ({precisions[estimate.name]:.3f})"
            # From recall 0 on, so that a curve of a single point is seen as well.
            axes.step(
                np.append(0, recall), np.append(precision[:1], precision), where="pre", linewidth=1.6,
                label=label, **method_line(estimate.name),
            )  # fmt: skip
            called = None if estimate.p_values is None else off_diagonal(estimate.called(q))
            if called is not None and called.any():
                axes.plot(
                    called[edge].mean(), edge[called].mean(), "o", color=method_color(estimate.name),
                    markersize=6.5, markeredgecolor="white", markeredgewidth=1, zorder=5, clip_on=False,
                )  # fmt: skip
        axes.axhline(edge.mean(), color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate("chance", (0.99, edge.mean()), xytext=(0, -3), textcoords="offset points", color=MUTED,
                      fontsize=8, ha="right", va="top")  # fmt: skip
        axes.set(xlim=(0, 1.01), ylim=(-0.02, 1.02), xlabel="recall: share of true edges found")
        axes.set(ylabel="precision: share of found that are true")
        axes.set_title(f"{session.session_id}: pairs ranked by strength")
        axes.legend(
            loc="center left", bbox_to_anchor=(1.01, 0.5), title="average precision", alignment="left",
            handlelength=2.6,
        )  # fmt: skip
        axes.grid(True)
        if any(estimate.p_values is not None for estimate in session.maps):
            figure.supxlabel(
                f"dots: each method's own graph, at a false-discovery rate of {q:g}",
                fontsize=7.5,
                color=MUTED,
            )
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
