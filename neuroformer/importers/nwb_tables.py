"""Tables of an NWB file: units, trials and other intervals."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from neuroformer.errors import UserError
from neuroformer.importers.activity import Activity, sort_events
from neuroformer.importers.array_file import finite
from neuroformer.importers.naming import tidy_name
from neuroformer.session import TimeSeries

REGION_NAMES = ("region", "location", "brain_area", "brain_region", "area")
TEXT_COLUMNS = ("region", "cell_type", "label")
NONE = "none"  # state outside of all intervals


def read_units(file: Any) -> tuple[Activity, dict[str, np.ndarray]]:
    """Spikes and columns of the table of units.

    Returns:
        The activity, with the stretches in which every unit was observed when the table tells them; and the
        columns.
    """
    table = file.units
    index = table["spike_times"]
    ends = np.asarray(index.data[()], dtype=np.int64)
    times = finite(np.asarray(index.target.data[()], dtype=np.float64), "units/spike_times")
    n_units = len(table.id)
    units = np.repeat(np.arange(n_units), np.diff(ends, prepend=0))
    observed = _observed(table)
    columns = unit_columns(plain_columns(table) | _electrode_columns(file))
    return Activity(
        events=sort_events(times[: len(units)], units, None),
        n_units=n_units,
        span=None if observed is None else (float(observed[0, 0]), float(observed[-1, 1])),
        stretches=observed,
    ), columns


def _observed(table: Any) -> np.ndarray | None:
    """The stretches (K, 2), seconds, in which all units were observed; None when the table does not tell."""
    if "obs_intervals" not in table.colnames:
        return None
    index = table["obs_intervals"]
    ends = np.asarray(index.data[()], dtype=np.int64)
    rows = finite(np.asarray(index.target.data[()], dtype=np.float64), "units/obs_intervals").reshape(-1, 2)
    lists = [part for part in np.split(rows, ends[:-1]) if len(part)]  # a unit without any says nothing
    if not lists:
        return None
    common = lists[0][np.argsort(lists[0][:, 0])]
    for part in lists[1:]:
        gaps = _complement(part)
        common = subtract(common, gaps)
    if not len(common):
        raise UserError(
            "units/obs_intervals: no time at which all units were observed; split the file by units"
        )
    return common


def _complement(spans: np.ndarray) -> np.ndarray:
    """The stretches between and around `spans` (K, 2), seconds."""
    spans = spans[np.argsort(spans[:, 0])]
    reach = np.maximum.accumulate(spans[:, 1])
    return np.stack([np.r_[-np.inf, reach], np.r_[spans[:, 0], np.inf]], axis=1)


def subtract(spans: np.ndarray, holes: np.ndarray) -> np.ndarray:
    """`spans` (K, 2), seconds, without what lies in `holes` (H, 2)."""
    for low, high in holes[holes[:, 1] > holes[:, 0]]:
        before = np.stack([spans[:, 0], np.minimum(spans[:, 1], low)], axis=1)
        after = np.stack([np.maximum(spans[:, 0], high), spans[:, 1]], axis=1)
        parts = np.concatenate([before, after])
        parts = parts[parts[:, 1] > parts[:, 0]]
        spans = np.unique(parts, axis=0)
    return spans


def plain_columns(table: Any) -> dict[str, np.ndarray]:
    """The columns with one number or text per row, by name, and `id`; groups of electrodes by their name."""
    columns = {"id": np.asarray(table.id.data[()], dtype=np.int64)}
    n_rows = len(columns["id"])
    for name in table.colnames:
        column = table[name]
        if type(column).__name__ not in ("VectorData", "EnumData", "ElementIdentifiers"):
            continue  # ragged, or a reference to rows of another table
        values = np.asarray(column.data[()] if hasattr(column.data, "shape") else column.data, dtype=object)
        if values.shape != (n_rows,):
            continue
        words = [getattr(value, "name", value) for value in values.tolist()]
        array = np.array([w.decode() if isinstance(w, bytes) else w for w in words])
        if array.dtype.kind in "biufU" and array.shape == (n_rows,):
            columns[tidy_name(name)] = array
    return columns


def _electrode_columns(file: Any) -> dict[str, np.ndarray]:
    """Where each unit was recorded, by its first electrode."""
    table = file.units
    if "electrodes" not in table.colnames or file.electrodes is None:
        return {}
    index = table["electrodes"]
    ends = np.asarray(index.data[()], dtype=np.int64)
    first = np.r_[0, ends[:-1]]
    rows = np.asarray(index.target.data[()], dtype=np.int64)
    if (ends == first).any() or not len(ends):
        return {}  # a unit without electrode
    rows = rows[first]
    electrodes = plain_columns(file.electrodes)
    columns = {}
    if "location" in electrodes:
        columns["region"] = electrodes["location"][rows]
    xyz = [electrodes[axis][rows] for axis in "xyz" if axis in electrodes]
    if len(xyz) >= 2 and all(a.dtype.kind in "iuf" for a in xyz):
        position = np.stack(xyz, axis=1).astype(np.float64)
        if np.isfinite(position).all() and (position != 0).any():
            columns["position"] = position
    return columns


def unit_columns(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Columns under the names and in the types that a session file fixes, without those of empty text."""
    found = dict(columns)
    if "region" not in found:
        name = next((name for name in REGION_NAMES if name in found), None)
        if name is not None:
            found["region"] = found.pop(name)
    for name in TEXT_COLUMNS:
        if name in found:
            found[name] = found[name].astype(np.str_)
    if "global_id" in found and found["global_id"].dtype.kind not in "iu":
        found["global_id_text"] = found.pop("global_id").astype(np.str_)
    if "position" in found and found["position"].ndim != 2:
        found["position_1d"] = found.pop("position")
    return {name: c for name, c in found.items() if not (c.dtype.kind == "U" and (c == "").all())}


