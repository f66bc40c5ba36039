"""Neurodata Without Borders files, through pynwb."""

import contextlib
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from neuroformer.errors import UserError
from neuroformer.importers.activity import Activity
from neuroformer.importers.calcium import deconvolve
from neuroformer.importers.imported import Imported, crop, just_after, tidy_spans
from neuroformer.importers.naming import Identity, identify, tidy_name
from neuroformer.importers.nwb_options import NwbOptions
from neuroformer.importers.nwb_series import SeriesReader, sample_ticks
from neuroformer.importers.nwb_tables import (
    interval_tables,
    plain_columns,
    read_units,
    spans_of,
    state_series,
    subtract,
    unit_columns,
)
from neuroformer.session import SessionData, TimeSeries
from neuroformer.session.names import shortly

NOT_ACTIVITY = ("neuropil", "deconvolved", "spike", "background")


def import_nwb(path: str | Path, options: NwbOptions | None = None) -> Imported:
    """Read a recording from an NWB file.

    Spikes come from the table of units, or events from calcium traces; behaviour from the series in
    acquisition and processing, stimulus from the series among the stimuli, both in their physical unit;
    trials from the table of trials, other tables of intervals become states over time.

    Args:
        path: The file.
        options: Choices; the defaults where None.

    Returns:
        The session, and notes on what was mended or left out.

    Raises:
        UserError: pynwb is not installed, the file is broken, or it holds no activity.
    """
    path = Path(path)
    options = options or NwbOptions()
    pynwb = _pynwb()
    with warnings.catch_warnings(), contextlib.ExitStack() as stack:
        warnings.simplefilter("ignore")  # what pynwb thinks of files by older writers is not for the reader
        try:
            io = stack.enter_context(pynwb.NWBHDF5IO(str(path), mode="r", load_namespaces=True))
            file = io.read()
        except Exception as error:  # hdmf and h5py raise all kinds on broken files
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise UserError(
                f"no readable NWB file ({reason}); copy it anew, or check it with nwbinspector"
            ) from error
        return _read(path, file, options)


def _pynwb() -> Any:
    try:
        import pynwb
    except ImportError as error:
        raise UserError(
            "NWB files need the package pynwb; install it with pip install 'neuroformer[nwb]'"
        ) from error
    return pynwb


def _read(path: Path, file: Any, options: NwbOptions) -> Imported:
    notes: list[str] = []
    activity, columns = _activity(file, options, notes)
    tables = interval_tables(file, notes)
    trials = tables.pop(options.trials, {})
    if not trials and options.trials != "trials":
        raise UserError(
            f"nwb.trials: no table of intervals {options.trials!r}, expected one of "
            f"{', '.join(tables) or 'none'}"
        )
    invalid = spans_of(tables.pop("invalid_times", {}))
    start, stop = _span(activity, [trials, *tables.values()])
    reader = SeriesReader(options, notes)
    behavior = reader.behavior(file)
    stimulus = reader.stimulus(file)
    for name, table in tables.items():
        group = stimulus if "stim" in name.lower() or "presentation" in name.lower() else behavior
        series = state_series(name, table, start, stop, notes)
        if series is not None:
            group[tidy_name(name)] = series
    spans = np.array([[start, stop]]) if activity.stretches is None else activity.stretches
    intervals = tidy_spans(subtract(spans, invalid), start, stop)
    if not len(intervals):
        raise UserError(
            "invalid_times cover the whole recording, so that nothing is left; leave the file out"
        )
    data = SessionData(
        **asdict(_identity(path, file, options)),
        start=start,
        stop=stop,
        n_units=activity.n_units,
        events=crop(activity.events, start, stop, notes),
        units=columns,
        traces=activity.traces,
        behavior=behavior,
        stimulus=stimulus,
        trials=trials,
        intervals=intervals,
        source=f"NWB {path.name}",
    )
    return Imported(data=data, notes=tuple(dict.fromkeys(notes)))


def _identity(path: Path, file: Any, options: NwbOptions) -> Identity:
    subject = file.subject
    known = {
        "session_id": file.session_id or "",
        "subject_id": (subject.subject_id or "") if subject is not None else "",
        "species": (subject.species or "") if subject is not None else "",
        "description": file.session_description or "",
    }
    return identify(path, options.session, known)


