"""Write a session file: checked first, then whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import h5py
import numpy as np

from neuroformer.errors import UserError
from neuroformer.files import atomic_path
from neuroformer.session import schema
from neuroformer.session.layout import Layout, blocks
from neuroformer.session.rules import check
from neuroformer.session.timeline import coarse_index
from neuroformer.session.types import SessionData


def write_session(path: str | Path, data: SessionData, *, overwrite: bool = False) -> Path:
    """Check `data` by the rules of `validate_file` and write it to `path`, with its parent folders.

    The file appears under its name only when it is complete: an error, a full disk or Ctrl-C leaves none behind, and an
    existing file as it was.

    Args:
        path: the file to write.
        data: the session.
        overwrite: replace an existing file.

    Returns:
        The path.

    Raises:
        UserError: with all faults of `data`, a line each; when the file exists, is a folder, or does not fit on the disk.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: is a folder, expected a file name; add a name such as {path / 'session.h5'}")
    if path.exists() and not overwrite:
        raise UserError(f"{path}: exists already; choose another name or pass overwrite=True to replace it")
    layout = Layout.from_data(data)
    if faults := check(layout):
        raise UserError("\n".join(f"{path}: not written: {fault}" for fault in faults))
    _add_derived(layout)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        try:
            _write(temporary, layout)
        except (OSError, RuntimeError) as error:  # HDF5 tells the cause in its text only
            if "No space left" in str(error) or f"errno = {errno.ENOSPC}" in str(error):
                raise OSError(errno.ENOSPC, "No space left on device", str(path)) from error
            raise
    return path


def _add_derived(layout: Layout) -> None:
    """The arrays that follow from the others: counts by unit and coarse indices of time."""
    arrays = layout.arrays
    n_units = layout.attributes[""]["n_units"]
    arrays[schema.COUNTS] = np.bincount(arrays[schema.UNITS], minlength=n_units).astype(np.int64)
    arrays[f"events/{schema.INDEX}"] = coarse_index(arrays[schema.TIMES])
    for name in [name for name in arrays if schema.is_timestamps(name)]:
        arrays[f"{name.rsplit('/', 1)[0]}/{schema.INDEX}"] = coarse_index(arrays[name])


def _write(path: Path, layout: Layout) -> None:
    with h5py.File(path, "w", locking=False) as file:
        file.attrs["format"] = schema.FORMAT
        file.attrs["schema_version"] = schema.SCHEMA_VERSION
        for group, attributes in layout.attributes.items():
            file.require_group(f"/{group}").attrs.update(attributes)
        for name, array in layout.arrays.items():
            _write_array(file, name, np.asarray(array))


def _write_array(file: h5py.File, name: str, array: np.ndarray) -> None:
    if array.dtype.kind == "U":
        file.create_dataset(name, data=array.astype(object), dtype=h5py.string_dtype("utf-8"))
        return
    if array.ndim == 0 or array.size == 0:
        file.create_dataset(name, data=array)
        return
    row_bytes = array.dtype.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))
    rows = schema.EVENT_CHUNK if name.startswith("events/") else max(1, schema.SERIES_CHUNK_BYTES // row_bytes)
    chunks = (min(rows, len(array)), *array.shape[1:])
    dataset = file.create_dataset(name, array.shape, array.dtype, chunks=chunks, **schema.COMPRESSION)
    for first, values in blocks(array):  # by blocks, so that Ctrl-C is heard
        dataset[first : first + len(values)] = values
