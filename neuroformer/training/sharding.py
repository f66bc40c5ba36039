"""Weights, gradients and optimiser state spread over the processes: FSDP2, through Lightning.

Lightning's own `fsdp` wraps models in PyTorch's first FSDP, which needs a GPU and refuses to clip by the norm.
`trainer.strategy=fsdp` therefore means the strategy below: PyTorch's `fully_shard` over the whole model, with
checkpoints as one process writes them. Within a step a process holds all weights; between steps its share of them and
of what the optimiser keeps (twice as much again).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from neuroformer.training.checkpoint import read_checkpoint


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

    # Checkpoints are those of a single process, so that a run can go on with any number of them. (Those of Lightning
    # number the state of the optimiser in another order, and cannot be read where a parameter was never used.)

    @property
    def lightning_restore_optimizer(self) -> bool:
        """Lightning is to ask for it."""
        return True

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """The whole model, in every process."""
        assert self.lightning_module is not None
        return {name: _gathered(value) for name, value in self.lightning_module.state_dict().items()}

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """The whole state of the optimiser, in every process."""
        state = optimizer.state_dict()
        whole = {
            k: {name: _gathered(value) for name, value in own.items()} for k, own in state["state"].items()
        }
        return {**state, "state": whole}

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint; what is in it is spread by the methods below."""
        return read_checkpoint(checkpoint_path)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Spread the weights."""
        assert self.lightning_module is not None
        own = self.lightning_module.state_dict()
        spread = {name: _spread(value, own.get(name)) for name, value in checkpoint["state_dict"].items()}
        self.lightning_module.load_state_dict(spread, strict=strict)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Spread the optimiser's state."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            spread = {
                k: {
                    name: value if name == "step" else _spread(value, parameters[k])
                    for name, value in own.items()
                }
                for k, own in state["state"].items()
            }
            optimizer.load_state_dict({**state, "state": spread})


def _gathered(value: Any) -> Any:
    return value.full_tensor().cpu() if isinstance(value, DTensor) else value


def _spread(value: Any, like: Any) -> Any:
    if not isinstance(like, DTensor) or not isinstance(value, Tensor) or value.shape != like.shape:
        return value
    value = value.to(like.device)
    # Every process has read all of it: nothing is sent.
    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)


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
