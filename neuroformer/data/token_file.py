"""Tokens of long recordings in a nameless file, from which any stretch is read at once.

A session file is compressed in pieces of thousands of events, and a chunk at a random place costs the unpacking of some
of them: more than a tenth of a training step. Here the tokens lie as they are used, a few bytes each. The file is gone
with the process, however it ends, so that none can be left behind or be out of date; and it is read, not mapped, so
that the memory of the process does not grow with it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from neuroformer.data.tokens import Tokens

MOST_BYTES = 2_000_000_000
_STRIDE = 1024  # tokens between two entries of an index in memory


class TokenFile:
    """A file that tokens are added to."""

    def __init__(self) -> None:
        """See the class.

        Raises:
            OSError: no such file can be made here.
        """
        self._file = tempfile.TemporaryFile(prefix="neuroformer_", dir=_folder(), buffering=0)  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._size = 0

    def add(self, pieces: Iterable[Tokens], *, n_units: int) -> StoredTokens:
        """Store a stream, given in pieces one behind the other.

        Args:
            pieces: its tokens, bins rising.
            n_units: of its session.

        Raises:
            OSError: the disk is full.
        """
        start, bins = self._size, [np.zeros(0, np.int64)]
        n_rows = 0
        kind = row_type(n_units)
        for tokens in pieces:
            rows = np.empty(len(tokens), kind)
            rows["bin"], rows["unit"], rows["level"] = tokens.bins, tokens.units, tokens.levels
            bins.append(tokens.bins[-n_rows % _STRIDE :: _STRIDE])
            data = memoryview(rows.tobytes())
            while data:  # without a buffer, a write may take less than it is given
                data = data[self._file.write(data) :]
            n_rows += len(rows)
        self._size += n_rows * kind.itemsize
        return StoredTokens(file=self, start=start, n_rows=n_rows, kind=kind, index=np.concatenate(bins))

    def read(self, start: int, size: int) -> bytes:
        """Some bytes; where the file is read leaves no trace in it, so that threads and forks may."""
        found = os.pread(self._file.fileno(), size, start)
        if len(found) != size:
            raise OSError(f"{len(found)} of {size} bytes of stored tokens could be read")
        return found


class StoredTokens:
    """A stream in a `TokenFile`.

    Args:
        file: the file.
        start: first byte.
        n_rows: tokens.
        kind: of a row.
        index: bin of every 1024th token.
    """

    def __init__(
        self, *, file: TokenFile, start: int, n_rows: int, kind: np.dtype, index: np.ndarray
    ) -> None:
        """See the class."""
        self._file, self._start, self._n_rows, self._kind, self._index = file, start, n_rows, kind, index

    def tokens(self, start: int, stop: int) -> Tokens:
        """The tokens of bins [start, stop)."""
        # The first token at or after a bin lies behind the last entry before that bin.
        low = max(int(np.searchsorted(self._index, start)) - 1, 0) * _STRIDE
        high = min(int(np.searchsorted(self._index, stop)) * _STRIDE, self._n_rows)
        size = self._kind.itemsize
        data = self._file.read(self._start + low * size, max(high - low, 0) * size)
        rows = np.frombuffer(data, self._kind)
        rows = rows[slice(*np.searchsorted(rows["bin"], (start, stop)))]
        return Tokens(
            bins=rows["bin"].astype(np.int64),
            units=rows["unit"].astype(np.int32),
            levels=rows["level"].astype(np.int16),
        )


def row_type(n_units: int) -> np.dtype:
    """How a token is stored: 8 bytes, or 10 where units are many."""
    unit = np.uint16 if n_units <= 2**16 else np.int32
    return np.dtype([("bin", np.int32), ("unit", unit), ("level", np.int16)])


def has_room(n_bytes: int) -> bool:
    """Whether so much may be stored: at most 2 GB, and half of what is free."""
    if n_bytes > MOST_BYTES or not hasattr(os, "pread"):
        return False
    try:
        return n_bytes <= shutil.disk_usage(_folder()).free // 2
    except OSError:
        return False


def _folder() -> Path:
    """Where temporary files go that are large: /tmp often lies in memory, /var/tmp does not."""
    large = Path("/var/tmp")
    if not os.environ.get("TMPDIR") and large.is_dir() and os.access(large, os.W_OK):
        return large
    return Path(tempfile.gettempdir())
