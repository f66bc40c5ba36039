"""Who drives whom: coupling matrices beside the truth, and how well each estimator finds the edges."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neuroformer.plotting import (
    EXCITATORY,
    INHIBITORY,
    MUTED,
    draw_couplings,
    method_label,
    method_line,
    new_figure,
    style,
)
from neuroformer.report.blocks import (
    Block,
    Drawing,
    Missing,
    Section,
    Table,
    plural,
)
from neuroformer.report.collect import Couplings, Run
from neuroformer.report.lead import leading_estimator
from neuroformer.report.sections.wiring_tables import calls_table, score_table, session_table

# Beyond this many units single pairs cannot be seen: the best connected are drawn.
_MOST_UNITS = 150
_MOST_PANELS = 6
_PANELS_PER_ROW = 3


def blocks(run: Run) -> Iterator[Block]:
    """Scores against the truth where it is known, then matrices and curves of the first session."""
    scores = run.wiring_scores()
    if scores:
        yield score_table(scores, run.wiring_intervals())
    sessions = run.couplings()
    if not sessions:
        yield Missing(
            "Wiring has not been estimated yet (connectivity/connectivity.h5).",
            f"neuroformer connectivity run={run.path}",
        )
        return
    session = sessions[0]
    if not session.estimates:
        yield Missing(
            f"Session {session.session_id} holds no estimate of its wiring.",
            f"neuroformer connectivity run={run.path} overwrite=true",
        )
        return
    estimators = _ranked(session, scores)
    yield Drawing(
        figure=draw_matrices(session, estimators[: _MOST_PANELS - (session.truth is not None)]),
        title="Coupling matrices" if session.truth is None else "True wiring beside estimates",
        caption=_matrices_caption(session, n_sessions=len(sessions), n_estimators=len(estimators)),
    )
    if session.truth is not None and _has_both(session.truth):
        yield _curves(session, estimators)
    else:
        yield from calls_table(run, session, estimators)
    yield from session_table(run, list(scores))
    meanings = [(method_label(name), session.meanings[name]) for name in estimators if session.meanings[name]]
    if meanings:
        yield Table(
            columns=("estimator", "its numbers"),
            rows=meanings,
            summary="What each estimator measures",
            prose=True,
        )


SECTION = Section(slug="wiring", title="Who drives whom", blocks=blocks)


def draw_matrices(session: Couplings, estimators: Sequence[str]) -> Figure:
    """The truth, where known, and each estimate, with units in the same order."""
    panels = ([("truth", session.truth)] if session.truth is not None else []) + [
        (name, session.estimates[name]) for name in estimators
    ]
    order = unit_order(panels[0][1])[:_MOST_UNITS]
    rows = -(-len(panels) // _PANELS_PER_ROW)
    columns = min(len(panels), _PANELS_PER_ROW)
    figure = new_figure(width=2.6 * columns + 0.4, height=3.0 * rows)
    with style():
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        for axes, (name, matrix) in zip(grid, panels, strict=False):
            image = draw_couplings(axes, matrix[np.ix_(order, order)])
            axes.set_title(method_label(name))
            if session.truth is not None:
                _mark_types(axes, session.truth[np.ix_(order, order)])
            bar = figure.colorbar(image, ax=axes, location="bottom", shrink=0.7, aspect=25, pad=0.02)
            bar.set_ticks(
                [*image.get_clim()[:1], 0, *image.get_clim()[1:]], labels=["inhibits", "0", "excites"]
            )
            bar.outline.set_visible(False)
            bar.ax.tick_params(length=0)
    return figure


def unit_order(matrix: np.ndarray) -> np.ndarray:
    """Units by type, then by how strongly they drive others.

    Args:
        matrix: (S, S) couplings `[source, target]`.

    Returns:
        (S,) indices: net exciting sources first, strongest first, then net inhibiting ones, strongest first. Beyond
        what can be drawn, the best connected units come before all others.
    """
    couplings = np.nan_to_num(np.where(np.eye(len(matrix), dtype=bool), 0, matrix))
    strength = np.abs(couplings).sum(axis=1)
    well_connected = np.zeros(len(matrix), dtype=bool)
    well_connected[np.argsort(-strength - np.abs(couplings).sum(axis=0), kind="stable")[:_MOST_UNITS]] = True
    return np.lexsort((-strength, couplings.sum(axis=1) < 0, ~well_connected))


def precision_recall(score: np.ndarray, edge: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall at every threshold, strictest first; tied scores enter together.

    Args:
        score: (P,) how likely each pair is connected.
        edge: (P,) whether it is; at least one.
    """
    order = np.argsort(-score, kind="stable")
    last_of_tie = np.append(np.diff(score[order]) != 0, True)
    found = np.cumsum(edge[order])[last_of_tie]
    called = np.flatnonzero(last_of_tie) + 1
    return found / called, found / edge.sum()


