"""Open a file and tell a session of this schema version from anything else."""

import re
from pathlib import Path

import h5py

from neuroformer.errors import UserError
from neuroformer.session import schema
from neuroformer.session.layout import READ_ERRORS, RECONVERT, scalar, unreadable
from neuroformer.session.names import shortly
from neuroformer.session.types import Fault

CACHE_BYTES = 256 * 1024  # of chunks, a dataset; HDF5's own 8 MiB add up over many sessions


def open_file(path: Path) -> h5py.File:
    """Open an HDF5 file to read it.

    No file locks are taken: a session file is replaced by a rename and never changed in place, so readers
    need no protection, and many cluster file systems refuse locks.

    Raises:
        UserError: There is no such file, or it is a folder, not HDF5, cut short, or not allowed to be read.
    """
    if path.is_dir():
        raise UserError(f"{path}: is a folder, expected a session file; name a file inside it")
    if not path.exists():
        raise UserError(f"{path}: no such file; check the name, or make it with `neuroformer convert`")
    if not path.is_file():
        raise UserError(f"{path}: is a pipe or device, expected a session file; copy its content to a file")
    try:
        return h5py.File(path, "r", locking=False, rdcc_nbytes=CACHE_BYTES)
    except PermissionError as error:
        raise UserError(f"{path}: not allowed to read it; change its permissions") from error
    except (OSError, RuntimeError, ValueError) as error:
        text = str(error)
    if "file signature not found" in text:
        problem, cure = "not an HDF5 file, expected a session file", "make one with `neuroformer convert`"
    elif "locking flag" in text:
        problem, cure = (
            "already open in this process with file locks",
            "close it, or open it with locking=False",
        )
    elif "truncated" in text:
        problem, cure = "the file is cut short", "copy it again, or convert the recording again"
    else:
        problem, cure = f"the HDF5 file is damaged ({' '.join(text.split())})", RECONVERT
    raise UserError(f"{path}: {problem}; {cure}")


def foreign(file: h5py.File) -> Fault | None:
    """Why an open file is not a session of this schema version; None when it is."""
    try:
        kind, version = (scalar(file.attrs.get(name)) for name in ("format", "schema_version"))
    except READ_ERRORS as error:
        return unreadable("/", error)
    if not isinstance(kind, str) or kind != schema.FORMAT:
        found = "without attribute format" if kind is None else f"with format {shortly(kind)}"
        message = f"not a session file: HDF5 {found}, expected format {schema.FORMAT!r}"
        return Fault("/", message, "convert it with `neuroformer convert`")
    if isinstance(version, str) and version == schema.SCHEMA_VERSION:
        return None
    message = f"attribute schema_version is {shortly(version)}, expected {schema.SCHEMA_VERSION!r}"
    newer = _parse(version) > _parse(schema.SCHEMA_VERSION)
    return Fault("/", message, "upgrade neuroformer" if newer else RECONVERT)


def _parse(version: object) -> tuple[int, ...]:
    """`1.0` as (1, 0); () when it is no version."""
    is_version = re.fullmatch(r"[0-9]{1,6}\.[0-9]{1,6}", str(version))
    return tuple(map(int, str(version).split("."))) if is_version else ()
