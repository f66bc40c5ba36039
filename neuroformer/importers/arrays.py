"""A recording kept as plain arrays (.npz, .mat, .h5), read as a mapping file says."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from neuroformer.errors import UserError
from neuroformer.importers.activity import Activity, known_units, read_activity
from neuroformer.importers.array_file import ArrayFile, finite
from neuroformer.importers.clocks import read_clock
from neuroformer.importers.imported import Imported, crop, just_after, tidy_spans
from neuroformer.importers.mapping import ArrayMapping, Comparison, Series, Trials
from neuroformer.importers.naming import identify, tidy_name
from neuroformer.importers.series import blank_all, read_series
from neuroformer.session import SessionData, TimeSeries

TEXT_COLUMNS = ("region", "cell_type", "label")


def import_arrays(path: str | Path, mapping: ArrayMapping) -> Imported:
    """Read a recording from a file of arrays.

    Args:
        path: The file: .npz, .mat or .h5.
        mapping: What its arrays are.

    Returns:
        The session, and notes on what was mended or left out.

    Raises:
        UserError: The file is broken, or does not hold what the mapping says.
    """
    path = Path(path)
    notes: list[str] = []
    with ArrayFile(path) as file:
        identity = identify(path, mapping.session)
        activity = read_activity(mapping, file, notes)
        n_units = known_units(mapping, file) or activity.n_units
        if n_units < activity.n_units:
            raise UserError(
                f"units: the mapping tells {n_units} units, but the activity has {activity.n_units}"
            )
        trials = _trials(mapping, activity, file, notes)
        starts = trials.get("start")
        start, stop = _span(mapping, activity, trials, file)
        events = crop(activity.events, start, stop, notes)
        data = SessionData(
            **asdict(identity),
            start=start,
            stop=stop,
            n_units=n_units,
            events=events,
            units=_unit_columns(mapping, activity, n_units, file),
            traces=activity.traces,
            behavior=_group("behavior", mapping.behavior, mapping, starts, file, notes),
            stimulus=_group("stimulus", mapping.stimulus, mapping, starts, file, notes),
            trials=trials,
            intervals=_intervals(mapping, activity, trials, start, stop, file),
            source=f"arrays of {path.name}",
        )
    _blank_misaligned(data, mapping, notes)
    return Imported(data=data, notes=tuple(dict.fromkeys(notes)))


def _group(
    group: str,
    specs: Mapping[str, Series],
    mapping: ArrayMapping,
    trial_starts: np.ndarray | None,
    file: ArrayFile,
    notes: list[str],
) -> dict[str, TimeSeries]:
    found = {}
    for name, spec in specs.items():
        series = read_series(spec, f"{group}.{name}", mapping.clock, trial_starts, file, notes)
        if series is not None:
            found[tidy_name(name)] = series
    return found


def _unit_columns(
    mapping: ArrayMapping, activity: Activity, n_units: int, file: ArrayFile
) -> dict[str, np.ndarray]:
    columns = {name: file.array(key, f"units.columns.{name}") for name, key in mapping.units.columns.items()}
    columns = {name: _flat(column) for name, column in columns.items()}
    if activity.ids is not None:
        columns["id"] = activity.ids
    elif mapping.units.id:
        columns["id"] = file.vector(mapping.units.id, "units.id")
        if columns["id"].dtype.kind == "f" and (columns["id"] == np.rint(columns["id"])).all():
            columns["id"] = columns["id"].astype(np.int64)  # MATLAB keeps whole numbers as floats
    for name, column in columns.items():
        where = "units.id" if name == "id" else f"units.columns.{name}"
        if column.shape[:1] != (n_units,):
            raise UserError(f"{where}: has {column.shape[0]} rows for {n_units} units, expected one a unit")
        if name in TEXT_COLUMNS and column.dtype.kind != "U":
            columns[name] = column.astype(np.str_)
    return columns


def _flat(column: np.ndarray) -> np.ndarray:
    """MATLAB's (n, 1) and (1, n) as (n,)."""
    return column.reshape(-1) if sum(size != 1 for size in column.shape) <= 1 else column


