"""Rules of what a file keeps beside the data to be read fast: counts by unit and coarse indices of time."""

from collections.abc import Iterator

import numpy as np

from neuroformer.session import schema
from neuroformer.session.layout import Layout, blocks, kind_of, read
from neuroformer.session.types import Fault


def check_derived(layout: Layout) -> list[Fault]:
    """Faults of counts and indices, for a layout in which `check` found none."""
    faults: list[Fault] = []
    for path in [schema.TIMES, *(path for path in layout.arrays if schema.is_timestamps(path))]:
        every = [_strided(first, times) for first, times in blocks(layout.arrays[path])]
        faults.extend(_compare(layout, schema.index_of(path), np.concatenate(every), f"the times in {path}"))
    n_units = layout.attributes[""]["n_units"]
    found = layout.arrays.get(schema.COUNTS)
    if found is None or found.shape != (
        n_units,
    ):  # n_units can be any number, of which counts are not to be made
        shape = "missing" if found is None else f"shape is {found.shape}"
        return [
            *faults,
            Fault(schema.COUNTS, f"{shape}, expected ({n_units},)", "convert the recording again"),
        ]
    counts = np.zeros(n_units, dtype=np.int64)
    for _, units in blocks(layout.arrays[schema.UNITS]):
        counts += np.bincount(units, minlength=len(counts))
    faults.extend(_compare(layout, schema.COUNTS, counts, f"the units in {schema.UNITS}"))
    return faults


def _compare(layout: Layout, path: str, expected: np.ndarray, source: str) -> Iterator[Fault]:
    found = layout.arrays.get(path)
    cure = "convert the recording again"
    if found is None:
        yield Fault(path, "missing", cure)
    elif kind_of(found) == "other" or found.shape != expected.shape or found.dtype != expected.dtype:
        what = f"is {found.dtype} {found.shape}, expected {expected.dtype} {expected.shape}"
        yield Fault(path, what, cure)
    elif not np.array_equal(read(found), expected):
        yield Fault(path, f"does not agree with {source}", cure)


def _strided(first: int, times: np.ndarray) -> np.ndarray:
    """The part of the coarse index that comes from a block of times beginning at row `first`."""
    return times[-first % schema.INDEX_STRIDE :: schema.INDEX_STRIDE].copy()  # a view would keep the block
