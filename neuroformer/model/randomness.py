"""Where the randomness of a forward pass comes from.

By default PyTorch's own generator. Threads that train side by side would take turns at it in an order that nobody
decides, so each of them draws from a generator of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_OF_THREAD = threading.local()


def generator() -> torch.Generator | None:
    """What this thread draws from; None for PyTorch's own generator."""
    found: torch.Generator | None = getattr(_OF_THREAD, "generator", None)
    return found


@contextmanager
def drawing_from(source: torch.Generator) -> Iterator[None]:
    """While the block runs, this thread draws from a generator."""
    before = generator()
    _OF_THREAD.generator = source
    try:
        yield
    finally:
        _OF_THREAD.generator = before
