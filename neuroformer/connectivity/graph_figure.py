"""Picture of an inferred graph: units as dots, called pairs as arrows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch

from neuroformer.connectivity.estimate import ConnectivityMap
from neuroformer.connectivity.figures import unit_order
from neuroformer.connectivity.leading import leading_map
from neuroformer.connectivity.store import SessionConnectivity
from neuroformer.connectivity.table import strongest_pairs
from neuroformer.plotting import EXCITATORY, INHIBITORY, INK, MUTED, method_label, new_figure, style

MOST_NAMED = 40  # units whose names are written
PER_UNIT = 2  # pairs shown of a method without a null, and without a truth to say how many there are
MISSED = "#7d8a93"
DASHED = (0, (3, 2))
DOTTED = (0, (1, 2))


@dataclass(frozen=True, kw_only=True)
class Edges:
    """What is drawn of a graph, (K, 2) source and target each."""

    drawn: np.ndarray
    """Strongest first; false ones included."""
    missed: np.ndarray
    """True edges outside the graph, heaviest first; empty without truth."""
    n_found: int
    """Pairs in the graph, drawn or not."""
    n_true: int
    """How many of them are true edges; 0 without truth."""
    n_missed: int
    meaning: str
    """Which pairs these are."""


def draw_graph(
    session: SessionConnectivity,
    *,
    name: str = "",
    q: float = 0.05,
    positions: np.ndarray | None = None,
    most: int = 150,
) -> Figure | None:
    """Draw the graph that one method infers; None where there is nothing to draw.

    Red arrows excite, blue ones inhibit, by the estimate's sign; wide ones are strong. Where the wiring is known, false
    pairs are dashed and missed edges grey and dotted.

    Args:
        session: Its estimates.
        name: The method; by default that of highest average precision, without truth the coupling.
        q: False-discovery rate at which pairs are called; a method without p-values shows its strongest pairs.
        positions: (N, 2) or (N, 3) of the units, of which the first two are drawn; by default the units lie on a circle
            in the order of the matrices.
        most: Most arrows.
    """
    estimate = leading_map(session, name=name)
    n_units = len(session.unit_ids)
    if estimate is None or n_units < 2:
        return None
    edges = edges_of(session, estimate, q=q, most=most)
    if positions is None:
        places = _circle(unit_order(estimate.matrix if session.weights is None else session.weights))
    else:
        places = _unit_square(positions[:, :2])
    figure = new_figure(width=7.4, height=5.6)
    with style():
        axes = figure.subplots()
        axes.set(aspect="equal", xlim=(-1.2, 1.2), ylim=(-1.2, 1.2))
        axes.axis("off")
        largest = max((abs(estimate.matrix[i, j]) for i, j in edges.drawn), default=1.0)
        for i, j in edges.missed:
            _arrow(axes, places[i], places[j], color=MISSED, linestyle=DOTTED, width=1.1, alpha=0.8)
        for i, j in edges.drawn[::-1]:  # the strongest on top
            false = session.weights is not None and not session.weights[i, j]
            color = EXCITATORY if estimate.matrix[i, j] > 0 else INHIBITORY
            width = 0.5 + 1.7 * abs(estimate.matrix[i, j]) / largest
            _arrow(
                axes, places[i], places[j], color=color, linestyle=DASHED if false else "solid", width=width,
                alpha=0.75,
            )  # fmt: skip
        _draw_units(axes, places, session.unit_ids, circle=positions is None)
        axes.set_title(f"{session.session_id}: {method_label(estimate.name)}, {edges.meaning}", fontsize=10)
        axes.legend(
            handles=_legend(session, edges), loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=2.4
        )
        where = (
            "units on a circle: net exciters first, strongest output first, counter-clockwise from the right"
        )
        note = where if positions is None else "units at their recorded positions"
        drawn, missed = len(edges.drawn), len(edges.missed)
        if drawn < edges.n_found or missed < edges.n_missed:
            note += f"\ndrawn: the {drawn} strongest of {edges.n_found} pairs"
            note += f", the {missed} heaviest of {edges.n_missed} missed edges" if missed else ""
        figure.supxlabel(note, fontsize=7.5, color=MUTED)
    return figure


def edges_of(session: SessionConnectivity, estimate: ConnectivityMap, *, q: float, most: int) -> Edges:
    """Choose the pairs to draw, at most `most` in all, missed edges at most a third of them.

    The graph is what the method calls at `q`; without p-values the K strongest pairs, K the number of true edges or
    else `PER_UNIT` per unit.
    """
    n_units = len(session.unit_ids)
    off = ~np.eye(n_units, dtype=bool)
    edge = None if session.weights is None else (session.weights != 0) & off
    if estimate.p_values is not None:
        n_graph, meaning = int(estimate.called(q).sum()), f"pairs called at q = {q:g}"
    else:
        n_graph = PER_UNIT * n_units if edge is None else int(edge.sum())
        meaning = "strongest pairs (no null, so no graph)"
    graph = strongest_pairs(estimate, q=q, most=n_graph)
    missed = np.empty((0, 2), dtype=int)
    if edge is not None:
        assert session.weights is not None
        left = edge.copy()
        left[graph[:, 0], graph[:, 1]] = False
        by_weight = np.argsort(-np.abs(np.where(left, session.weights, 0)), axis=None, kind="stable")
        missed = np.stack(np.divmod(by_weight[: left.sum()], n_units), axis=1)
    room = max(most - len(graph), most // 3)
    return Edges(
        drawn=graph[: most - min(len(missed), room)],
        missed=missed[:room],
        n_found=len(graph),
        n_true=0 if edge is None else int(edge[graph[:, 0], graph[:, 1]].sum()),
        n_missed=len(missed),
        meaning=meaning,
    )


def _circle(order: np.ndarray) -> np.ndarray:
    """(N, 2) places on the unit circle, in this order of units."""
    angle = np.empty(len(order))
    angle[order] = 2 * np.pi * np.arange(len(order)) / len(order)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _unit_square(positions: np.ndarray) -> np.ndarray:
    """(N, 2) positions moved and scaled into −1 … 1, with equal scale in both directions."""
    middle = (positions.min(axis=0) + positions.max(axis=0)) / 2
    span = float(np.ptp(positions, axis=0).max()) / 2
    return (positions - middle) / (span if span > 0 else 1.0)


def _arrow(
    axes: Axes, start: np.ndarray, stop: np.ndarray, *, color: str, linestyle: object, width: float, alpha: float
) -> None:  # fmt: skip
    # Bent towards the middle, so that arrows stay inside the circle; i → j and j → i unlike, to be seen apart.
    towards = 1.0 if start[0] * stop[1] - start[1] * stop[0] < 0 else -1.0
    bend = towards * (0.1 if tuple(start) < tuple(stop) else 0.22)
    arrow = FancyArrowPatch(
        tuple(start), tuple(stop), connectionstyle=f"arc3,rad={bend}", arrowstyle="-|>",
        mutation_scale=5 + 2.5 * width, linewidth=width, linestyle=linestyle, color=color, alpha=alpha,
        shrinkA=4, shrinkB=5, capstyle="butt",
    )  # fmt: skip
    axes.add_patch(arrow)


def _draw_units(axes: Axes, places: np.ndarray, unit_ids: np.ndarray, *, circle: bool) -> None:
    named = len(unit_ids) <= MOST_NAMED or (circle and len(unit_ids) <= 2 * MOST_NAMED)
    axes.scatter(places[:, 0], places[:, 1], s=40 if len(unit_ids) <= MOST_NAMED else 14, color=INK, zorder=3)
    if not named:
        return
    size = 6.5 if len(unit_ids) > 20 else 8
    for unit_id, (x, y) in zip(unit_ids, places, strict=True):
        text = str(unit_id)
        text = text if len(text) <= 10 else text[:9] + "…"
        if not circle:
            axes.annotate(
                text,
                (x, y),
                xytext=(4, 4),
                textcoords="offset points",
                fontsize=size,
                color=MUTED,
                parse_math=False,
            )
            continue
        # Along the radius where they would overlap otherwise.
        turn = np.degrees(np.arctan2(y, x)) if len(unit_ids) > 20 else 0.0
        on_left = x < -1e-9
        axes.text(
            1.06 * x, 1.06 * y, text, fontsize=size, color=MUTED, parse_math=False,
            rotation=turn + 180 * (abs(turn) > 90),
            rotation_mode="anchor", ha="right" if on_left else "left", va="center",
        )  # fmt: skip


def _legend(session: SessionConnectivity, edges: Edges) -> list[Line2D]:
    handles = [
        Line2D([], [], color=EXCITATORY, label="excites"),
        Line2D([], [], color=INHIBITORY, label="inhibits"),
    ]
    if session.weights is None:
        return [*handles, Line2D([], [], linestyle="none", label=f"{edges.n_found} pairs")]
    return [
        *handles,
        Line2D([], [], color=INK, label=f"true: {edges.n_true}"),
        Line2D([], [], color=INK, linestyle=DASHED, label=f"false: {edges.n_found - edges.n_true}"),
        Line2D([], [], color=MISSED, linestyle=DOTTED, label=f"missed: {edges.n_missed}"),
    ]
