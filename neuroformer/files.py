"""Output files that are whole or absent, JSON, and the folder of a run."""

import contextlib
import errno
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from neuroformer import __version__
from neuroformer.errors import UserError

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the last: a limit on the size of a file (ulimit -f)
ALMOST_NOTHING_FREE = 64 * 1024  # bytes
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}\.partial(\..*)?")


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; what was written there takes the name `path` when the block ends.

    The target's folder is made. Whatever ends the block early (an exception, Ctrl-C, a full disk), the
    temporary file is removed and a file that already had the name `path` stays as it was. The temporary name
    has the same suffix, because writers such as `np.savez` and matplotlib go by it.

    Args:
        path: The file to write.

    Yields:
        The path to write to.

    Raises:
        UserError: `path` is a folder, or the disk is full.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with atomic_path(folder / "note.txt") as temporary:
        ...     _ = temporary.write_text("whole")
        >>> [file.name for file in folder.iterdir()]
        ['note.txt']
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: is a folder, expected the name of a file to write; name a file inside it")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.partial{path.suffix}")
    try:
        yield temporary
        _flush_to_disk(temporary)
        os.replace(temporary, path)
        _flush_to_disk(path.parent)  # the new name itself
    except (OSError, RuntimeError) as error:  # h5py and torch report a full disk as a RuntimeError
        full = _is_full_disk(error, path.parent)
        temporary.unlink(missing_ok=True)
        if full:
            raise full_disk(path, error) from error
        raise
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def full_disk(path: Path, error: BaseException) -> UserError:
    """What to tell a user whose file could not be written; `error` is what the system said."""
    if _errno(error) == errno.EFBIG:
        return UserError(
            f"{path}: not written, files may not be larger here; raise the limit (ulimit -f unlimited)"
        )
    free = shutil.disk_usage(path.parent).free
    return UserError(
        f"{path}: not written, no space left on the disk ({free / 1e6:,.1f} MB free in {path.parent}); free some space "
        "or write to another folder; every file that was there before is as it was"
    )


def append_line(path: Path, line: str) -> None:
    """Append to a text file, whole or not at all.

    Args:
        path: the file.
        line: with its line end.

    Raises:
        UserError: the disk is full.
    """
    with path.open("ab", buffering=0) as file:
        before = file.tell()
        try:
            rest = memoryview(line.encode("utf-8"))
            while rest:  # a write that the disk has no room for writes a part first
                rest = rest[file.write(rest) :]
        except OSError as error:
            file.truncate(before)
            if error.errno in FULL_DISK:
                raise full_disk(path, error) from error
            raise


def remove_leftovers(folder: Path) -> list[Path]:
    """Remove what writers that were killed have left in a folder (not in those below it); returns what it was."""
    found = [file for file in folder.glob(".*") if _LEFTOVER.fullmatch(file.name)] if folder.is_dir() else []
    for file in found:
        file.unlink(missing_ok=True)
    return found


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_full_disk(error: BaseException, folder: Path) -> bool:
    number = _errno(error)
    # Libraries written in C lose the error number on its way up; then the disk itself is asked.
    return shutil.disk_usage(folder).free < ALMOST_NOTHING_FREE if number is None else number in FULL_DISK


def _errno(error: BaseException) -> int | None:
    """The system's error number, of the error or of what it was raised in the handling of (torch, closing a file)."""
    while getattr(error, "errno", None) is None and error.__context__ is not None:
        error = error.__context__
    return getattr(error, "errno", None)


def write_json(path: str | Path, content: Any) -> None:
    """Write `content` as indented JSON, atomically.

    NumPy scalars and arrays become numbers and lists, paths become text, and numbers that JSON does not have
    (NaN and the infinities) become null.
    """
    text = json.dumps(_plain(content), indent=2, allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """Turn NumPy values, tuples, paths and non-finite numbers into what JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: The file is missing, is a folder, or is not JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected the JSON file that a finished run leaves") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder, expected a JSON file") from None
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}: broken JSON at line {error.lineno}, column {error.colno} ({error.msg}); write it anew"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file, expected JSON; check the name") from error


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """The folder that one command writes into: `config.yaml` first, `metrics.json` last, results between.

    A `metrics.json` means that the run is finished, so a finished run is not overwritten by accident.
    """

    path: Path
    """The folder."""
    command: str
    """The command that writes here, for example "neuroformer evaluate"."""

    @classmethod
    def create(cls, out: str | Path, *, overwrite: bool, command: str, config: Any) -> "RunFolder":
        """Make the folder and write the run's settings into it.

        Args:
            out: The folder; it may exist.
            overwrite: Start again in a folder that holds a finished run. Its `metrics.json` is removed at
                once, as the run is no longer finished; other files stay until they are written anew.
            command: The command's name, kept in `metrics.json`.
            config: The settings: a dataclass instance or a `DictConfig`.

        Raises:
            UserError: The folder holds a finished run and `overwrite` is false, or `out` is a file.
        """
        path = Path(out)
        cls.check(path, overwrite=overwrite)
        (path / "metrics.json").unlink(missing_ok=True)
        settings = config if isinstance(config, DictConfig) else OmegaConf.structured(config)
        with atomic_path(path / "config.yaml") as temporary:
            temporary.write_text(OmegaConf.to_yaml(settings, resolve=True), encoding="utf-8")
        return cls(path=path, command=command)

    @staticmethod
    def check(path: Path, *, overwrite: bool) -> None:
        """Whether a run may write into a folder; arguments and errors are those of `create`."""
        if path.exists() and not path.is_dir():
            raise UserError(f"{path}: is a file, expected a folder for the results; choose another out=DIR")
        if (path / "metrics.json").exists() and not overwrite:
            raise UserError(
                f"{path}: holds a finished run (metrics.json); choose another out=DIR, or add overwrite=true"
            )

    @property
    def figures(self) -> Path:
        """The folder for figures, made when first asked for."""
        folder = self.path / "figures"
        folder.mkdir(exist_ok=True)
        return folder

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """Write `metrics.json` with the command and the package version: the run is finished.

        Args:
            metrics: Plain nested results; NumPy numbers are welcome.
        """
        write_json(self.path / "metrics.json", {"command": self.command, "version": __version__, **metrics})