def _trials(
    mapping: ArrayMapping, activity: Activity, file: ArrayFile, notes: list[str]
) -> dict[str, np.ndarray]:
    spec = mapping.trials
    table: dict[str, np.ndarray] = {}
    if spec.label:
        table = _labelled_trials(spec, mapping, file, notes)
    elif spec.start:
        start = file.times(spec.start, "trials.start", spec.scale)
        if bool(spec.stop) == (spec.duration is not None):
            raise UserError("trials: expected either trials.stop or trials.duration beside trials.start")
        if spec.duration is not None:
            stop = start + file.number(spec.duration, "trials.duration") * spec.scale
        else:
            stop = file.times(spec.stop, "trials.stop", spec.scale)
        table = {"start": start, "stop": stop}
    elif activity.trials is not None:
        table = {"start": activity.trials[:, 0], "stop": activity.trials[:, 1]}
    elif spec.columns or spec.compare:
        where = "columns" if spec.columns else "compare"
        raise UserError(f"trials.{where}: there are no trials; say where with trials.start or trials.label")
    for name, key in spec.columns.items():
        table[name] = _flat(file.array(key, f"trials.columns.{name}"))
    for name, comparison in spec.compare.items():
        if name in spec.columns:
            raise UserError(
                f"trials.compare.{name}: trials.columns has {name!r} too; give one of them another name"
            )
        table[name] = _largest(comparison, file, f"trials.compare.{name}")
    for name, column in table.items():
        if len(column) != len(table["start"]):
            part = "compare." if name in spec.compare else "" if name == "stop" else "columns."
            where = f"trials.{part}{name}"
            raise UserError(
                f"{where}: has {len(column)} rows for {len(table['start'])} trials, expected one a trial"
            )
    _check_durations("trials", table)
    return table


def _largest(spec: Comparison, file: ArrayFile, where: str) -> np.ndarray:
    """(trials,) label of the largest of several columns; empty where two are equally large or one is missing."""
    if len(spec.keys) < 2 or len(spec.labels) != len(spec.keys):
        raise UserError(
            f"{where}: found {len(spec.keys)} keys and {len(spec.labels)} labels, expected two keys or more and a "
            "label for each"
        )
    columns = [_flat(file.array(key, f"{where}.keys")) for key in spec.keys]
    for key, column in zip(spec.keys, columns, strict=True):
        if column.dtype.kind not in "biuf" or column.shape != columns[0].shape or column.ndim != 1:
            raise UserError(
                f"{where}.keys: {key!r} has shape {column.shape} and type {column.dtype}, expected a number per trial, "
                f"as many as {spec.keys[0]!r} has"
            )
    values = np.stack([column.astype(float) for column in columns], 1)
    known = np.isfinite(values).all(1)
    ranked = np.sort(np.where(known[:, None], values, 0.0), axis=1)
    clear = known & (ranked[:, -1] > ranked[:, -2])
    found: np.ndarray = np.where(
        clear, np.array(spec.labels)[np.where(known[:, None], values, 0.0).argmax(1)], ""
    )
    return found


def _check_durations(where: str, table: Mapping[str, np.ndarray]) -> None:
    backward = np.flatnonzero(table["stop"] <= table["start"]) if table else np.empty(0)
    if backward.size:
        row = backward[0]
        raise UserError(
            f"{where}: {backward.size} of negative or no duration (row {row}: {table['start'][row]:g} to "
            f"{table['stop'][row]:g} s); correct start and stop, or remove these rows"
        )


