"""Picture of how the influence of single pairs goes with the lag."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neuroformer.connectivity.leading import leading_map
from neuroformer.connectivity.store import SessionConnectivity
from neuroformer.connectivity.table import strongest_pairs
from neuroformer.plotting import EXCITATORY, INHIBITORY, INK, MUTED, method_label, new_figure, style

PANELS_PER_ROW = 4


def draw_lag_profiles(
    session: SessionConnectivity, *, name: str = "", q: float = 0.05, pairs: int = 12
) -> Figure | None:
    """Draw the lag profiles of the strongest pairs of one method; None where no estimate has lags.

    Each panel is a pair, source → target, called ones first; the dashed line is the true delay, where there is one.
    Panels share the lag axis and not the height.

    Args:
        session: Its estimates.
        name: The method; by default, of those with lags, the one of highest average precision, without truth the
            coupling.
        q: False-discovery rate at which pairs are called.
        pairs: Most panels.
    """
    estimate = leading_map(session, name=name, suits=lambda found: found.lag_profile is not None)
    if estimate is None:
        return None
    assert estimate.lag_profile is not None
    assert estimate.lags_s is not None
    chosen = strongest_pairs(estimate, q=q, most=pairs)
    if not len(chosen):
        return None
    called = None if estimate.p_values is None else estimate.called(q)
    n_columns = min(len(chosen), PANELS_PER_ROW)
    n_rows = -(-len(chosen) // n_columns)
    figure = new_figure(width=max(4.4, 0.5 + 2.1 * n_columns), height=0.9 + 1.5 * n_rows)
    lags_ms = 1000 * estimate.lags_s
    width = lags_ms[0] if len(lags_ms) == 1 else np.diff(lags_ms).min()
    with style():
        grid = figure.subplots(n_rows, n_columns, squeeze=False)
        for axes in grid.flat[len(chosen) :]:
            axes.set_visible(False)
        for number, ((i, j), axes) in enumerate(zip(chosen, grid.flat, strict=False)):
            profile = estimate.lag_profile[i, j]
            colors = np.where(profile > 0, EXCITATORY, INHIBITORY).tolist()
            axes.bar(lags_ms, profile, width=0.85 * width, color=colors)
            axes.axhline(0, color=MUTED, linewidth=0.8)
            axes.set(xlim=(min(0, lags_ms[0] - width), lags_ms[-1] + width))
            axes.margins(y=0.15)
            axes.locator_params(axis="y", nbins=3)
            axes.locator_params(axis="x", nbins=5)
            axes.yaxis.set_major_formatter("{x:.3g}")  # no power of ten above the axis, where the title is
            _title(axes, session, int(i), int(j), called=None if called is None else bool(called[i, j]))
            if number + n_columns >= len(chosen):
                axes.set_xlabel("lag (ms)")
            else:
                axes.tick_params(labelbottom=False)
        figure.suptitle(
            f"{session.session_id}: {method_label(estimate.name)}, strongest pairs",
            x=0.01, ha="left", fontsize=10, fontweight="bold",
        )  # fmt: skip
        label = "influence of the source on the target" if n_rows > 1 else "influence"
        figure.supylabel(label, fontsize=9)
        if session.weights is not None:
            note = "dashed line: true delay; the peak of binned counts can come up to one bin after it"
            figure.supxlabel(note, fontsize=7.5, color=MUTED)
    return figure


def _title(axes: Axes, session: SessionConnectivity, i: int, j: int, *, called: bool | None) -> None:
    """Name the pair, say what is true of it, and mark the true delay."""
    said = [] if called in (None, True) else ["not called"]
    if session.weights is not None:
        weight = session.weights[i, j]
        said.append("excites" if weight > 0 else "inhibits" if weight < 0 else "no edge")
        if weight and session.delays is not None:
            axes.axvline(1000 * session.delays[i, j], color=INK, linewidth=1.3, linestyle=(0, (3, 2)))
    pair = " → ".join(str(session.unit_ids[unit]) for unit in (i, j))
    pair = pair if len(pair) <= 24 else pair[:23] + "…"
    axes.set_title(pair, fontsize=8.5, pad=3, parse_math=False)
    if said:
        false = session.weights is not None and not session.weights[i, j]
        low, high = axes.get_ylim()
        y, va = (0.96, "top") if high >= -low else (0.04, "bottom")  # where the bars are not
        axes.text(
            0.98, y, "\n".join(said), transform=axes.transAxes, ha="right", va=va,
            fontsize=7.5, color="#a03000" if false else MUTED, fontweight="bold" if false else "normal",
        )  # fmt: skip
