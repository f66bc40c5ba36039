"""Look through arrays of any size, in memory or in a file, for what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import h5py
import numpy as np

from neuroformer.session import schema
from neuroformer.session.layout import Array, Layout, blocks, kind_of
from neuroformer.session.types import Fault

Test = Callable[[np.ndarray], np.ndarray]


@dataclass
class Tally:
    """How many rows fail a test, and which is the first."""

    rows: int = 0
    count: int = 0
    first: int = -1

    def add(self, offset: int, bad: np.ndarray) -> None:
        """Take in a block of rows that begins at row `offset`; `bad` (n, …) is true where a row fails."""
        bad = bad.reshape(len(bad), -1).any(axis=1)
        if self.count == 0 and bad.any():
            self.first = offset + int(bad.argmax())
        self.count += int(bad.sum())
        self.rows += len(bad)

    def fault(self, path: str, what: str, cure: str) -> Iterator[Fault]:
        """A fault when any row failed: "3 of 120 rows `what` (first: row 17)"."""
        if self.count:
            found = f"{self.count} of {self.rows} rows {what} (first: row {self.first})"
            yield Fault(path=path, message=found, cure=cure)


def tally(array: Array, bad: Test) -> Tally:
    """Rows of `array` where `bad` is true, read block by block."""
    result = Tally()
    for offset, values in blocks(array):
        result.add(offset, bad(values))
    return result


@dataclass
class TimeTally:
    """Rows of an array of times that are not finite, out of order, or outside the span."""

    infinite: Tally
    unordered: Tally
    outside: Tally


def tally_times(
    array: Array, *, strict: bool, start: float = -np.inf, stop: float = np.inf
) -> TimeTally:
    """Look through times (T,) in seconds, once.

    Args:
        array: the times.
        strict: equal neighbours are out of order, too.
        start: earliest time, inclusive.
        stop: latest time, exclusive.
    """
    result = TimeTally(Tally(), Tally(), Tally())
    last = np.full(1, -np.inf)
    for offset, times in blocks(array):
        before = np.concatenate([last, times[:-1]])
        finite = np.isfinite(times)
        result.infinite.add(offset, ~finite)
        result.unordered.add(offset, finite & (times <= before if strict else times < before))
        result.outside.add(offset, finite & ((times < start) | (times >= stop)))
        last = times[-1:]
    return result


def not_finite(values: np.ndarray) -> np.ndarray:
    """True where a number is NaN or infinite."""
    return ~np.isfinite(values)


def infinite(values: np.ndarray) -> np.ndarray:
    """True where a number is infinite; NaN marks what is missing."""
    return np.isinf(values)


def form(
    layout: Layout, path: str, shape: Sequence[int | str] | None, kinds: tuple[str, ...] = ()
) -> Iterator[Fault]:
    """Faults of an array's presence, dtype, shape and storage; none when its values can be looked at.

    Args:
        layout: the session.
        path: the array.
        shape: expected sizes; a word stands for any size; None for any shape of at least one dimension.
        kinds: kinds of values allowed where the schema fixes no dtype.
    """
    array = layout.arrays.get(path)
    if array is None:
        yield Fault(path=path, message="missing", cure="add it")
        return
    dtype = schema.TIMESTAMPS_DTYPE if schema.is_timestamps(path) else schema.DTYPES.get(path)
    kind = kind_of(array)
    if dtype is not None and (kind == "other" or array.dtype.newbyteorder("=") != dtype):
        yield Fault(path=path, message=f"dtype is {_dtype(array)}, expected {dtype}", cure=f"store it as {dtype}")
    elif dtype is None and kind not in kinds:
        expected = " or ".join(kinds)
        yield Fault(path=path, message=f"dtype is {_dtype(array)}, expected {expected}", cure=f"store it as {expected}")
    found = array.shape
    if found is None:  # an HDF5 null dataspace
        yield Fault(path=path, message="holds nothing", cure="remove it or give it values")
    elif shape is None:
        if not found:
            yield Fault(path=path, message="is a single value, expected a row a unit or trial", cure="make it an array")
    elif len(found) != len(shape) or any(isinstance(n, int) and n != m for n, m in zip(shape, found, strict=True)):
        expected = f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
        yield Fault(path=path, message=f"shape is {found}, expected {expected}", cure="make the lengths agree")
    if isinstance(array, h5py.Dataset) and not _is_stored(array):
        yield Fault(path=path, message="declared but not stored in full", cure="convert the recording again")


def _dtype(array: Array) -> str:
    try:
        return "text" if kind_of(array) == "text" else str(array.dtype)
    except (TypeError, ValueError):
        return "unknown"


def _is_stored(dataset: h5py.Dataset) -> bool:
    """Whether storage is allocated for all rows; HDF5 would make up zeros for the others."""
    if not dataset.size:
        return True
    if dataset.chunks is None:
        return bool(dataset.id.get_storage_size() >= dataset.size * dataset.id.get_type().get_size())
    wanted = np.prod([-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True)], dtype=float)
    return bool(dataset.id.get_num_chunks() >= wanted)
