"""A session as named arrays and attributes: the one form on which the rules, the writer and the reader agree.

The arrays are NumPy arrays when the layout was made from a `SessionData` and unread HDF5 datasets when it was made from
a file, so that the same rules check both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import h5py
import numpy as np

from neuroformer.session import schema
from neuroformer.session.names import bad_name
from neuroformer.session.types import Fault, SessionData, TimeSeries

Array = np.ndarray | h5py.Dataset
ArrayKind = Literal["boolean", "integer", "float", "text", "other"]
BLOCK_BYTES = 8 * 1024 * 1024

# What h5py raises on damaged files, by where the damage is met.
READ_ERRORS = (OSError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, MemoryError)


class UnreadableError(OSError):
    """An array of the file cannot be read; `fault` tells which."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


def unreadable(path: str, error: Exception) -> Fault:
    """The fault of a damaged place in a file."""
    return Fault(path=path or "/", message=f"cannot be read ({error})", cure="convert the recording again")


@dataclass(kw_only=True)
class Layout:
    """Arrays by path (`behavior/speed/values`) and attributes by path of their group (`""` is the root)."""

    arrays: dict[str, Array] = field(default_factory=dict)
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)  # of what could not be laid out at all

    def children(self, group: str) -> list[str]:
        """Names right below `group`, whether arrays or groups."""
        prefix = f"{group}/" if group else ""
        paths = [*self.arrays, *self.attributes]
        return sorted({p[len(prefix) :].split("/")[0] for p in paths if p.startswith(prefix) and p != group} - {""})

    @classmethod
    def from_data(cls, data: SessionData) -> Layout:
        """The layout of a session in memory, cast to the file's dtypes where no value changes its meaning."""
        layout = cls()
        arrays = layout.arrays
        layout.attributes[""] = {name: attribute(getattr(data, name)) for name in schema.ROOT_ATTRIBUTES}
        arrays[schema.TIMES] = data.events.times
        arrays[schema.UNITS] = data.events.units
        if data.events.amplitudes is not None:
            arrays[schema.AMPLITUDES] = data.events.amplitudes
        layout._add_columns("units", data.units)
        layout._add_columns("trials", data.trials)
        arrays[schema.INTERVALS] = data.intervals
        if data.traces is not None:
            layout._add_series("traces", data.traces)
        for group in schema.SERIES_GROUPS:
            for name, series in getattr(data, group).items():
                if layout._named(group, name):
                    layout._add_series(f"{group}/{name}", series)
        if data.truth is not None:
            truth = data.truth
            layout.attributes["truth"] = {
                name: attribute(getattr(truth, name)) for name in schema.TRUTH_ATTRIBUTES
            }
            for name in ("weights", "delays", "log_likelihood", "block_starts"):
                arrays[f"truth/{name}"] = getattr(truth, name)
            layout._add_columns("truth/extra", truth.extra)
        layout.arrays = {path: _cast(plain(values), _dtype(path)) for path, values in arrays.items()}
        return layout

    @classmethod
    def from_file(cls, file: h5py.File) -> Layout:
        """The layout of an open file; nothing but names, shapes and attributes is read."""
        layout = cls()
        layout._walk(file, "", depth=3)
        return layout

    def _named(self, group: str, name: object) -> bool:
        """Whether `name` may be used; a fault is noted when not."""
        if reason := bad_name(name):
            self.faults.append(Fault(path=group, message=f"name {name!r} {reason}", cure="rename it"))
        return reason is None

    def _add_columns(self, group: str, columns: Mapping[str, np.ndarray]) -> None:
        for name, values in columns.items():
            if self._named(group, name):
                self.attributes.setdefault(group, {})
                self.arrays[f"{group}/{name}"] = values

    def _add_series(self, group: str, series: TimeSeries) -> None:
        period = {} if series.period is None else {"period": attribute(series.period)}
        self.attributes[group] = {"kind": series.kind, "unit": series.unit, **period}
        self.arrays[f"{group}/timestamps"] = series.timestamps
        self.arrays[f"{group}/values"] = series.values
        if series.labels:
            self.arrays[f"{group}/labels"] = np.asarray(series.labels)

    def _walk(self, group: h5py.Group, path: str, depth: int) -> None:
        """Take in a group and what is below it, `depth` levels down."""
        try:
            self.attributes[path] = {name: attribute(value) for name, value in group.attrs.items()}
            names = list(group)
        except READ_ERRORS as error:
            self.faults.append(unreadable(path, error))
            return
        for name in names:
            child = f"{path}/{name}" if path else name
            if not self._named(path, name):
                continue
            try:
                node = group[name]
            except READ_ERRORS as error:
                self.faults.append(unreadable(child, error))
                continue
            if isinstance(node, h5py.Dataset):
                self.arrays[child] = node
            elif isinstance(node, h5py.Group) and depth:
                self._walk(node, child, depth - 1)
            else:
                self.faults.append(Fault(path=child, message="has no place in a session file", cure="remove it"))


