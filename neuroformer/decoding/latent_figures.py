"""Pictures of latents: their first two principal components, coloured by what was measured, session beside session.

The components are those of all shown sessions together, so that panels of one figure share their axes; aligned
latents of all modalities share them too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from neuroformer.data.variables import VariableEntry
from neuroformer.plotting import MUTED, PALETTE, new_figure, style

if TYPE_CHECKING:
    from neuroformer.decoding.latents import SessionLatents

_MOST_LABELS = len(PALETTE)


def draw_latents(
    sessions: Sequence[SessionLatents], entries: Mapping[str, VariableEntry], *, points: int
) -> dict[str, Figure]:
    """One figure for each kind of latent: trunk, readout, and the aligned ones together.

    Args:
        sessions: shown side by side.
        entries: the variables that colour the rows.
        points: bins drawn per panel.
    """
    names = list(sessions[0].latents)
    groups = {name: [name] for name in names if not name.startswith("aligned_")}
    aligned = [name for name in names if name.startswith("aligned_")]
    if aligned:
        groups["aligned"] = aligned
    known = {n: e for n, e in entries.items() if any(n in s.variables for s in sessions)}
    return {
        name: _draw(name, group, sessions, known, points) for name, group in groups.items() if known or name
    }


def principal_plane(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (W,), first two principal axes (W, 2) and their shares of the variance (2,) of the rows without NaN.

    The sign of each axis is such that its largest weight is positive.
    """
    rows = values[np.isfinite(values).all(1)].astype(float)
    mean = rows.mean(0) if len(rows) else np.zeros(values.shape[1])
    variance, axes = np.linalg.eigh((rows - mean).T @ (rows - mean) / max(1, len(rows)))
    axes, variance = axes[:, ::-1][:, :2], np.maximum(variance[::-1], 0)
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    return mean, axes, variance[:2] / max(variance.sum(), 1e-300)


def _draw(
    name: str,
    group: Sequence[str],
    sessions: Sequence[SessionLatents],
    entries: Mapping[str, VariableEntry],
    points: int,
) -> Figure:
    mean, axes, share = principal_plane(np.concatenate([s.latents[g] for g in group for s in sessions]))
    columns = [(g, s) for g in group for s in sessions]
    rows: list[VariableEntry | None] = list(entries.values()) or [None]
    figure = new_figure(width=1.4 + 2.5 * len(columns), height=0.7 + 2.3 * len(rows))
    with style():
        grid = figure.subplots(len(rows), len(columns), squeeze=False, sharex=True, sharey=True)
        for entry, panels in zip(rows, grid, strict=True):
            shown = _scale(entry, sessions)
            drawn = None
            for (latent, session), panel in zip(columns, panels, strict=True):
                place = (session.latents[latent] - mean) @ axes
                drawn = _panel(panel, place, session, entry, shown, points) or drawn
                panel.set(xticks=[], yticks=[])
            panels[0].set_ylabel(f"component 2 ({share[-1]:.0%})" if len(rows) == 1 else "")
            if entry is not None and drawn is not None:
                bar = figure.colorbar(drawn, ax=list(panels), shrink=0.8, aspect=14, pad=0.02)
                bar.outline.set_visible(False)
                bar.set_label(entry.name + (f" ({entry.unit})" if entry.unit else ""))
                if entry.kind == "categorical":
                    n = min(len(entry.labels), _MOST_LABELS)
                    bar.set_ticks(range(n), labels=list(entry.labels[:n]))
        for (latent, session), panel in zip(columns, grid[0], strict=True):
            what = f"{latent.removeprefix('aligned_')}\n" if len(group) > 1 else ""
            panel.set_title(f"{what}{session.session_id}", fontsize=8.5)
        figure.supxlabel(
            f"{name}: principal components 1 ({share[0]:.0%} of the variance) and 2 ({share[-1]:.0%}); "
            "grey: not measured",
            fontsize=7.5,
            color=MUTED,
        )
    return figure


def _panel(
    panel: Axes,
    place: np.ndarray,
    session: SessionLatents,
    entry: VariableEntry | None,
    shown: dict[str, Any],
    points: int,
) -> Any:
    """Draw one panel; what a colour bar is made of, or None."""
    there = np.flatnonzero(np.isfinite(place).all(1))
    there = there[np.linspace(0, len(there) - 1, min(points, len(there))).astype(int)]
    dots: dict[str, Any] = {"s": 5, "linewidths": 0, "rasterized": True}
    binned = session.variables.get(entry.name) if entry is not None else None
    known = np.zeros(len(there), bool) if binned is None else binned.known[there]
    grey = place[there[~known]]
    panel.scatter(grey[:, 0], grey[:, -1], color="#d5dade", **dots)
    if binned is None or not known.any():
        return None
    at = there[known]
    values = binned.values if binned.values.ndim == 1 else binned.values[:, 0]
    return panel.scatter(place[at, 0], place[at, -1], c=values[at], **dots, **shown)


def _scale(entry: VariableEntry | None, sessions: Sequence[SessionLatents]) -> dict[str, Any]:
    """Colour map and limits of a variable, the same in all panels."""
    if entry is None:
        return {}
    if entry.kind == "categorical":
        n = min(len(entry.labels), _MOST_LABELS)
        return {"cmap": ListedColormap(PALETTE[:n]), "vmin": -0.5, "vmax": n - 0.5}
    if entry.period is not None:
        return {"cmap": "twilight", "vmin": 0.0, "vmax": entry.period}
    parts = [s.variables[entry.name] for s in sessions if entry.name in s.variables]
    values = np.concatenate([p.values[p.known, 0] for p in parts])
    low, high = np.quantile(values, [0.01, 0.99]) if len(values) else (0.0, 1.0)
    return {"cmap": "viridis", "vmin": float(low), "vmax": float(high)}