def _activity(file: Any, options: NwbOptions, notes: list[str]) -> tuple[Activity, dict[str, np.ndarray]]:
    """The events and the columns of the table of units, from sorted units or calcium traces."""
    has_units = file.units is not None and "spike_times" in file.units.colnames
    traces = _trace_series(file)
    if options.events == "units" or (options.events == "auto" and has_units):
        if not has_units:
            raise UserError("nwb.events: the file has no units with spike times; try nwb.events=traces")
        if traces:
            notes.append("calcium traces left out beside sorted units; nwb.events=traces reads them instead")
        return read_units(file)
    if not traces:
        raise UserError(
            "the file has neither units with spike times nor calcium traces, so that there is no activity"
        )
    chosen = _choose(traces, options.traces, notes)
    return _from_traces(chosen, options, notes)


def _trace_series(file: Any) -> list[tuple[str, Any]]:
    """All RoiResponseSeries with the name of what contains them."""
    found = [o for o in file.objects.values() if type(o).__name__ == "RoiResponseSeries"]
    return [(series.parent.name if series.parent is not None else "", series) for series in found]


def _choose(traces: list[tuple[str, Any]], name: str, notes: list[str]) -> Any:
    names = [series.name for _, series in traces]
    if name:
        chosen = [series for _, series in traces if series.name == name]
        if not chosen:
            raise UserError(
                f"nwb.traces: no RoiResponseSeries {shortly(name)}, expected one of {', '.join(names)}"
            )
        return chosen[0]

    def rank(item: tuple[str, Any]) -> tuple[bool, bool]:
        container, series = item
        full = f"{container}/{series.name}".lower()
        return any(word in full for word in NOT_ACTIVITY), not ("dfoverf" in full or "dff" in full)

    series = min(traces, key=rank)[1]
    if len(traces) > 1:
        others = ", ".join(other for other in names if other != series.name) or "others of that name"
        notes.append(f"traces: read {series.name}, not {others}; nwb.traces=NAME chooses another")
    return series


def _from_traces(
    series: Any, options: NwbOptions, notes: list[str]
) -> tuple[Activity, dict[str, np.ndarray]]:
    values = np.asarray(series.data[()], dtype=np.float64)
    if values.ndim == 1:
        values = values[:, None]
    values = values * (series.conversion or 1.0) + (series.offset or 0.0)
    ticks = sample_ticks(series, len(values), notes)
    unit = series.unit if series.unit not in ("n.a.", "unknown") else ""
    traces = TimeSeries(
        timestamps=ticks.times, values=ticks.pick(values).astype(np.float32), kind="continuous", unit=unit
    )
    activity = Activity(
        events=deconvolve(traces.values, ticks, options.deconvolution, notes),
        n_units=values.shape[1],
        span=(float(ticks.edges[0]), float(ticks.edges[-1])),
        stretches=ticks.stretches(),
        traces=traces,
    )
    columns = {}
    if series.rois is not None and len(series.rois.data) == values.shape[1]:
        rows = np.asarray(series.rois.data[()], dtype=np.int64)
        columns = unit_columns(
            {name: column[rows] for name, column in plain_columns(series.rois.table).items()}
        )
    return activity, columns


def _span(activity: Activity, tables: list[dict[str, np.ndarray]]) -> tuple[float, float]:
    """The recorded stretch, seconds: that of the frames, or of spikes, trials and epochs together."""
    if activity.span is not None and activity.traces is not None:
        return activity.span
    starts = [float(table["start"].min()) for table in tables if table]
    stops = [float(table["stop"].max()) for table in tables if table]
    if activity.span is not None:
        starts.append(activity.span[0])
        stops.append(activity.span[1])
    if len(activity.events):
        starts.append(float(activity.events.times[0]))
        stops.append(just_after(float(activity.events.times[-1])))
    if not starts:
        raise UserError("the session is empty: no spike in any unit; leave the file out")
    stop = max(stops)
    last = float(activity.events.times[-1]) if len(activity.events) else -np.inf
    return min(starts), stop if stop > last else just_after(last)