def attribute(value: Any) -> Any:
    """A stored attribute as a plain Python value; fixed-length text, as MATLAB writes it, becomes `str`."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if isinstance(value, bytes):
        return value.decode("utf-8")
    return value.item() if isinstance(value, np.generic) else value


def kind_of(array: Array) -> ArrayKind:
    """What an array holds; "other" is anything that a session file has no place for."""
    if isinstance(array, h5py.Dataset):
        try:
            dtype = array.dtype
        except (TypeError, ValueError):  # a type that NumPy has no word for
            return "other"
        if h5py.check_string_dtype(dtype) is not None:
            return "text"
    else:
        dtype = array.dtype
    if dtype.kind == "f" and dtype.itemsize > 8:
        return "other"
    kinds: dict[str, ArrayKind] = {"b": "boolean", "i": "integer", "u": "integer", "f": "float", "U": "text"}
    return kinds.get(dtype.kind, "other")


def read(array: Array, rows: slice | tuple[()] = ()) -> np.ndarray:
    """Rows of an array (all by default) as a native NumPy array; text as NumPy `str`.

    Raises:
        UnreadableError: when the file is damaged there.
    """
    if isinstance(array, np.ndarray):
        return array[rows]
    try:
        if kind_of(array) == "text":
            return np.asarray(array.asstr()[rows]).astype(np.str_)
        values = np.asarray(array[rows])
        return values.astype(values.dtype.newbyteorder("="), copy=False)
    except READ_ERRORS as error:
        raise UnreadableError(unreadable(str(array.name).lstrip("/"), error)) from error


def blocks(array: Array) -> Iterator[tuple[int, np.ndarray]]:
    """The array in blocks of rows of a few MB: (first row, values)."""
    row_bytes = array.dtype.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))
    step = max(1, BLOCK_BYTES // max(row_bytes, 1))
    for first in range(0, array.shape[0], step):
        yield first, read(array, slice(first, first + step))


def plain(values: Any) -> np.ndarray:
    """Anything array-like as a native NumPy array; sequences of text become NumPy `str`."""
    try:
        array = np.asarray(values)
    except ValueError:  # ragged
        return np.array(None)
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8")
    if array.dtype.kind == "T" or (array.dtype.kind == "O" and all(isinstance(v, str) for v in array.flat)):
        return array.astype(np.str_)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _dtype(path: str) -> np.dtype | None:
    return schema.TIMESTAMPS_DTYPE if schema.is_timestamps(path) else schema.DTYPES.get(path)


def _cast(array: np.ndarray, dtype: np.dtype | None) -> np.ndarray:
    """`array` in `dtype`, or as it is, for the rules to name, when that would change what it says."""
    if dtype is None or not np.can_cast(array.dtype, dtype, "same_kind"):
        return array
    if dtype.kind == "i" and array.size:
        limits = np.iinfo(dtype)
        if array.min() < limits.min or array.max() > limits.max:
            return array
    with np.errstate(over="ignore"):  # an overflow becomes infinite, which the rules report
        return array.astype(dtype, copy=False)
