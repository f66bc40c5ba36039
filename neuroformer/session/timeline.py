"""Find a span in a long sorted dataset of times by reading little of it."""

from collections.abc import Iterator

import h5py
import numpy as np

from neuroformer.session.layout import RECONVERT, read
from neuroformer.session.schema import INDEX_STRIDE
from neuroformer.session.types import Fault


def coarse_index(times: np.ndarray) -> np.ndarray:
    """Every `INDEX_STRIDE`-th of the sorted `times` (E,): (ceil(E / INDEX_STRIDE),) float64, seconds."""
    return np.ascontiguousarray(times[::INDEX_STRIDE], dtype=np.float64)


def check_index(path: str, index: np.ndarray, n_times: int) -> Iterator[Fault]:
    """A fault where `index`, found at `path`, cannot be the `coarse_index` of `n_times` sorted times."""
    expected = -(-n_times // INDEX_STRIDE)
    if len(index) != expected or not (np.isfinite(index).all() and (np.diff(index) >= 0).all()):
        yield Fault(path, f"does not agree with its {n_times} times", RECONVERT)


def read_span(
    times: h5py.Dataset, index: np.ndarray, start: float | None, stop: float | None
) -> tuple[slice, np.ndarray]:
    """The rows whose time lies in [start, stop), and their times.

    Args:
        times: (E,) sorted, seconds.
        index: the `coarse_index` of `times`.
        start: seconds; None for the first row.
        stop: seconds, not before start; None for the last row.

    Returns:
        The slice of rows and their times (n,) float64. At most a stride beyond either end is read.

    Raises:
        ValueError: `index` is not that of `times`.
    """
    # The first row at or after a time lies behind the last stride that begins before it.
    low = 0 if start is None else max(int(np.searchsorted(index, start)) - 1, 0) * INDEX_STRIDE
    high = len(times) if stop is None else min(int(np.searchsorted(index, stop)) * INDEX_STRIDE, len(times))
    # One row more, the first of the next stride: times that do not begin their strides as the index says are elsewhere
    # than it says, and events would be passed over.
    near = read(times, slice(low, max(low, high) + 1))
    if not np.array_equal(
        near[::INDEX_STRIDE], index[low // INDEX_STRIDE :][: -(-len(near) // INDEX_STRIDE)]
    ):
        raise ValueError("times do not agree with their index")
    near = near[: max(high - low, 0)]
    first = 0 if start is None else int(np.searchsorted(near, start))
    last = len(near) if stop is None else int(np.searchsorted(near, stop))
    return slice(low + first, low + last), near[first:last]
