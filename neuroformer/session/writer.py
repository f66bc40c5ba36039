"""Write a session file: checked first, then whole or not at all."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neuroformer.errors import UserError
from neuroformer.hdf5 import atomic_hdf5
from neuroformer.session import schema
from neuroformer.session.layout import Layout, blocks, kind_of
from neuroformer.session.rules import check
from neuroformer.session.timeline import coarse_index
from neuroformer.session.types import SessionData


def write_session(path: str | Path, data: SessionData, *, overwrite: bool = False) -> Path:
    """Check a session by the rules of `validate_file` and write it, making its folder if need be.

    The file takes its name when it is complete. An error, a full disk or Ctrl-C leaves no file behind, and a
    file that had the name before stays as it was.

    Args:
        path: the file.
        data: the session.
        overwrite: whether to replace a file that exists.

    Returns:
        The path.

    Raises:
        UserError: The session has faults (all are named, a line each), the file exists or is a folder, or the
            disk is full.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: is a folder, expected the name of a file to write; name a file inside it")
    if path.exists() and not overwrite:
        raise UserError(f"{path}: exists already; choose another name, or pass overwrite=True to replace it")
    layout = Layout.from_data(data)
    if faults := check(layout):
        raise UserError("\n".join(f"{path}: not written: {fault}" for fault in faults))
    with atomic_hdf5(path) as (file, heed_interrupt):
        root = {"format": schema.FORMAT, "schema_version": schema.SCHEMA_VERSION, **layout.attributes[""]}
        for group, attributes in (layout.attributes | {"": root}).items():
            _store_attributes(file.require_group(f"/{group}"), attributes)
        for name, array in (layout.arrays | _derived(layout)).items():
            _store(file, name, array, heed_interrupt)
    return path


def _derived(layout: Layout) -> dict[str, np.ndarray]:
    """What follows from the data and is kept beside them, to be read fast."""
    counts = np.bincount(layout.arrays[schema.UNITS], minlength=layout.attributes[""]["n_units"])
    times = [schema.TIMES, *(path for path in layout.arrays if schema.is_timestamps(path))]
    indices = {schema.index_of(path): coarse_index(layout.arrays[path]) for path in times}
    return {schema.COUNTS: counts.astype(np.int64), **indices}


def _store(file: h5py.File, path: str, array: np.ndarray, heed_interrupt: Callable[[], None]) -> None:
    if kind_of(array) == "text":
        array = _encoded(array)
    if not array.size or not array.ndim:
        file.create_dataset(path, data=array)
        return
    n_rows = (
        schema.EVENT_CHUNK if path.startswith("events/") else schema.CHUNK_BYTES * len(array) // array.nbytes
    )
    chunks = (min(max(n_rows, 1), len(array)), *array.shape[1:])
    dataset = file.create_dataset(path, array.shape, array.dtype, chunks=chunks, **schema.STORAGE)
    for first, values in blocks(array):
        dataset[first : first + len(values)] = values
        heed_interrupt()


def _store_attributes(group: h5py.Group, attributes: Mapping[str, Any]) -> None:
    for name, value in attributes.items():
        group.attrs[name] = _encoded(np.array(value)) if isinstance(value, str) else value


def _encoded(texts: np.ndarray) -> np.ndarray:
    """Text as UTF-8 of fixed length.

    HDF5 keeps text of variable length apart, without a checksum, and may hang where that is damaged.
    """
    encoded = np.char.encode(texts, "utf-8")
    return encoded.astype(h5py.string_dtype("utf-8", max(encoded.dtype.itemsize, 1)))
