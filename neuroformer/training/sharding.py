"""Weights, gradients and optimiser state spread over the processes: FSDP2, through Lightning.

Lightning's own `fsdp` wraps models in PyTorch's first FSDP, which needs a GPU, cannot clip by the norm, and cannot leave
out of a step what the batch does not use. `trainer.strategy=fsdp` therefore means the strategy below: PyTorch's
`fully_shard` over the whole model, with checkpoints as one process writes them. Within a step a process holds all
weights; between steps, its share of them and of what the optimiser keeps (three times as much).
"""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn


class ShardedStrategy(ModelParallelStrategy):
    """Every process holds a share of each parameter."""

    def __init__(self) -> None:
        """See the class."""
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        """All processes share one model."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def shard(self, module: L.LightningModule) -> None:
        """Spread a module's parameters; its steps gather them first, and keep them to the end of the backward pass.

        The module is one piece, and not its parts: these are computed with outside their `forward` too (priors,
        readouts), and `forward` of a sharded part within a step would let go of what the step still needs.
        """
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

        fully_shard(module, mesh=self.device_mesh["data_parallel"], reshard_after_forward=False)
        for name in ("training_step", "validation_step"):
            register_fsdp_forward_method(module, name)


def sharded_strategy(name: Any) -> Any:
    """What `trainer.strategy` means to Lightning's Trainer."""
    return ShardedStrategy() if name == "fsdp" else name


def touch_all(loss: Tensor, model: nn.Module) -> tuple[Tensor, list[str]]:
    """Make every parameter part of a loss: sharded processes exchange the gradients of all of them at once.

    Args:
        loss: of this process.
        model: with all its parameters gathered.

    Returns:
        The same loss, of which what it did not depend on has gradient 0; and the names of the parameters that no
        process's loss depends on. Their gradient has to be taken away before the step, so that the optimiser leaves
        them, and what it keeps of them, as they are, as it does in a single process.
    """
    named = dict(model.named_parameters())
    inside = leaves_of(loss)
    used = torch.tensor([id(p) in inside for p in named.values()], dtype=torch.int32, device=loss.device)
    dist.all_reduce(used, op=dist.ReduceOp.MAX)
    loss = loss + sum((0.0 * p.sum() for p in named.values() if p.requires_grad), start=loss.new_zeros(()))
    return loss, [name for name, some in zip(named, used.tolist(), strict=True) if not some]


def leaves_of(loss: Tensor) -> set[int]:
    """The `id` of every parameter that a loss was computed from."""
    found: set[int] = set()
    seen = set()
    stack = [loss.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        stack.extend(following for following, _ in node.next_functions)
    return found
