"""Find a span in a long sorted dataset of times by reading little of it."""

import h5py
import numpy as np

from neuroformer.session.layout import read
from neuroformer.session.schema import INDEX_STRIDE


def coarse_index(times: np.ndarray) -> np.ndarray:
    """Every `INDEX_STRIDE`-th of the sorted `times` (E,): (ceil(E / INDEX_STRIDE),) float64, seconds."""
    return np.ascontiguousarray(times[::INDEX_STRIDE], dtype=np.float64)


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
    """
    # The first row at or after a time lies behind the last stride that begins before it.
    low = 0 if start is None else max(int(np.searchsorted(index, start)) - 1, 0) * INDEX_STRIDE
    high = len(times) if stop is None else min(int(np.searchsorted(index, stop)) * INDEX_STRIDE, len(times))
    near = read(times, slice(low, max(low, high)))
    first = 0 if start is None else int(np.searchsorted(near, start))
    last = len(near) if stop is None else int(np.searchsorted(near, stop))
    return slice(low + first, low + last), near[first:last]
