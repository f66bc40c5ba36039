"""Look through arrays of any size, in memory or in a file, for what is wrong with them."""

import collections
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import h5py
import numpy as np

from neuroformer.session import schema
from neuroformer.session.layout import Array, Layout, blocks, kind_of, read
from neuroformer.session.names import bad_text, shortly
from neuroformer.session.types import Fault

# What a filter may add to the bytes of a chunk when they do not compress: a share, and some of its own.
CHUNK_GROWTH = 1.1
CHUNK_EXTRA = 1024


@dataclass
class Tally:
    """How many rows fail a test, and which is the first."""

    rows: int = 0
    count: int = 0
    first: int = -1

    def add(self, bad: np.ndarray) -> None:
        """Take in the next block of rows; `bad` (n, …) is true where a row fails."""
        failed = np.flatnonzero(bad.any(axis=tuple(range(1, bad.ndim))))
        if self.count == 0 and len(failed):
            self.first = self.rows + int(failed[0])
        self.count += len(failed)
        self.rows += len(bad)

    def fault(self, path: str, what: str, cure: str) -> Iterator[Fault]:
        """One fault when any row failed, "3 of 120 rows WHAT (first: row 17)", counting from 0."""
        if self.count:
            yield Fault(path, f"{self.count} of {self.rows} rows {what} (first: row {self.first})", cure)


def tally(array: Array, bad: Callable[[np.ndarray], np.ndarray]) -> Tally:
    """Rows of `array` where `bad` is true, read block by block."""
    result = Tally()
    for _, values in blocks(array):
        result.add(bad(values))
    return result


def fault_where(path: str, bad: np.ndarray, what: str, cure: str) -> Iterator[Fault]:
    """One fault when `bad` (rows, …) is true anywhere."""
    result = Tally()
    result.add(bad)
    return result.fault(path, what, cure)


def not_finite(values: np.ndarray) -> np.ndarray:
    """True where a number is NaN or infinite."""
    return ~np.isfinite(values)


def not_a_size(values: np.ndarray) -> np.ndarray:
    """True where a number is negative, NaN or infinite."""
    return not_finite(values) | (values < 0)


@dataclass(frozen=True)
class TimesTally:
    """Rows of an array of times that are not finite, out of order, or outside a span."""

    infinite: Tally
    unordered: Tally
    outside: Tally


def tally_times(array: Array, *, strict: bool, start: float = -np.inf, stop: float = np.inf) -> TimesTally:
    """Look through times (T,) once.

    Args:
        array: the times, seconds.
        strict: whether equal neighbours are out of order, too.
        start: earliest time, inclusive, seconds.
        stop: latest time, exclusive, seconds.
    """
    result = TimesTally(Tally(), Tally(), Tally())
    last = np.full(1, -np.inf)
    for _, times in blocks(array):
        before = np.concatenate([last, times[:-1]])
        finite = np.isfinite(times)
        result.infinite.add(~finite)
        result.unordered.add(finite & (times <= before if strict else times < before))
        result.outside.add(finite & ((times < start) | (times >= stop)))
        last = times[-1:]
    return result


def check_text(layout: Layout, path: str) -> Iterator[Fault]:
    """A fault when any text of an array cannot be stored."""
    for text in read(layout.arrays[path]).reshape(-1).tolist():
        if reason := bad_text(text):
            yield Fault(path, f"text {shortly(text)} {reason}", "remove those characters")
            return


def check_damage(array: Array) -> None:
    """Read an array of which any values will do, so that damage to the file shows.

    Raises:
        UnreadableError: when there is some.
    """
    if array.shape:
        collections.deque(blocks(array), maxlen=0)
    else:
        read(array)


def check_form(
    layout: Layout, path: str, shape: Sequence[int | str] | None, kinds: tuple[str, ...] = ()
) -> Iterator[Fault]:
    """Faults of presence, dtype, shape and storage; without one, the values can be looked at.

    Args:
        layout: the session.
        path: the array.
        shape: expected sizes, a word for any size; None for any shape.
        kinds: kinds of values allowed where the schema fixes no dtype.
    """
    array = layout.arrays.get(path)
    if array is None:
        yield Fault(path, "missing", "add it")
        return
    if array.shape is None:  # an HDF5 null dataspace
        yield Fault(path, "holds nothing", "give it values, or remove it")
        return
    dtype, kind = schema.dtype_of(path), kind_of(array)
    if kind == "other" or (kind not in kinds if dtype is None else array.dtype.newbyteorder("=") != dtype):
        expected = " or ".join(kinds) if dtype is None else str(dtype)
        yield Fault(path, f"dtype is {_describe(array)}, expected {expected}", f"store {expected} values")
    if shape is not None and not _fits(array.shape, shape):
        expected = f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
        yield Fault(path, f"shape is {array.shape}, expected {expected}", "make the lengths agree")
    if not is_stored(array):
        # HDF5 would make up zeros, or fill the memory.
        yield Fault(path, "declared but not stored in full", "convert the recording again")


def _describe(array: Array) -> str:
    try:
        return "text" if kind_of(array) == "text" else str(array.dtype)
    except (TypeError, ValueError):
        return "unknown"


def _fits(found: tuple[int, ...], expected: Sequence[int | str]) -> bool:
    return len(found) == len(expected) and all(
        isinstance(size, str) or size == n for n, size in zip(found, expected, strict=True)
    )


def is_stored(array: Array) -> bool:
    """Whether there is storage for all rows, and not for far more: a chunk may swell beyond its size when read."""
    if not isinstance(array, h5py.Dataset) or not array.size:
        return True
    stored, item = array.id.get_storage_size(), array.id.get_type().get_size()
    if array.chunks is None:
        return bool(stored >= array.size * item)
    wanted = math.prod(-(-n // chunk) for n, chunk in zip(array.shape, array.chunks, strict=True))
    found, size = array.id.get_num_chunks(), math.prod(array.chunks) * item
    if not array.id.get_create_plist().get_nfilters() and stored < found * size:
        return False  # chunks that end too soon: HDF5 would give what lies in memory behind them
    return bool(found >= wanted and stored <= found * (CHUNK_GROWTH * size + CHUNK_EXTRA))
