"""Named arrays of a NumPy, MATLAB or HDF5 file, whichever it is. Nothing pickled is ever loaded."""

import contextlib
import difflib
import fnmatch
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
import scipy.io

from neuroformer.errors import UserError
from neuroformer.session.names import LONGEST, shortly

Value = np.ndarray | list[np.ndarray]
_LISTED = 20  # names in a message
SUFFIXES = (".npz", ".mat", ".h5", ".hdf5")
PICKLED = (
    "holds Python objects, which can run code when they are loaded; save it as plain numbers, "
    "for example one array per unit under names such as unit_0, unit_1"
)


class ArrayFile:
    """A recording's file as arrays by key, each read when first asked for.

    A structure's field `f` of `s` has the key `s/f`. A value is an array, or a list of arrays where the file
    keeps a list (a MATLAB cell array, a field of a structure array, a ragged HDF5 dataset).

    Attributes:
        path: the file.
        keys: the keys, in the order of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with contextlib.ExitStack() as stack:
            self._readers = _opened(path, stack)
            self._open = stack.pop_all()
        self.keys = list(self._readers)
        self._values: dict[str, Value] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _listed(self) -> str:
        """The keys for a message, not all of them where each unit has an array of its own."""
        names = [name if len(name) <= LONGEST else shortly(name) for name in self.keys[:_LISTED]]
        more = len(self.keys) - len(names)
        return (", ".join(names) or "none") + (f" and {more} more" if more else "")

    def read(self, key: str, where: str) -> Value:
        """The value of `key`; `where` is the key of the mapping that asks for it, for the message."""
        if key not in self._readers:
            nearest = difflib.get_close_matches(key, self.keys, n=1)
            hint = f"did you mean {nearest[0]!r}? It" if nearest else "it"
            raise UserError(f"{where}: no array {shortly(key)} in the file; {hint} has {self._listed()}")
        if key not in self._values:
            try:
                self._values[key] = self._readers[key]()
            except UserError as error:
                raise UserError(f"{where}: array {key!r} {error}") from error
            except Exception as error:  # the libraries behind raise all kinds on broken files
                reason = (
                    PICKLED
                    if "allow_pickle" in str(error)
                    else f"cannot be read ({_reason(error)}); copy it anew"
                )
                raise UserError(f"{where}: array {key!r} {reason}") from error
        return self._values[key]

    def array(self, key: str, where: str) -> np.ndarray:
        """The array of `key`."""
        value = self.read(key, where)
        if isinstance(value, list):
            raise UserError(f"{where}: {key!r} is a list of {len(value)} arrays, expected one array")
        return value

    def vector(self, key: str, where: str) -> np.ndarray:
        """The array of `key` as (n,); MATLAB's (n, 1) and (1, n) count as that."""
        value = self.array(key, where)
        if sum(size != 1 for size in value.shape) > 1:
            raise UserError(f"{where}: {key!r} has shape {value.shape}, expected one dimension")
        return value.reshape(-1)

    def numbers(self, key: str, where: str) -> np.ndarray:
        """The array of `key` as numbers (n,) float64."""
        value = self.vector(key, where)
        if value.dtype.kind not in "biuf":
            raise UserError(f"{where}: {key!r} holds {_words(value.dtype)}, expected numbers")
        return value.astype(np.float64)

    def times(self, key: str, where: str, scale: float = 1.0) -> np.ndarray:
        """The array of `key` times `scale`: (n,) float64, seconds; NaN is refused."""
        return finite(self.numbers(key, where) * scale, f"{where}: {key!r}")

    def number(self, value: int | float | str, where: str) -> float:
        """A number that is given, or the key of one."""
        if not isinstance(value, str):
            return float(value)
        found = self.numbers(value, where)
        if found.size != 1 or not np.isfinite(found[0]):
            raise UserError(f"{where}: {value!r} holds {found.size} numbers, expected a single one")
        return float(found[0])

    def matching(self, pattern: str, where: str) -> list[np.ndarray]:
        """The vectors whose key matches a pattern such as `unit_*`, in order of the numbers in their keys."""
        keys = sorted(fnmatch.filter(self.keys, pattern), key=_by_number)
        if not keys:
            raise UserError(f"{where}: no array matches {shortly(pattern)}; the file has {self._listed()}")
        return [self.vector(key, where) for key in keys]


def finite(times: np.ndarray, what: str) -> np.ndarray:
    """Give back `times` when all are finite; `what` names them in the message."""
    bad = np.flatnonzero(~np.isfinite(times))
    if bad.size:
        raise UserError(
            f"{what}: {bad.size} of {times.size} times are NaN or infinite (the first in row {bad[0]}), "
            "expected a time in seconds; remove these rows"
        )
    return times


