"""Write a session file: checked first, then whole or not at all."""

import io
from pathlib import Path

import h5py
import numpy as np

from neuroformer.errors import UserError
from neuroformer.files import atomic_path
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
    image = _image(layout)
    with atomic_path(path) as temporary:
        temporary.write_bytes(image)
    return path


def _image(layout: Layout) -> memoryview:
    """The bytes of the file.

    HDF5 writes to memory and Python to the disk: on a full disk HDF5 can neither flush nor close its file,
    and takes the process down with it at exit. The price is the compressed size in memory, beside the data.
    """
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["format"] = schema.FORMAT
        file.attrs["schema_version"] = schema.SCHEMA_VERSION
        for group, attributes in layout.attributes.items():
            file.require_group(f"/{group}").attrs.update(attributes)
        for path, array in layout.arrays.items():
            _store(file, path, array)
        # What follows from the data is kept beside them, to be read fast.
        counts = np.bincount(layout.arrays[schema.UNITS], minlength=layout.attributes[""]["n_units"])
        _store(file, schema.COUNTS, counts.astype(np.int64))
        for path in [schema.TIMES, *(path for path in layout.arrays if schema.is_timestamps(path))]:
            _store(file, schema.index_of(path), coarse_index(layout.arrays[path]))
    return buffer.getbuffer()


def _store(file: h5py.File, path: str, array: np.ndarray) -> None:
    if kind_of(array) == "text":
        file.create_dataset(path, data=array.astype(object), dtype=h5py.string_dtype("utf-8"))
        return
    if not array.size or not array.ndim:
        file.create_dataset(path, data=array)
        return
    n_rows = (
        schema.EVENT_CHUNK if path.startswith("events/") else schema.CHUNK_BYTES * len(array) // array.nbytes
    )
    chunks = (min(max(n_rows, 1), len(array)), *array.shape[1:])
    dataset = file.create_dataset(path, array.shape, array.dtype, chunks=chunks, **schema.STORAGE)
    for first, values in blocks(array):  # so that Ctrl-C is heard between blocks
        dataset[first : first + len(values)] = values
