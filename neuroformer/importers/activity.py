"""The events of a recording, from each of the forms in which foreign files keep them."""

from dataclasses import dataclass

import numpy as np

from neuroformer.errors import UserError
from neuroformer.importers.array_file import ArrayFile, finite
from neuroformer.importers.calcium import deconvolve
from neuroformer.importers.clocks import Ticks, read_clock
from neuroformer.importers.mapping import ArrayMapping, BinCounts, EventList, SpikeTimes, Traces
from neuroformer.session import Events, TimeSeries

SOURCES = ("events", "spike_times", "counts", "traces")
# More is no recording, and would not fit into memory: each event gets a time of its own.
_MOST_PER_BIN, _MOST_EVENTS = 1e5, 2e9


@dataclass(kw_only=True, eq=False)
class Activity:
    """Events, and what their source tells about units and time.

    Attributes:
        events: the events, sorted by time, then unit.
        n_units: number of units that the source shows.
        span: start and stop of the recorded time, seconds; None when events are all there is.
        ids: (N,) ids of the units, where the source names them.
        stretches: (K, 2) float64, seconds: stretches without a gap, where the source shows them.
        trials: (n_trials, 2) float64, seconds: start and stop of the trials, where the source has them.
        traces: the calcium traces, where there are any.
    """

    events: Events
    n_units: int
    span: tuple[float, float] | None = None
    ids: np.ndarray | None = None
    stretches: np.ndarray | None = None
    trials: np.ndarray | None = None
    traces: TimeSeries | None = None


def read_activity(mapping: ArrayMapping, file: ArrayFile, notes: list[str]) -> Activity:
    """The activity of a recording.

    Args:
        mapping: Says in which form the events are.
        file: The recording.
        notes: Takes what was mended.

    Raises:
        UserError: No or several sources of events, or arrays that do not fit what the mapping says.
    """
    given = [name for name in SOURCES if getattr(mapping, name) is not None]
    lists = [name for name in given if name != "traces"]
    if not given or len(lists) > 1:
        found = " and ".join(lists) if lists else "none"
        raise UserError(
            f"mapping: found {found} as the source of events, expected one of {', '.join(SOURCES)}"
        )
    if mapping.events is not None:
        activity = _from_list(mapping.events, mapping, file, notes)
    elif mapping.spike_times is not None:
        activity = _from_spike_times(mapping.spike_times, file, notes)
    elif mapping.counts is not None:
        activity = _from_counts(mapping.counts, file)
    else:
        assert mapping.traces is not None
        return _from_traces(mapping.traces, mapping, file, notes)
    if mapping.traces is not None:
        traces, _ = _read_traces(mapping.traces, mapping, file, notes)
        activity.traces = traces
        activity.n_units = max(activity.n_units, traces.values.shape[1])
    return activity


def sort_events(
    times: np.ndarray, units: np.ndarray, amplitudes: np.ndarray | None, notes: list[str] | None = None
) -> Events:
    """Events in order of time, then unit; equal ones keep their order. `notes` takes word of a change."""
    if notes is not None and (np.diff(times) < 0).any():
        notes.append("event times: not in order, sorted")
    order = np.lexsort((units, times))
    return Events(
        times=times[order].astype(np.float64),
        units=units[order].astype(np.int32),
        amplitudes=None if amplitudes is None else amplitudes[order].astype(np.float32),
    )


def whole_numbers(values: np.ndarray, where: str) -> np.ndarray:
    """`values` as int64; refused when one is no whole number."""
    if values.size and not (np.isfinite(values).all() and (values == np.rint(values)).all()):
        bad = int(np.flatnonzero(~(np.isfinite(values) & (values == np.rint(values))))[0])
        raise UserError(f"{where}: row {bad} is {values[bad]}, expected whole numbers; check the key")
    return values.astype(np.int64)


# ------------------------------------------------------------------------------ a list of events


