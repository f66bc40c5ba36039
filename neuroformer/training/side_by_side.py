"""Parts of a batch on threads of their own, where the processor trains.

A small model's step is many small operations, of which a second thread inside PyTorch speeds up few. Two halves of a
batch, each on a thread from the embedding to the gradient, keep two cores busy. The loss is a sum over chunks, so the
gradients of the parts add up to that of the batch; they are added in a fixed order and every part draws from a
generator of its own, so that a step gives the same numbers whenever it is run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import torch
from torch import Tensor

from neuroformer.model.randomness import drawing_from

Parts = dict[str, Tensor]
"""Parts of a loss by name; all are of a kind that adds up over the parts of a batch."""


def side_by_side(
    losses: Sequence[Callable[[], tuple[Tensor, Parts]]],
    parameters: Sequence[Tensor],
    seeds: Sequence[int],
    *,
    threads: int = 1,
) -> tuple[Tensor, Parts]:
    """The sum of losses that are computed, with their gradients, on a thread each.

    Args:
        losses: each gives a loss and what to report of it.
        parameters: whatever the losses depend on.
        seeds: of what each loss draws at random.
        threads: of PyTorch that each part may use.

    Returns:
        The sum, whose gradient is known already and is handed on by `backward`, and the sums of the rest, without
        gradient.
    """

    def one(loss: Callable[[], tuple[Tensor, Parts]], seed: int) -> tuple[Tensor, Parts, tuple[Any, ...]]:
        with drawing_from(torch.Generator().manual_seed(seed)):
            total, parts = loss()
        grads = torch.autograd.grad(total, parameters, allow_unused=True)
        return total.detach(), {name: part.detach() for name, part in parts.items()}, grads

    found = list(_pool(len(losses), threads).map(one, losses, seeds))
    total = sum((part[0] for part in found[1:]), start=found[0][0])
    sums: Parts = {}
    for _, parts, _ in found:
        for name, part in parts.items():
            sums[name] = sums[name] + part if name in sums else part
    grads = [_add(terms) for terms in zip(*(part[2] for part in found), strict=True)]
    used = [k for k, grad in enumerate(grads) if grad is not None]
    loss = _Known.apply(total, [grads[k] for k in used], *(parameters[k] for k in used))
    return loss, sums


def _add(terms: Sequence[Tensor | None]) -> Tensor | None:
    there = [term for term in terms if term is not None]
    return sum(there[1:], start=there[0]) if there else None


class _Known(torch.autograd.Function):
    """A number whose gradient is known."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, grads: list[Tensor], *parameters: Tensor) -> Tensor:
        ctx.grads = grads
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Any, ...]:
        (by,) = grad_outputs
        grads, ctx.grads = ctx.grads, []
        return None, None, *(grad * by for grad in grads)


_POOLS: dict[tuple[int, int], ThreadPoolExecutor] = {}


def _pool(size: int, threads: int) -> ThreadPoolExecutor:
    """Threads with some of PyTorch's each; kept, since starting them costs as much as a small step."""
    if (size, threads) not in _POOLS:
        before = torch.get_num_threads()
        pool = ThreadPoolExecutor(
            size, thread_name_prefix="part", initializer=_use_threads, initargs=(threads,)
        )
        barrier = Barrier(size)  # all of them start, and none takes two turns
        list(pool.map(lambda _: barrier.wait(), range(size)))
        torch.set_num_threads(before)  # the number is partly that of the process
        _POOLS[size, threads] = pool
    return _POOLS[size, threads]


def _use_threads(number: int) -> None:
    torch.set_num_threads(number)
    torch.ones(100_000).add_(
        1
    )  # a thread takes the process's number at its first use unless it has one by then
