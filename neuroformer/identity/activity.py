"""The stretches of a session that the plain features are computed from, read once.

Only the training part of the run counts, the same seconds that the embedding was learned from. T = samples of a
stretch, N = units. A stretch is contiguous; no interval, lag or correlation reaches over its ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neuroformer.data import Recording
from neuroformer.errors import UserError
from neuroformer.session import Session, TimeSeries

_EDGE = 1e-6  # bins; an event on an edge belongs to the later bin, however its time was rounded


@dataclass(frozen=True, kw_only=True, eq=False)
class Stretch:
    """One contiguous piece of a session.

    Attributes:
        start: seconds.
        stop: seconds.
        times: per unit, the times of its events in seconds.
        amplitudes: per unit, the amplitudes of its events; None for spikes.
        activity: (T, N) float64, trace samples or events per bin; NaN where missing.
        behavior: (T, D) float64, behaviour at the same times; NaN where missing.
    """

    start: float
    stop: float
    times: list[np.ndarray]
    amplitudes: list[np.ndarray] | None
    activity: np.ndarray
    behavior: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Activity:
    """A session's training part.

    Attributes:
        name: session_id.
        n_units: N.
        bin_s: bins of the autocorrelograms, seconds.
        step_s: time from one sample of `Stretch.activity` to the next, seconds.
        from_traces: whether the activity is traces.
        behavior_names: of the columns of `Stretch.behavior`.
        stretches: in order of time.
    """

    name: str
    n_units: int
    bin_s: float
    step_s: float
    from_traces: bool
    behavior_names: tuple[str, ...]
    stretches: list[Stretch]

    @property
    def seconds(self) -> float:
        """Length of all stretches."""
        return sum(s.stop - s.start for s in self.stretches)


def read_activity(
    recordings: Sequence[Recording], *, activity_s: float | None = None, behavior: Sequence[str] = ()
) -> list[Activity]:
    """Read the training part of every recording.

    Args:
        recordings: with their split.
        activity_s: width of a bin of the activity, seconds; by default frames of the traces if every session has
            them, and otherwise a multiple of the model's bin of at least 50 ms. A number always takes events.
        behavior: variables; by default all continuous and categorical ones that every session has.

    Raises:
        UserError: a named variable is missing somewhere, or is made of frames.
    """
    sessions = [recording.session for recording in recordings]
    from_traces = activity_s is None and all(session.has_traces for session in sessions)
    step_s = activity_s
    if step_s is None:
        bin_s = recordings[0].bin_s
        step_s = (
            1 / float(np.median([s.traces_info().rate for s in sessions]))
            if from_traces
            else bin_s * max(1, round(0.05 / bin_s))
        )
    variables = _variables(sessions, behavior)
    return [_read(recording, step_s, from_traces, variables) for recording in recordings]


def _variables(sessions: Sequence[Session], wanted: Sequence[str]) -> list[str]:
    """Behaviour variables of equal form in every session."""
    for name in wanted:
        for session in sessions:
            if session.behavior_info(name).kind == "frames":
                raise UserError(f"behavior: {name} of {session.path} is made of frames; expected numbers")
    common = [
        name
        for name in sessions[0].behavior_names
        if all(name in s.behavior_names for s in sessions)
        and len({(i.kind, i.shape, i.labels, i.period) for i in (s.behavior_info(name) for s in sessions)})
        == 1
        and sessions[0].behavior_info(name).kind != "frames"
    ]
    for name in wanted:
        if name not in common:
            raise UserError(f"behavior: {name} has not the same kind, labels or period in all sessions")
    return list(wanted) or common


def _read(recording: Recording, step_s: float, from_traces: bool, variables: Sequence[str]) -> Activity:
    session = recording.session
    series = {name: session.behavior(name) for name in variables}
    names = [label for name, found in series.items() for label in _column_names(name, found)]
    stretches = []
    for span in recording.part("train"):
        epoch = recording.epochs[span.epoch]
        start, stop = float(epoch.time_of(span.start)), float(epoch.time_of(span.stop))
        events = recording.events(span)
        order = np.argsort(events.units, kind="stable")
        cuts = np.searchsorted(events.units[order], np.arange(1, session.n_units))
        if from_traces:
            traces = session.traces(start, stop)
            at, activity = traces.timestamps, traces.values.astype(np.float64)
        else:
            n = int((stop - start) / step_s + _EDGE)
            at = start + (np.arange(n) + 0.5) * step_s
            activity = np.zeros((n, session.n_units))
            bins = ((events.times - start) / step_s + _EDGE).astype(np.int64)
            inside = bins < n
            np.add.at(activity, (bins[inside], events.units[inside]), 1)
        columns = [column for found in series.values() for column in _columns(found, at, step_s)]
        stretches.append(
            Stretch(
                start=start,
                stop=stop,
                times=np.split(events.times[order], cuts),
                amplitudes=None if events.amplitudes is None else np.split(events.amplitudes[order], cuts),
                activity=activity,
                behavior=np.stack(columns, 1) if columns else np.zeros((len(at), 0)),
            )
        )
    return Activity(
        name=session.session_id,
        n_units=session.n_units,
        bin_s=recording.bin_s,
        step_s=step_s,
        from_traces=from_traces,
        behavior_names=tuple(names),
        stretches=stretches,
    )


def _column_names(name: str, series: TimeSeries) -> list[str]:
    names = [name] if series.values.ndim == 1 else [f"{name}[{k}]" for k in range(series.values.shape[1])]
    if series.kind == "categorical":
        # Of two categories one says it all.
        labels = series.labels[1:] if len(series.labels) == 2 else series.labels
        return [f"{n}={label}" for n in names for label in labels]
    return [f"{f}({n})" for n in names for f in ("cos", "sin")] if series.period else names


def _columns(series: TimeSeries, at: np.ndarray, step_s: float) -> list[np.ndarray]:
    """A variable at the times `at`: interpolated, NaN further than a step and a sample from where it is known."""
    values = series.values if series.values.ndim > 1 else series.values[:, None]
    columns = []
    for column in values.T:
        if series.kind == "categorical":
            first = 1 if len(series.labels) == 2 else 0
            known = column >= 0
            columns += [
                _at(series.timestamps[known], (column[known] == k).astype(float), at, step_s)
                for k in range(first, len(series.labels))
            ]
            continue
        known = np.isfinite(column)
        times, found = series.timestamps[known], column[known].astype(np.float64)
        if series.period:
            angle = 2 * np.pi * found / series.period
            columns += [_at(times, np.cos(angle), at, step_s), _at(times, np.sin(angle), at, step_s)]
        else:
            columns.append(_at(times, found, at, step_s))
    return columns


def _at(times: np.ndarray, values: np.ndarray, at: np.ndarray, step_s: float) -> np.ndarray:
    if len(times) < 2:
        return np.full(len(at), np.nan)
    reach = max(step_s, float(np.median(np.diff(times))))
    after = np.searchsorted(times, at).clip(1, len(times) - 1)
    gap = np.minimum(np.abs(times[after] - at), np.abs(times[after - 1] - at))
    return np.where(gap <= reach, np.interp(at, times, values), np.nan)
