"""Find a time in a long sorted dataset by reading one block of it."""

from __future__ import annotations

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
        times: (E,) sorted dataset, seconds.
        index: its `coarse_index`.
        start: seconds; None for the first row.
        stop: seconds; None for the last row.

    Returns:
        The slice of rows and their times (n,) float64. At most one block beyond either end is read.
    """
    n = times.shape[0]
    # All times before block b are < start, and all from block c on are >= stop.
    low = 0 if start is None else max(int(np.searchsorted(index, start)) - 1, 0) * INDEX_STRIDE
    high = n if stop is None else min(int(np.searchsorted(index, stop)) * INDEX_STRIDE, n)
    block = read(times, slice(low, max(low, high)))
    first = 0 if start is None else int(np.searchsorted(block, start))
    last = len(block) if stop is None else max(first, int(np.searchsorted(block, stop)))
    return slice(low + first, low + last), block[first:last]