def interval_tables(file: Any, notes: list[str]) -> dict[str, dict[str, np.ndarray]]:
    """Every table of intervals of a file by its name, wherever it stands."""
    places = [
        file.intervals or {},
        file.stimulus,
        *(module.data_interfaces for module in file.processing.values()),
    ]
    tables = [table for place in places for table in place.values()]
    tables = [table for table in tables if {"start_time", "stop_time"} <= set(getattr(table, "colnames", ()))]
    return {table.name: interval_table(table, notes) for table in tables}


def interval_table(table: Any, notes: list[str]) -> dict[str, np.ndarray]:
    """A table of intervals: `start` and `stop` in seconds and its plain columns, in order of start.

    Rows without an end are left out; lists of text (tags) are joined by "+".
    """
    columns = plain_columns(table)
    columns.pop("id")
    start, stop = columns.pop("start_time").astype(np.float64), columns.pop("stop_time").astype(np.float64)
    if "tags" in table.colnames and len(start):
        columns["tags"] = np.array(["+".join(map(str, tags)) for tags in table["tags"][:]])
    whole = np.isfinite(start) & np.isfinite(stop)
    if not whole.all():
        notes.append(f"{table.name}: {np.count_nonzero(~whole)} rows without start or stop, left out")
    backward = np.flatnonzero(stop < start)
    if backward.size:
        row = backward[0]
        raise UserError(
            f"{table.name}: {backward.size} rows of negative duration (row {row}: {start[row]:g} to "
            f"{stop[row]:g} s); correct the file"
        )
    order = np.flatnonzero(whole)[np.argsort(start[whole], kind="stable")]
    if not order.size:
        return {}
    columns = {"start": start, "stop": stop} | {
        n: c for n, c in columns.items() if n not in ("start", "stop")
    }
    return {name: column[order] for name, column in columns.items()}


def spans_of(table: Mapping[str, np.ndarray]) -> np.ndarray:
    """Start and stop of a table of intervals: (K, 2) seconds."""
    return np.stack([table["start"], table["stop"]], axis=1) if table else np.empty((0, 2))


def state_series(
    name: str, table: Mapping[str, np.ndarray], start: float, stop: float, notes: list[str]
) -> TimeSeries | None:
    """Intervals as a state over time: the name of the interval that lasts, "none" outside of all.

    Args:
        name: Name of the table; it names the state when the table has no column of text.
        table: Columns of the table.
        start: Begin of the recording, seconds.
        stop: End of the recording, seconds.
        notes: Takes it when intervals overlap, so that there is no one state.

    Returns:
        A categorical series with a sample at each change, or None when the state never changes.
    """
    if not table:
        return None
    first, last = table["start"], table["stop"]
    if (first[1:] < last[:-1]).any():
        notes.append(f"{name}: intervals overlap, left out; nwb.trials={name} reads the table as trials")
        return None
    texts = [column for key, column in table.items() if column.dtype.kind == "U"]
    words = table["tags"] if "tags" in table else texts[0] if texts else np.full(len(first), name)
    labels = (NONE, *dict.fromkeys(word for word in words.tolist() if word != NONE))
    code = {label: i for i, label in enumerate(labels)}
    changes = {float(start): 0} | {float(t): 0 for t in last}  # a start at another's stop wins
    changes |= {float(t): code[word] for t, word in zip(first, words.tolist(), strict=True)}
    times = np.array(sorted(t for t in changes if start <= t < stop))
    values = np.array([changes[t] for t in times], dtype=np.int16)
    if len(np.unique(values)) < 2:
        return None
    return TimeSeries(timestamps=times, values=values, kind="categorical", labels=labels)