def _from_list(spec: EventList, mapping: ArrayMapping, file: ArrayFile, notes: list[str]) -> Activity:
    if bool(spec.time) == bool(spec.frame):
        raise UserError("events: expected either events.time or events.frame in the mapping")
    units = whole_numbers(file.numbers(spec.unit, "events.unit"), f"events.unit: {spec.unit!r}")
    ticks = None
    if spec.frame:
        frames = whole_numbers(file.numbers(spec.frame, "events.frame"), f"events.frame: {spec.frame!r}")
        ticks = read_clock(mapping.clock, file, "clock", notes, _frames_needed(mapping, frames))
        times = _frame_times(frames - mapping.clock.first, ticks, f"events.frame: {spec.frame!r}")
    else:
        times = file.times(spec.time, "events.time", spec.scale)
    amplitudes = file.numbers(spec.amplitude, "events.amplitude") if spec.amplitude else None
    for name, values in (("unit", units), ("amplitude", amplitudes)):
        if values is not None and len(values) != len(times):
            raise UserError(
                f"events.{name}: has {len(values)} rows for {len(times)} events, expected one a row"
            )
    ids = None
    if spec.unit_is == "id":
        units, ids = _ids_to_indices(units, mapping, file)
        n_units = len(ids)
    else:
        units = units - spec.first_unit
        n_units = _count_units(units, mapping, file, spec)
    return Activity(
        events=sort_events(times, units, amplitudes, notes),
        n_units=n_units,
        span=None if ticks is None else (float(ticks.edges[0]), float(ticks.edges[-1])),
        ids=ids,
        stretches=None if ticks is None else ticks.stretches(),
    )


def _frames_needed(mapping: ArrayMapping, frames: np.ndarray) -> int | None:
    """Number of samples to the last event, where nothing else tells how many there are."""
    if mapping.clock.samples is not None or mapping.clock.timestamps or not frames.size:
        return None
    return int(frames.max()) - mapping.clock.first + 1


def _frame_times(frames: np.ndarray, ticks: Ticks, where: str) -> np.ndarray:
    stamps = ticks.middles
    if ticks.rows is not None:  # times that were out of order or double: back to the file's own count
        stamps = np.full(int(ticks.rows.max()) + 1, np.nan)
        stamps[ticks.rows] = ticks.middles
    outside = np.flatnonzero((frames < 0) | (frames >= len(stamps)))
    if outside.size:
        raise UserError(
            f"{where}: {outside.size} of {frames.size} events lie outside the {len(stamps)} frames "
            f"(the first in row {outside[0]}); check clock.first and clock.samples"
        )
    return finite(stamps[frames], where)


def _ids_to_indices(
    units: np.ndarray, mapping: ArrayMapping, file: ArrayFile
) -> tuple[np.ndarray, np.ndarray]:
    if not mapping.units.id:
        ids, indices = np.unique(units, return_inverse=True)
        return indices.reshape(-1), ids
    ids = whole_numbers(file.numbers(mapping.units.id, "units.id"), f"units.id: {mapping.units.id!r}")
    order = np.argsort(ids, kind="stable")
    place = np.clip(np.searchsorted(ids[order], units), 0, max(len(ids) - 1, 0))
    indices = order[place] if len(ids) else place
    known = ids[indices] == units if len(ids) else np.zeros(len(units), dtype=bool)
    if not known.all():
        stranger = units[~known][0]
        raise UserError(
            f"events.unit: id {stranger} is not among units.id {mapping.units.id!r}; correct one of them"
        )
    return indices, ids


