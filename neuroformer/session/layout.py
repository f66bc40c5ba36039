"""A session as named arrays and attributes: the form on which rules, writer and reader agree.

The arrays are NumPy arrays when the layout was made from a `SessionData`, and HDF5 datasets that are not yet
read when it was made from a file, so that the same rules check both.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import h5py
import numpy as np

from neuroformer.session import schema
from neuroformer.session.names import bad_name, shortly
from neuroformer.session.types import Fault, SessionData, TimeSeries

Array: TypeAlias = "np.ndarray | h5py.Dataset"
ArrayKind = Literal["boolean", "integer", "float", "text", "other"]

BLOCK_BYTES = 2 * 1024 * 1024
DEPTH = 3  # of groups, as in truth/extra/NAME
RECONVERT = "convert the recording again"

# What h5py raises on damaged files, by where the damage is met.
READ_ERRORS = (OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, MemoryError)


class UnreadableError(OSError):
    """An array of a file cannot be read; `fault` says which."""

    def __init__(self, path: str, error: Exception) -> None:
        self.fault = unreadable(path, error)
        super().__init__(str(self.fault))


def unreadable(path: str, error: Exception) -> Fault:
    """The fault of a damaged place in a file."""
    return Fault(path or "/", f"cannot be read ({why(error)})", RECONVERT)


def why(error: Exception) -> str:
    """What a library says of damage, in one line."""
    if isinstance(error, UnicodeDecodeError):
        return f"text that is not UTF-8: {error.object[:20]!r}"
    return " ".join(str(error).split())


@dataclass(kw_only=True)
class Layout:
    """Arrays by path (`behavior/speed/values`), attributes by path of their group (empty for the root)."""

    arrays: dict[str, Array] = field(default_factory=dict)
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)  # of what could not be laid out

    def children(self, group: str) -> list[str]:
        """Names right below `group`, of arrays and groups."""
        below = (
            path.removeprefix(f"{group}/")
            for path in (*self.arrays, *self.attributes)
            if path.startswith(f"{group}/")
        )
        return sorted({path.split("/")[0] for path in below})

    @classmethod
    def from_data(cls, data: SessionData) -> "Layout":
        """Lay out a session in memory, cast to the dtypes of the file where no value changes its meaning."""
        layout = cls()
        layout._add_attributes("", data, schema.ROOT_ATTRIBUTES)
        layout.arrays |= {schema.TIMES: data.events.times, schema.UNITS: data.events.units}
        if data.events.amplitudes is not None:
            layout.arrays[schema.AMPLITUDES] = data.events.amplitudes
        layout.arrays[schema.INTERVALS] = data.intervals
        layout._add_columns("units", data.units)
        layout._add_columns("trials", data.trials)
        if data.traces is not None:
            layout._add_series("traces", data.traces)
        for group, series in (("stimulus", data.stimulus), ("behavior", data.behavior)):
            for name, one in series.items():
                if layout._accepts(group, name):
                    layout._add_series(f"{group}/{name}", one)
        if data.truth is not None:
            layout._add_attributes("truth", data.truth, schema.TRUTH_ATTRIBUTES)
            layout.arrays |= {f"truth/{name}": getattr(data.truth, name) for name in schema.TRUTH_ARRAYS}
            layout._add_columns("truth/extra", data.truth.extra)
        layout.arrays = {path: _cast(plain(a), schema.dtype_of(path)) for path, a in layout.arrays.items()}
        return layout

    @classmethod
    def from_file(cls, file: h5py.File) -> "Layout":
        """Lay out an open file; only names, shapes and attributes are read."""
        layout = cls()
        layout._walk(file, "", DEPTH)
        return layout

    def _add_attributes(self, group: str, owner: object, kinds: Mapping[str, type]) -> None:
        self.attributes[group] = {name: scalar(getattr(owner, name), kind) for name, kind in kinds.items()}

    def _add_columns(self, group: str, columns: Mapping[str, np.ndarray]) -> None:
        self.arrays |= {f"{group}/{name}": a for name, a in columns.items() if self._accepts(group, name)}

    def _add_series(self, group: str, series: TimeSeries) -> None:
        self.attributes[group] = {"kind": series.kind, "unit": series.unit}
        if series.period is not None:
            self.attributes[group]["period"] = scalar(series.period, float)
        self.arrays |= {f"{group}/timestamps": series.timestamps, f"{group}/values": series.values}
        if series.labels:
            self.arrays[f"{group}/labels"] = np.asarray(series.labels)

    def _accepts(self, group: str, name: object) -> bool:
        """Whether `name` can be used in a file; a fault is noted when not."""
        if reason := bad_name(name):
            self.faults.append(Fault(group or "/", f"name {shortly(name)} {reason}", "rename it"))
        return reason is None

    def _walk(self, group: h5py.Group, path: str, depth: int) -> None:
        """Take in a group and what is below it, `depth` levels down (links may go round in a circle)."""
        try:
            self.attributes[path] = {name: scalar(value) for name, value in group.attrs.items()}
            names = list(group)
        except READ_ERRORS as error:
            self.faults.append(unreadable(path, error))
            return
        for name in names:
            if not self._accepts(path, name):
                continue
            child = f"{path}/{name}".lstrip("/")
            try:
                node = None if is_elsewhere(group, name) else group[name]
            except READ_ERRORS as error:
                self.faults.append(unreadable(child, error))
                continue
            if node is None:
                self.faults.append(Fault(child, "lies in another file", "store it in this one"))
            elif isinstance(node, h5py.Dataset):
                self.arrays[child] = node
            elif isinstance(node, h5py.Group) and depth > 0:
                self._walk(node, child, depth - 1)
            else:
                self.faults.append(Fault(child, "has no place in a session file", "remove it"))


def is_elsewhere(group: h5py.Group, name: str) -> bool:
    """Whether what a group has under `name` lies in another file, which may change, stay behind or be anything."""
    if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
        return True
    node = group[name]
    return isinstance(node, h5py.Dataset) and bool(node.is_virtual or node.external)


def scalar(value: Any, kind: type | None = None) -> Any:
    """An attribute as a plain Python value; a whole number becomes a float where `kind` says so.

    Text of fixed length, as other HDF5 libraries write it, becomes `str`.
    """
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, np.generic):
        value = value.item()
    return float(value) if kind is float and type(value) is int else value


def kind_of(array: Array) -> ArrayKind:
    """What an array holds; "other" is what a session file has no place for."""
    try:
        dtype = array.dtype
    except (TypeError, ValueError):  # an HDF5 type that NumPy has no word for
        return "other"
    if isinstance(array, h5py.Dataset) and h5py.check_string_dtype(dtype) is not None:
        return "text"
    if dtype.kind == "f" and dtype.itemsize > 8:
        return "other"
    kinds: dict[str, ArrayKind] = {"b": "boolean", "i": "integer", "u": "integer", "f": "float", "U": "text"}
    return kinds.get(dtype.kind, "other")


def read(array: Array, rows: slice | tuple[()] = ()) -> np.ndarray:
    """Rows of an array, all by default, in native byte order; text as NumPy `str`.

    Raises:
        UnreadableError: when the file is damaged there.
    """
    if isinstance(array, np.ndarray):
        return array[rows]
    try:
        if kind_of(array) == "text":
            return np.asarray(array.asstr("utf-8")[rows]).astype(np.str_)
        return native(np.asarray(array[rows]))
    except READ_ERRORS as error:
        raise UnreadableError(str(array.name).lstrip("/"), error) from error


def blocks(array: Array) -> Iterator[tuple[int, np.ndarray]]:
    """The array by blocks of rows of about 2 MB: first row and values."""
    row_bytes = array.dtype.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))
    n_rows = max(1, BLOCK_BYTES // max(row_bytes, 1))
    for first in range(0, array.shape[0], n_rows):
        yield first, read(array, slice(first, first + n_rows))


def native(array: np.ndarray) -> np.ndarray:
    """The array in this machine's byte order."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def plain(values: Any) -> np.ndarray:
    """Anything like an array as a NumPy array of plain numbers or `str`, where it is one."""
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        return np.array(None)
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8")
    if array.dtype.kind in "OT" and all(isinstance(value, str) for value in array.flat):
        return array.astype(np.str_)
    return native(array)


def _cast(array: np.ndarray, dtype: np.dtype | None) -> np.ndarray:
    """The array in `dtype`, or as it is when that would change what it says, for the rules to name."""
    if dtype is None or not np.can_cast(array.dtype, dtype, "same_kind"):
        return array
    if dtype.kind == "i" and array.size:
        limits = np.iinfo(dtype)
        if array.min() < limits.min or array.max() > limits.max:
            return array
    with np.errstate(over="ignore"):  # an overflow becomes infinite, which the rules name
        return array.astype(dtype, copy=False)