def _labelled_trials(
    spec: Trials, mapping: ArrayMapping, file: ArrayFile, notes: list[str]
) -> dict[str, np.ndarray]:
    """Trials from the trial of each sample: each run of one value."""
    labels = file.vector(spec.label, "trials.label")
    ticks = read_clock(mapping.clock, file, "clock", notes, len(labels))
    labels = ticks.pick(labels)
    first = np.flatnonzero(np.r_[True, labels[1:] != labels[:-1]])
    last = np.r_[first[1:], len(labels)]
    numeric = labels.dtype.kind != "U"
    kept = (
        ~np.isin(labels[first], spec.between) & np.isfinite(labels[first]) if numeric else labels[first] != ""
    )
    return {
        "start": ticks.edges[first[kept]],
        "stop": ticks.edges[last[kept]],
        "label": labels[first[kept]],
    }


def _span(
    mapping: ArrayMapping, activity: Activity, trials: Mapping[str, np.ndarray], file: ArrayFile
) -> tuple[float, float]:
    """The recorded stretch: as given, else that of the source of events, else events and trials together."""
    if activity.span is not None:
        start, stop = activity.span
    elif len(activity.events) == 0:
        raise UserError("the session is empty: no events; expected at least one, leave the file out")
    else:
        times = activity.events.times
        start, stop = float(times[0]), just_after(float(times[-1]))
        if trials:
            start, stop = min(start, float(trials["start"].min())), max(stop, float(trials["stop"].max()))
    if mapping.span.start is not None:
        start = file.number(mapping.span.start, "span.start")
    if mapping.span.stop is not None:
        stop = file.number(mapping.span.stop, "span.stop")
    if not stop > start:
        raise UserError(f"span: ends at {stop:g} s and begins at {start:g} s, expected a positive duration")
    return start, stop


def _intervals(
    mapping: ArrayMapping,
    activity: Activity,
    trials: Mapping[str, np.ndarray],
    start: float,
    stop: float,
    file: ArrayFile,
) -> np.ndarray:
    """The valid stretches (K, 2), seconds, sorted and within the span."""
    if mapping.intervals == "trials" or (not mapping.intervals and activity.trials is not None):
        if not trials:
            raise UserError(
                "intervals: are to be the trials, but there are none; say where with trials.start"
            )
        spans = np.stack([trials["start"], trials["stop"]], axis=1)
    elif mapping.intervals == "recording" or (not mapping.intervals and activity.stretches is None):
        spans = np.array([[start, stop]])
    elif not mapping.intervals:
        assert activity.stretches is not None
        spans = activity.stretches
    else:
        spans = file.array(mapping.intervals, "intervals").astype(np.float64)
        if spans.ndim != 2 or spans.shape[1] != 2:
            raise UserError(
                f"intervals: {mapping.intervals!r} has shape {spans.shape}, expected (stretches, 2)"
            )
        finite(spans, f"intervals: {mapping.intervals!r}")
        _check_durations("intervals", {"start": spans[:, 0], "stop": spans[:, 1]})
    return tidy_spans(spans, start, stop)


def _blank_misaligned(data: SessionData, mapping: ArrayMapping, notes: list[str]) -> None:
    """Make stimulus and behaviour missing in the trials that the mapping calls misaligned."""
    trials = mapping.misaligned.get(data.session_id)
    if not trials:
        return
    if not data.trials:
        raise UserError("misaligned: names trials, but there are none; say where with trials.start")
    names = data.trials.get("label", np.arange(len(data.trials["start"])))
    unknown = sorted(set(trials) - set(names.tolist()))
    if unknown:
        raise UserError(
            f"misaligned.{data.session_id}: no trial {unknown[0]}, expected some of {names.tolist()}"
        )
    chosen = np.isin(names, trials)
    spans = np.stack([data.trials["start"], data.trials["stop"]], axis=1)[chosen]
    data.behavior = blank_all(data.behavior, spans)
    data.stimulus = blank_all(data.stimulus, spans)
    listed = ", ".join(map(str, trials))
    notes.append(
        f"trial {listed}: stimulus and behaviour made missing, they do not line up with the activity"
    )