def _count_units(units: np.ndarray, mapping: ArrayMapping, file: ArrayFile, spec: EventList) -> int:
    n_units = known_units(mapping, file)
    top = int(units.max()) + 1 if units.size else 0
    bad = np.flatnonzero((units < 0) | (units >= (top if n_units is None else n_units)))
    if bad.size:
        first, last = spec.first_unit, (top if n_units is None else n_units) + spec.first_unit - 1
        raise UserError(
            f"events.unit: {spec.unit!r} has {bad.size} rows that are no unit (row {bad[0]} is "
            f"{units[bad[0]] + first}), expected {first} to {last}; check events.first_unit and units.count"
        )
    return top if n_units is None else n_units


def known_units(mapping: ArrayMapping, file: ArrayFile) -> int | None:
    """The number of units by the mapping's table of units; None when it does not tell."""
    if mapping.units.count is not None:
        return int(file.number(mapping.units.count, "units.count"))
    for where, key in (
        ("units.id", mapping.units.id),
        *((f"units.columns.{n}", k) for n, k in mapping.units.columns.items()),
    ):
        if key:
            return len(file.array(key, where))
    return None


# ------------------------------------------------------------------------------ spike times by unit


def _from_spike_times(spec: SpikeTimes, file: ArrayFile, notes: list[str]) -> Activity:
    where = "spike_times.key"
    if set("*?[") & set(spec.key):
        lists = file.matching(spec.key, where)
    elif spec.ends:
        ends = whole_numbers(file.numbers(spec.ends, "spike_times.ends"), f"spike_times.ends: {spec.ends!r}")
        flat = file.vector(spec.key, where)
        if (np.diff(ends, prepend=0) < 0).any() or (ends.size and ends[-1] != len(flat)):
            raise UserError(
                f"spike_times.ends: {spec.ends!r} ends at {ends[-1]} and {spec.key!r} has {len(flat)} rows, "
                "expected rising numbers up to that; give the row after each unit's last spike"
            )
        lists = np.split(flat, ends[:-1])
    else:
        value = file.read(spec.key, where)
        if isinstance(value, np.ndarray) and value.ndim == 2:
            lists = [row[~np.isnan(row)] for row in value.astype(np.float64)]
        elif isinstance(value, np.ndarray):
            raise UserError(
                f"{where}: {spec.key!r} has shape {value.shape}, expected (units, spikes) or a list; give "
                "spike_times.ends, or events.time and events.unit when a second array tells the unit"
            )
        else:
            lists = value
    times = [
        finite(np.asarray(part, dtype=np.float64) * spec.scale, f"{where}: unit {i}")
        for i, part in enumerate(lists)
    ]
    unsorted = sum(bool((np.diff(part) < 0).any()) for part in times)
    if unsorted:
        notes.append(f"spike times: not in order in {unsorted} units, sorted")
    units = np.repeat(np.arange(len(times)), [len(part) for part in times])
    return Activity(events=sort_events(np.concatenate([*times, []]), units, None), n_units=len(times))


# ------------------------------------------------------------------------------ counts in bins


