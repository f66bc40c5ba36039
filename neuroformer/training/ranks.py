"""The processes of one training: sums over them, seeds, and which rows of a batch are whose."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor


def rank_and_world() -> tuple[int, int]:
    """Number of this process and how many there are: (0, 1) where there is one."""
    return (
        (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)
    )


def starts_first() -> bool:
    """Whether this process is the first of a training, before the processes know of one another.

    It goes by what torchrun, SLURM and Lightning's launcher tell them. The others leave the run's folder alone: they
    would take the first one's half-written files for leftovers.
    """
    for name in ("RANK", "SLURM_PROCID"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name]) == 0
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK"))


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed the generators of the CPU and of the device that trains.

    `torch.manual_seed` seeds every kind of device that there could be; for each that is absent it notes the call and
    its whole stack for later, which takes as long as the optimiser's step of a small model.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def sum_over_ranks(values: Sequence[float], device: torch.device) -> list[float]:
    """Sums of what each process brings, the same in all of them; in float64.

    Args:
        values: this process's numbers.
        device: where the processes exchange tensors.
    """
    if rank_and_world()[1] == 1:
        return list(values)
    found = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(found)
    return [float(value) for value in found]


def union_over_ranks(numbers: Tensor, n: int) -> Tensor:
    """The numbers below n that any process brings, rising."""
    if rank_and_world()[1] == 1:
        return numbers.unique()
    there = torch.zeros(n, dtype=torch.int32, device=numbers.device)
    there[numbers] = 1
    dist.all_reduce(there, op=dist.ReduceOp.MAX)
    return there.nonzero().squeeze(1)


def step_seed(seed: int, step: int, rank: int = 0) -> int:
    """Seed of one step's randomness: the same in every process, at any time, on any machine.

    It is Python's hash of a tuple of integers, which no environment variable changes (only text is hashed with a
    secret). What is drawn of it is a function of (seed, step, rank) alone, so that no state of a generator has to
    be kept for a run to go on.
    """
    return hash((seed, step, rank)) % 2**63