def _curves(session: Couplings, estimators: Sequence[str]) -> Drawing:
    assert session.truth is not None
    lead = leading_estimator(estimators) or estimators[0]
    off_diagonal = ~np.eye(len(session.truth), dtype=bool)
    weights = session.truth[off_diagonal]
    figure = new_figure(width=7.8, height=3.9)
    with style():
        left, right = figure.subplots(1, 2)
        for name in estimators:
            score = np.nan_to_num(np.abs(session.estimates[name][off_diagonal]))
            precision, recall = precision_recall(score, weights != 0)
            left.step(recall, precision, where="pre", label=method_label(name), **method_line(name))
        density = float(np.mean(weights != 0))
        left.axhline(density, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="chance")
        left.set(xlim=(0, 1), ylim=(0, 1.03), title="Finding the edges")
        left.set(xlabel="recall (true edges that are found)", ylabel="precision (found that are true)")
        left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
        left.grid(True)
        _draw_strengths(right, session.estimates[lead][off_diagonal], weights)
        right.set_title(f"{method_label(lead)} by kind of pair")
    return Drawing(
        figure=figure,
        title="Finding the edges",
        caption="Left: all ordered pairs ranked by absolute coupling, strongest first. As the list is followed down, "
        "precision is the share of true edges among the pairs so far, recall the share of all true edges found; a "
        "perfect ranking follows the upper edge, and its area is the average precision. Right: estimated coupling of "
        "pairs that excite, inhibit or have no connection in truth; the less they overlap, the better the "
        "wiring can be read. Note the logarithmic count: unconnected pairs are by far the most.",
    )


def _draw_strengths(axes: Axes, estimate: np.ndarray, weights: np.ndarray) -> None:
    low, high = np.nanquantile(estimate, [0.0005, 0.9995])
    bins = (np.linspace(low, high, 60) if high > low else np.linspace(low - 1, low + 1, 60)).tolist()
    kinds = (
        (weights == 0, "no connection", MUTED),
        (weights > 0, "excites", EXCITATORY),
        (weights < 0, "inhibits", INHIBITORY),
    )
    for chosen, label, color in kinds:
        if chosen.any():
            axes.hist(estimate[chosen].clip(low, high), bins=bins, color=color, alpha=0.3)
            axes.hist(
                estimate[chosen].clip(low, high),
                bins=bins,
                color=color,
                histtype="step",
                linewidth=1.4,
                label=label,
            )
    axes.set(yscale="log", xlabel="estimated coupling", ylabel="pairs")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3)


def _mark_types(axes: Axes, truth: np.ndarray) -> None:
    """A strip at the left: red beside sources that excite in truth, blue beside those that inhibit."""
    total = np.where(np.eye(len(truth), dtype=bool), 0, truth).sum(axis=1)
    left = -0.5 - 0.03 * len(truth)
    for rows, color in ((np.flatnonzero(total > 0), EXCITATORY), (np.flatnonzero(total < 0), INHIBITORY)):
        axes.vlines(np.full(len(rows), left), rows - 0.5, rows + 0.5, color, linewidth=4, clip_on=False)
    axes.set_xlim(-0.5, len(truth) - 0.5)
    axes.tick_params(axis="y", pad=8, length=0)


def _ranked(session: Couplings, scores: Mapping[str, Any]) -> list[str]:
    """The leading estimator first, the others by their score, then by name."""
    by_score = [name for name in scores if name in session.estimates]
    names = by_score + sorted(name for name in session.estimates if name not in by_score)
    lead = leading_estimator(names)
    return sorted(names, key=lambda name: name != lead)


def _has_both(truth: np.ndarray) -> bool:
    edge = truth[~np.eye(len(truth), dtype=bool)] != 0
    return bool(edge.any() and not edge.all())


def _matrices_caption(session: Couplings, *, n_sessions: int, n_estimators: int) -> str:
    n_units = len(next(iter(session.estimates.values())))
    parts = [
        f"Session {session.session_id}, {plural(n_units, 'unit')}. Each row is a source, each column a target: a red "
        "pixel means that an event of the source makes events of the target more likely, a blue one less likely.",
        "Every matrix has its own colour scale, because estimators have different units of measure; compare patterns, "
        "not shades. The diagonal is left out.",
    ]
    if session.truth is not None:
        parts.append(
            "All panels have the same order of units: excitatory sources (red strip at the left) above inhibitory ones "
            "(blue), each by total strength in truth."
        )
    else:
        parts.append(
            "The true wiring is not known here. Units are sorted by their coupling: net exciting sources first, then "
            "net inhibiting ones, strongest first. Influence of neurons that were not recorded cannot be excluded."
        )
    if n_units > _MOST_UNITS:
        parts.append(f"The {_MOST_UNITS} best connected units are shown.")
    if n_estimators > _MOST_PANELS - (session.truth is not None):
        parts.append("The best estimators are shown; the others are in the table.")
    if n_sessions > 1:
        parts.append(f"{plural(n_sessions - 1, 'further session')} in connectivity.h5.")
    return " ".join(parts)
