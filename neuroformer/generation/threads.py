"""Groups of streams side by side, a thread each.

Streams do not know of one another, and a group's matrix products leave Python's lock alone: on two cores two groups
end in little more than half the time, where one group on two threads of PyTorch gains a third.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from neuroformer.model import Neuroformer

T = TypeVar("T")

_LARGE = 1_000_000  # parameters below which a step is mostly Python, which threads take turns at


def n_threads(model: Neuroformer) -> int:
    """Groups that are worth running side by side: PyTorch's threads for a large model on a CPU, else 1."""
    large = sum(p.numel() for p in model.parameters()) > _LARGE
    return torch.get_num_threads() if large and model.bias.device.type == "cpu" else 1


def side_by_side(calls: Sequence[Callable[[], T]], threads: int) -> list[T]:
    """What the calls return, in their order; at most `threads` at a time, each on one thread of PyTorch.

    The first call that fails ends the rest that has not begun.
    """
    if threads <= 1 or len(calls) <= 1:
        return [call() for call in calls]
    before = torch.get_num_threads()
    executor = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        return list(executor.map(lambda call: call(), calls))
    finally:
        executor.shutdown(cancel_futures=True)
        torch.set_num_threads(before)