def _from_counts(spec: BinCounts, file: ArrayFile) -> Activity:
    counts = file.array(spec.key, "counts.key")
    if (
        counts.ndim != len(spec.axes)
        or len(set(spec.axes)) < len(spec.axes)
        or not {"unit", "bin"} <= set(spec.axes)
    ):
        raise UserError(
            f"counts.axes: found {spec.axes} for {spec.key!r} of shape {counts.shape}; name each axis once"
        )
    counts = counts.transpose(
        [spec.axes.index(axis) for axis in ("trial", "unit", "bin") if axis in spec.axes]
    )
    counts = counts if "trial" in spec.axes else counts[None]  # (trials, N, bins)
    n_trials, n_units, n_bins = counts.shape
    if counts.size and not (
        np.isfinite(counts).all() and (counts >= 0).all() and (counts == np.rint(counts)).all()
    ):
        raise UserError(f"counts.key: {spec.key!r} holds numbers that are no counts, expected 0, 1, 2 …")
    with np.errstate(over="ignore"):
        most, total = float(counts.max(initial=0)), float(counts.sum(dtype=np.float64))
    if most > _MOST_PER_BIN or total > _MOST_EVENTS:
        raise UserError(
            f"counts.key: {spec.key!r} holds up to {most:.3g} events in a bin and {total:.3g} in all, expected at "
            f"most {_MOST_PER_BIN:.0e} and {_MOST_EVENTS:.0e}; check that these are counts and the file is whole"
        )
    if spec.bin is None:
        raise UserError("counts.bin: missing, expected the width of a bin in seconds or its key")
    width = file.number(spec.bin, "counts.bin")
    if not width > 0:
        raise UserError(f"counts.bin: found {width} s, expected more than 0")
    starts = _trial_starts(spec, file, n_trials, n_bins, width)
    trial, unit, bin_ = np.nonzero(counts)
    repeats = counts[trial, unit, bin_].astype(np.int64)
    # The k-th of c events stands at (k + 1/2) / c of its bin: inside it, and apart from the others.
    k = np.arange(repeats.sum()) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    within = (k + 0.5) / np.repeat(repeats, repeats)
    times = np.repeat(starts[trial], repeats) + (np.repeat(bin_, repeats) + within) * width
    trials = np.stack([starts, starts + n_bins * width], axis=1)
    return Activity(
        events=sort_events(times, np.repeat(unit, repeats), None),
        n_units=n_units,
        span=(float(trials[:, 0].min()), float(trials[:, 1].max())),
        trials=trials if "trial" in spec.axes else None,
    )


def _trial_starts(spec: BinCounts, file: ArrayFile, n_trials: int, n_bins: int, width: float) -> np.ndarray:
    """Begin of each trial (trials,), seconds."""
    if not spec.start:
        return np.arange(n_trials) * (n_bins * width + spec.gap)
    starts = finite(
        file.array(spec.start, "counts.start").astype(np.float64), f"counts.start: {spec.start!r}"
    )
    starts = starts.reshape(n_trials, -1) if starts.size % max(n_trials, 1) == 0 else starts
    if starts.ndim != 2 or starts.shape[1] not in (1, n_bins):
        raise UserError(
            f"counts.start: {spec.start!r} has shape {starts.shape}, expected ({n_trials},) or "
            f"({n_trials}, {n_bins})"
        )
    steps = np.diff(starts, axis=1)
    if steps.size and np.abs(steps - width).max() > 0.01 * width:
        raise UserError(
            f"counts.start: bins of {spec.start!r} are {steps.min():.6g} to {steps.max():.6g} s apart, but "
            f"counts.bin is {width:.6g} s; expected equal bins"
        )
    return starts[:, 0]


# ------------------------------------------------------------------------------ calcium traces


def _read_traces(
    spec: Traces, mapping: ArrayMapping, file: ArrayFile, notes: list[str]
) -> tuple[TimeSeries, Ticks]:
    values = file.array(spec.key, "traces.key")
    if values.ndim != 2 or sorted(spec.axes) != ["time", "unit"]:
        raise UserError(
            f"traces.key: {spec.key!r} has shape {values.shape} for axes {spec.axes}, expected time and unit"
        )
    values = values if spec.axes[0] == "time" else values.T  # (T, N)
    ticks = read_clock(mapping.clock, file, "clock", notes, len(values))
    values = np.ascontiguousarray(ticks.pick(values), dtype=np.float32)
    return TimeSeries(timestamps=ticks.times, values=values, kind="continuous", unit=spec.unit), ticks


def _from_traces(spec: Traces, mapping: ArrayMapping, file: ArrayFile, notes: list[str]) -> Activity:
    traces, ticks = _read_traces(spec, mapping, file, notes)
    return Activity(
        events=deconvolve(traces.values, ticks, spec.deconvolution, notes),
        n_units=traces.values.shape[1],
        span=(float(ticks.edges[0]), float(ticks.edges[-1])),
        stretches=ticks.stretches(),
        traces=traces,
    )
