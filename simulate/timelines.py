"""What goes on beside the spikes, along time: calcium traces, stimulus and behaviour, with the states shaded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from neuroformer.plotting import INK, MUTED, PALETTE
from neuroformer.session import SessionData, TimeSeries
from simulate.inputs import Inputs

SHOWN_S = 20.0
TRACES = 8
PICTURES = 12
STATE_COLOR = PALETTE[1]


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """One row of the figure."""

    height: float
    """Of the row (inches)."""
    draw: Callable[[Axes], None]
    """Draws it."""


def timelines(session: SessionData) -> list[Timeline]:
    """The rows that there is something for."""
    rows = []
    if session.traces is not None:
        rows.append(Timeline(height=2.4, draw=partial(_draw_traces, traces=session.traces, session=session)))
    if "frames" in session.stimulus:
        frames = session.stimulus["frames"]
        rows.append(Timeline(height=1.5, draw=partial(_draw_frames, frames=frames, session=session)))
    for name, series in session.behavior.items():
        rows.append(Timeline(height=1.3, draw=partial(_draw_line, name=name, series=series)))
    return rows


def draw_timelines(
    figure: Figure, grid: GridSpec, rows: Sequence[Timeline], inputs: Inputs, *, stop: float
) -> None:
    """Draw the rows below the first row of a grid, over its whole width, on one axis of time up to `stop` (s)."""
    for k, row in enumerate(rows, start=1):
        axes = figure.add_subplot(grid[k, :])
        row.draw(axes)
        axes.set_xlim(0, min(SHOWN_S, stop))
        if k == len(rows):
            axes.set_xlabel("time (s)")
        else:
            axes.tick_params(labelbottom=False)
        mark_states(axes, inputs)


def mark_states(axes: Axes, inputs: Inputs) -> None:
    """Shade the time in each state above the first, darker for higher ones."""
    if not inputs.states:
        return
    first, visited = inputs.states.runs()
    limits = axes.get_xlim()
    edges = np.r_[first, len(inputs.states.states)] * inputs.dt
    for state, start, stop in zip(visited, edges[:-1], edges[1:], strict=True):
        if state and start < limits[1]:
            strength = state / visited.max()
            axes.axvspan(start, stop, color=STATE_COLOR, alpha=0.25 * strength, linewidth=0, zorder=0)
    axes.set_xlim(limits)


def _draw_traces(axes: Axes, traces: TimeSeries, session: SessionData) -> None:
    shown = np.searchsorted(traces.timestamps, SHOWN_S)
    values = traces.values[:shown, :TRACES]
    step = 0.8 * float(np.ptp(values, axis=0).max()) or 1.0
    imaged = session.events.amplitudes is not None
    for unit, trace in enumerate(values.T):
        axes.plot(traces.timestamps[:shown], trace - unit * step, color=INK, linewidth=0.8)
        if imaged:
            own = session.events.times[session.events.units == unit]
            own = own[own < SHOWN_S]
            axes.plot(own, np.full(len(own), -(unit + 0.18) * step), "|", color=PALETTE[0], markersize=4)
    axes.set(title="ΔF/F" + (" and the events found in it" if imaged else ""), ylabel="unit")
    axes.set_yticks(-step * np.arange(values.shape[1]), labels=[str(u) for u in range(values.shape[1])])


def _draw_frames(axes: Axes, frames: TimeSeries, session: SessionData) -> None:
    """Frames at even times, each where it was shown, above a line that says the direction."""
    direction = session.stimulus.get("direction")
    times = (np.arange(PICTURES) + 0.5) * SHOWN_S / PICTURES
    if direction is not None and len(session.trials.get("start", ())):
        middles = (session.trials["start"] + session.trials["stop"]) / 2
        times = middles[middles < SHOWN_S][:PICTURES]
    width = 0.8 * SHOWN_S / PICTURES
    for time in times[times < frames.timestamps[-1]]:
        picture = frames.values[np.searchsorted(frames.timestamps, time, side="right") - 1]
        inset = axes.inset_axes((time - width / 2, 0.0, width, 1.0), transform=axes.transData)
        inset.imshow(picture, cmap="gray", vmin=0, vmax=255, origin="upper", interpolation="nearest")
        inset.set(xticks=[], yticks=[], anchor="C")
        if direction is not None:
            angle = direction.values[np.searchsorted(direction.timestamps, time, side="right") - 1]
            inset.set_title("" if np.isnan(angle) else f"{angle:g}°", loc="center", fontsize=7.5, pad=2)
            inset.title.set(fontweight="normal", color=MUTED)
    axes.set(title="Stimulus", ylim=(0, 1.25), yticks=[])


def _draw_line(axes: Axes, name: str, series: TimeSeries) -> None:
    shown = np.searchsorted(series.timestamps, SHOWN_S)
    style = {"linestyle": "none", "marker": ".", "markersize": 2} if series.period else {"linewidth": 1.0}
    axes.plot(series.timestamps[:shown], series.values[:shown], color=PALETTE[4], **style)
    axes.set(title=name.replace("_", " ").capitalize(), ylabel=series.unit)
