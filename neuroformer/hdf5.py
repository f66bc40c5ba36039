"""HDF5 files that are whole or absent, even when the disk is full or Ctrl-C comes half-way."""

import io
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from neuroformer.files import atomic_path

FORMAT = ("v110", "v110")


@contextmanager
def atomic_hdf5(path: str | Path) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """Give an HDF5 file to write into; it takes the name `path` when the block has ended well.

    HDF5 writes to memory, and Python copies the result to the disk: on a full disk HDF5 can neither flush nor
    close its own file, and crashes the process when it ends. The price is the compressed size in memory.

    The format is that of HDF5 1.10, the first whose metadata all have checksums: on damaged metadata of older
    formats the library crashes or hangs. Text of variable length has none even so; better store fixed lengths.

    Args:
        path: The file to write.

    Yields:
        The file, and a function to call now and then in a long write: Ctrl-C is heard there and at the end.

    Raises:
        UserError: `path` is a folder, or the disk is full.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "numbers.h5"
        >>> with atomic_hdf5(path) as (file, heed_interrupt):
        ...     file["one"] = 1
        >>> h5py.File(path)["one"][()].item()
        1
    """
    with atomic_path(path) as temporary:
        buffer = io.BytesIO()
        with _held_interrupts() as heed_interrupt, h5py.File(buffer, "w", libver=FORMAT) as file:
            yield file, heed_interrupt
        temporary.write_bytes(buffer.getbuffer())


@contextmanager
def _held_interrupts() -> Iterator[Callable[[], None]]:
    """Keep Ctrl-C waiting in the block until the function that is given is called, or the block ends.

    h5py runs callbacks of weak references in which Python drops a KeyboardInterrupt: most would be lost.
    """
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(previous):
        yield lambda: None  # no interrupt comes here
        return
    held: list[tuple] = []

    def heed_interrupt() -> None:
        if held:
            previous(*held.pop())

    signal.signal(signal.SIGINT, lambda *arguments: held.append(arguments))
    try:
        yield heed_interrupt
    finally:
        signal.signal(signal.SIGINT, previous)
    heed_interrupt()
