"""A map of the embeddings beside the scores."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neuroformer.identity.compare import CHANCE, Asked, Result
from neuroformer.identity.features import FeatureSet
from neuroformer.identity.scores import LEAD
from neuroformer.identity.table import PROBE_NAMES
from neuroformer.plotting import GRID, INK, MUTED, PALETTE, new_figure, style

_MARKERS = "osD^vP*X<>"
_SHADES = {"linear": 0, "neighbours": 3, "matching": 1, "graph_matching": 2}
_COLOURED = 7


def identity_figure(
    mapped: FeatureSet,
    asked: Asked,
    results: Sequence[Result],
    *,
    label: str,
) -> Figure:
    """Two components of `mapped` with a colour per label, and the macro-F1 of every set and probe."""
    shown = [r for r in results if r.features != CHANCE]
    names = list(dict.fromkeys(r.features for r in shown))
    figure = new_figure(width=11.0, height=max(4.2, 1.6 + 0.16 * len(shown) + 0.16 * len(names)))
    with style():
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
        _map(left, mapped, asked, label)
        _bars(right, shown, names, next(r for r in results if r.features == CHANCE))
    return figure


def _map(axes: Axes, mapped: FeatureSet, asked: Asked, label: str) -> None:
    centred = mapped.values - mapped.values.mean(0)
    _, size, turn = np.linalg.svd(centred, full_matrices=False)
    at = centred @ turn[:2].T
    if at.shape[1] < 2:
        at = np.column_stack([at, np.zeros(len(at))])
    share = size**2 / max(float((size**2).sum()), 1e-12)
    # Labels that most animals have, then those with most units; more colours than that cannot be told apart.
    labelled = asked.label >= 0
    counts = np.bincount(asked.label[labelled], minlength=len(asked.classes))
    animals = [len(set(asked.animal[asked.label == k])) for k in range(len(asked.classes))]
    order = sorted(range(len(asked.classes)), key=lambda k: (-animals[k], -counts[k], k))
    coloured = sorted(order if len(order) <= _COLOURED + 1 else order[:_COLOURED])
    grey = ~np.isin(asked.label, coloured)
    axes.scatter(at[grey, 0], at[grey, 1], s=9, color="#cdd4d9", linewidths=0, zorder=1)
    for i, animal in enumerate(asked.animals):
        for j, k in enumerate(coloured):
            rows = (asked.label == k) & (asked.animal == animal)
            axes.scatter(
                at[rows, 0],
                at[rows, 1],
                s=30,
                marker=_MARKERS[i % len(_MARKERS)],
                color=PALETTE[j % len(PALETTE)],
                edgecolors="white",
                linewidths=0.5,
                zorder=2,
            )
    axes.set(
        title=f"{_map_name(mapped.name)}, {len(at)} units",
        xlabel=f"component 1 ({share[0]:.0%} of variance)",
        ylabel=f"component 2 ({share[1] if len(share) > 1 else 0:.0%})",
    )
    handles = [
        Line2D([], [], marker="o", linestyle="", color=PALETTE[j % len(PALETTE)], label=str(asked.classes[k]))
        for j, k in enumerate(coloured)
    ]
    if grey.any():
        handles.append(Line2D([], [], marker="o", linestyle="", color="#cdd4d9", markersize=4, label="other"))
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.legend(
        handles=handles,
        title=f"{label} (a marker per animal)",
        loc="outside lower left",
        ncols=min(4, len(handles)),
        handletextpad=0.2,
        columnspacing=1.2,
    )


def _bars(axes: Axes, shown: Sequence[Result], names: Sequence[str], chance: Result) -> None:
    y, ticks, used = 0.0, [], []
    for name in names:
        of_set = [r for r in shown if r.features == name]
        ticks.append(y + 0.5 * (len(of_set) - 1))
        for r in of_set:
            colour = PALETTE[_SHADES[r.probe]]
            used += [] if r.probe in used else [r.probe]
            axes.barh(y, r.scores[LEAD], height=0.86, color=colour, alpha=0.55 if ":" in name else 1.0)
            low, high = r.intervals[LEAD]
            if math.isfinite(low):
                axes.plot([low, high], [y, y], color=INK, linewidth=1.1)
            y += 1
        y += 0.7
    axes.axvline(chance.scores[LEAD], color=MUTED, linewidth=1.2, linestyle=(0, (4, 2)))
    axes.set_yticks(ticks, [_shown_name(name) for name in names])
    axes.set_ylim(y - 0.2, -1.0)
    axes.set_xlim(0, None)
    axes.grid(axis="x", color=GRID)
    axes.tick_params(axis="y", length=0)
    axes.set(
        title="Told across animals, one left out at a time", xlabel="macro-F1, 95 % interval over animals"
    )
    handles = [Line2D([], [], color=PALETTE[_SHADES[p]], linewidth=6, label=PROBE_NAMES[p]) for p in used]
    handles.append(Line2D([], [], color=MUTED, linewidth=1.2, linestyle=(0, (4, 2)), label="chance"))
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.legend(
        handles=handles,
        title="probe",
        loc="outside lower right",
        ncols=min(3, len(handles)),
        handlelength=1.2,
    )


def _map_name(name: str) -> str:
    part = name.removeprefix("embedding:")
    return name.capitalize() if part == name else f"Part {part!r} of the embedding"


def _shown_name(name: str) -> str:
    """Parts of the embedding follow the whole sets, as "wiring alone"."""
    return f"{name.removeprefix('embedding:')} alone" if name.startswith("embedding:") else name