def _by_number(key: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", key) if part]


def _words(dtype: np.dtype) -> str:
    return {"U": "text", "b": "booleans", "c": "complex numbers"}.get(dtype.kind, str(dtype))


def _reason(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


# ------------------------------------------------------------------------------ the formats

Readers = Mapping[str, Callable[[], Value]]


def _opened(path: Path, stack: contextlib.ExitStack) -> Readers:
    try:
        return _readers(path, stack)
    except (UserError, PermissionError):
        raise
    except Exception as error:  # the libraries behind raise all kinds on broken files
        # NumPy takes what it does not know for a pickle, and advises to load it.
        reason = "holds no arrays" if "allow_pickle" in str(error) else _reason(error)
        raise UserError(
            f"{reason}; the file is cut short or is no {path.suffix} file, copy it anew"
        ) from error


def _readers(path: Path, stack: contextlib.ExitStack) -> Readers:
    """The keys of a file and how to read each; what is opened is left to `stack` to close."""
    suffix = path.suffix.lower()
    if suffix == ".npz":
        archive = np.load(stack.enter_context(path.open("rb")), allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise UserError(
                "holds one unnamed array, expected several; write them with np.savez(path, name=array)"
            )
        stack.enter_context(archive)
        return {key: partial(_member, archive, key) for key in archive.files}
    if suffix in (".h5", ".hdf5") or (suffix == ".mat" and h5py.is_hdf5(path)):
        file = stack.enter_context(h5py.File(path, "r"))
        if "schema_version" in file.attrs:
            raise UserError("is a session file already; give it to `neuroformer validate` or `pretrain.py`")
        return _hdf5_readers(file, matlab=suffix == ".mat")
    if suffix == ".mat":
        return _matlab_readers(scipy.io.loadmat(path))
    raise UserError(
        f"cannot tell its format by its name, expected one that ends in {', '.join(SUFFIXES)} or .nwb"
    )


def _member(archive: np.lib.npyio.NpzFile, key: str) -> np.ndarray:
    return plain(archive[key])


def plain(value: Any) -> np.ndarray:
    """An array with text as `str` and without a subclass; object arrays of text become text."""
    array = np.asarray(value)
    if array.dtype.kind == "O" and all(isinstance(item, str | bytes) for item in array.flat):
        array = np.array([i if isinstance(i, str) else i.decode() for i in array.flat]).reshape(array.shape)
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8")
    if array.dtype.kind not in "biufU":
        raise UserError(f"holds {array.dtype}, expected numbers or text")
    return array


def _matlab_readers(content: Mapping[str, Any]) -> Readers:
    """Flatten what SciPy makes of a MATLAB file: structures by field, cells to lists."""
    readers: dict[str, Callable[[], Value]] = {}

    def add(key: str, value: Any) -> None:
        names = value.dtype.names if isinstance(value, np.ndarray) else None
        if names and value.size == 1:
            for name in names:
                add(f"{key}/{name}", value.reshape(-1)[0][name])
        elif names:
            for name in names:
                readers[f"{key}/{name}"] = partial(_cells, [item[name] for item in value.reshape(-1)])
        elif isinstance(value, np.ndarray) and value.dtype.kind == "O":
            readers[key] = partial(_cells, list(value.reshape(-1)))
        else:
            readers[key] = partial(plain, value)

    for key, value in content.items():
        if not key.startswith("__"):
            add(key, value)
    return readers


def _cells(items: list[Any]) -> Value:
    """A list of arrays; cells that hold a text or a number each are one array."""
    arrays = [plain(item) for item in items]
    if arrays and all(item.size == 1 for item in arrays) and len({item.dtype.kind for item in arrays}) == 1:
        return np.concatenate([item.reshape(-1) for item in arrays])
    return [item.reshape(-1) for item in arrays]


def _hdf5_readers(file: h5py.File, *, matlab: bool) -> Readers:
    readers: dict[str, Callable[[], Value]] = {}

    def add(key: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and not key.startswith("#"):
            readers[key] = partial(_dataset, node, matlab=matlab)

    file.visititems(add)
    return readers


def _dataset(node: h5py.Dataset, *, matlab: bool) -> Value:
    if matlab and "MATLAB_empty" in node.attrs:
        return np.empty(0)
    if h5py.check_ref_dtype(node.dtype) is not None:  # a MATLAB 7.3 cell array: references to its cells
        return _cells([_dataset(node.file[reference], matlab=matlab) for reference in node[()].T.reshape(-1)])
    if h5py.check_string_dtype(node.dtype) is not None:
        return plain(node.asstr()[()])
    if h5py.check_vlen_dtype(node.dtype) is not None:
        return [plain(item) for item in node[()].reshape(-1)]
    array = node[()]
    if not matlab:
        return plain(array)
    if node.attrs.get("MATLAB_class") == b"char":
        return np.array(["".join(map(chr, row)) for row in np.atleast_2d(array.T)])
    return plain(array.T)  # MATLAB stores columns first
