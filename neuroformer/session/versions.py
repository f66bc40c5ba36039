"""Open a file and tell a session of this schema version from anything else."""

from __future__ import annotations

import re
from pathlib import Path

import h5py

from neuroformer.errors import UserError
from neuroformer.session import schema
from neuroformer.session.layout import attribute
from neuroformer.session.types import Fault

_CACHE_BYTES = 1024 * 1024  # a dataset; HDF5's own 8 MiB add up over many sessions


def open_file(path: Path) -> h5py.File:
    """Open an HDF5 file for reading.

    Without file locks: session files are never changed in place (a rename replaces them), so readers need no protection,
    and many cluster file systems refuse locks.

    Raises:
        UserError: when there is no such file, or it is a folder, not HDF5, cut short, or not to be read.
    """
    if path.is_dir():
        raise UserError(f"{path}: is a folder, expected a session file; name a file in it")
    if not path.exists():
        raise UserError(f"{path}: no such file; check the name, or make one with `neuroformer convert`")
    try:
        return h5py.File(path, "r", locking=False, rdcc_nbytes=_CACHE_BYTES)
    except PermissionError as error:
        raise UserError(f"{path}: not allowed to read it; change its permissions") from error
    except (OSError, RuntimeError, ValueError) as error:
        text = str(error)
        if "file signature not found" in text:
            raise UserError(
                f"{path}: not an HDF5 file, expected a session file; make one with `neuroformer convert`"
            ) from error
        if "locking flag" in text:
            raise UserError(
                f"{path}: is open in this process with file locks; close it, or open it with locking=False"
            ) from error
        cause = "cut short" if "truncated" in text else "damaged"
        raise UserError(f"{path}: the HDF5 file is {cause} ({text}); copy it or convert the recording again") from error


def foreign(file: h5py.File) -> Fault | None:
    """Why an HDF5 file is not a session of this schema version; None when it is."""
    try:
        kind, version = (attribute(file.attrs.get(name)) for name in ("format", "schema_version"))
    except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
        return Fault(path="/", message=f"attributes cannot be read ({error})", cure="convert the recording again")
    if kind != schema.FORMAT:
        return Fault(
            path="/",
            message=f"not a session file: attribute format is {kind!r}, expected {schema.FORMAT!r}",
            cure="make a session from it with `neuroformer convert`",
        )
    found = _parse(version)
    if found == _parse(schema.SCHEMA_VERSION):
        return None
    if found is None:
        cure = "convert the recording again"
    elif found > (_parse(schema.SCHEMA_VERSION) or ()):
        cure = "upgrade neuroformer"
    else:
        cure = "convert the recording again with this version of neuroformer"
    return Fault(
        path="/", message=f"schema_version is {version!r}, expected {schema.SCHEMA_VERSION!r}", cure=cure
    )


def _parse(version: object) -> tuple[int, ...] | None:
    if isinstance(version, str) and re.fullmatch(r"\d{1,6}\.\d{1,6}", version):
        return tuple(int(part) for part in version.split("."))
    return None
