"""One page a target: how errors grow as units are deleted and fall as they come back, and which units and when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neuroformer.plotting import DIVERGING, MUTED, PALETTE, SEQUENTIAL, new_figure, style
from neuroformer.salience.scores import NAMES, SalienceScores

_COLOURS = dict(zip(NAMES, PALETTE, strict=False))


def draw(scores: Sequence[SalienceScores], target: str, unit: str, positions: np.ndarray | None) -> Figure:
    """A row per model: deletion, insertion, course over time of the top units, by lag, and the map if there is one.

    Args:
        scores: of each model.
        target: of behaviour.
        unit: of the target.
        positions: (N, 2 or 3) of the units of the first session, if it has them.
    """
    n_columns = 4 + (positions is not None)
    figure = new_figure(width=3.1 * n_columns, height=2.5 * len(scores) + 0.5)
    with style():
        panels = figure.subplots(len(scores), n_columns, squeeze=False)
        for row, (line, one) in enumerate(zip(panels, scores, strict=True)):
            last = row == len(scores) - 1
            for axes, kind in zip(line, ("deletion", "insertion"), strict=False):
                _curves(axes, one, target, unit, kind, last=last)
            line[0].set_title(f"{one.model.replace('_', ' ')}: deletion")
            line[1].set_title("insertion")
            best = best_salience(one, target)
            first = one.results[0]["targets"][target]["saliences"]
            _over_time(line[2], first[best], best, last=last)
            with_lag = (
                best
                if first[best]["by_lag"] is not None
                else next((s for s in first if first[s]["by_lag"] is not None), None)
            )
            if with_lag is None:
                line[3].set_axis_off()
            else:
                _by_lag(line[3], first[with_lag], with_lag, last=last)
            if positions is not None:
                _map(line[4], np.array(first[best]["units"]), positions, best)
        handles = {
            text: handle
            for line in panels
            for handle, text in zip(*line[0].get_legend_handles_labels(), strict=True)
        }
        panels[0, 0].legend(
            handles.values(), handles.keys(), fontsize=6
        )  # of all models: not all have attention
    return figure


def best_salience(scores: SalienceScores, target: str) -> str:
    """The one whose deletion curve lies highest above that of random units."""
    return max(scores.saliences(target), key=lambda s: scores.area(target, s, "deletion"))


def _curves(axes: Axes, scores: SalienceScores, target: str, unit: str, kind: str, *, last: bool) -> None:
    counts = scores.counts
    ends = np.array([scores.random_range(target, k, kind=kind) for k in counts])
    axes.fill_between(counts, ends[:, 0], ends[:, 1], color=MUTED, alpha=0.25, linewidth=0)
    values = [scores.rise(target, "random", k, kind=kind).value for k in counts]
    axes.plot(counts, values, color=MUTED, label="random units")
    for s in scores.saliences(target):
        values = [scores.rise(target, s, k, kind=kind).value for k in counts]
        axes.plot(counts, values, "o-", markersize=2.5, color=_COLOURS[s], label=NAMES[s])
    axes.axhline(0, color=MUTED, linewidth=0.6)
    axes.set_xscale("log")
    if kind == "deletion":
        axes.set_ylabel(f"RMSE − whole model{f' ({unit})' if unit else ''}")
    if last:
        axes.set_xlabel("units deleted" if kind == "deletion" else "units inserted")


def _over_time(axes: Axes, found: dict[str, Any], salience: str, *, last: bool) -> None:
    values = np.array(found["over_time"], float)
    limit = float(np.quantile(np.abs(values), 0.99)) or 1.0
    axes.imshow(values, aspect="auto", cmap=DIVERGING, vmin=-limit, vmax=limit, interpolation="nearest")
    times = np.array(found["times"], float)
    ticks = np.unique(np.linspace(0, len(times) - 1, 4).round().astype(int))
    axes.set_xticks(ticks, [f"{times[t]:.0f}" for t in ticks])
    axes.set_ylabel(f"top {len(values)} units")
    axes.set_yticks([])
    axes.set_title(f"contributions (red: +), {NAMES[salience]}")
    if last:
        axes.set_xlabel("time in the explained part (s)")


def _by_lag(axes: Axes, found: dict[str, Any], salience: str, *, last: bool) -> None:
    values = np.array(found["by_lag"], float)  # (units, 2 T − 1)
    t = (values.shape[1] + 1) // 2
    used = np.flatnonzero(values.any(0))
    first, stop = (used[0], used[-1] + 1) if len(used) else (0, values.shape[1])
    axes.imshow(
        values[:, first:stop], aspect="auto", cmap=SEQUENTIAL, interpolation="nearest", vmin=0,
        extent=(first - t + 0.5, stop - t + 0.5, len(values), 0),
    )  # fmt: skip
    axes.set_yticks([])
    axes.set_title(f"by frame, {NAMES[salience]}")
    if last:
        axes.set_xlabel("frame, relative to the predicted one")


def _map(axes: Axes, units: np.ndarray, positions: np.ndarray, salience: str) -> None:
    """Units seen from above, the most salient drawn last; colour is the rank of the salience among the top tenth."""
    order = np.argsort(units)
    level = np.clip(units / (np.quantile(units, 0.999) or 1.0), 0, 1)
    size = np.clip(3000 / len(units), 0.6, 14)
    axes.scatter(
        positions[order, 0], positions[order, 1], s=size * (0.5 + 6 * level[order]), c=level[order], cmap=SEQUENTIAL,
        vmin=-0.15, vmax=1, linewidths=0,
    )  # fmt: skip
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(f"map, {NAMES[salience]}")
