"""`torch.compile` for the part of a training step that gains by it: the transformer blocks.

A block is norms, products, rotations, an activation and dropout over all event tokens, and its shapes differ from
batch to batch in one size, the number of tokens: one compilation serves all of training, and all blocks of a model. The
attention within it goes by blocks of queries whose number of keys changes with every batch, and the rest of the step
asks the data how to go on (which sessions, which events share a bin): compiling these takes longer than it saves.

Only training is compiled. Evaluation promises intensities that are the same to the last bit whatever else is in the
batch, and stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from neuroformer.errors import UserError
from neuroformer.model.attention import Attend, Block, Rotation

# Dropout as PyTorch draws it without compiling, so that a step can be repeated.
_OPTIONS: dict[str, Any] = {"fallback_random": True}


@contextmanager
def compiled_blocks(model: nn.Module, device: torch.device) -> Iterator[None]:
    """While the context lasts, the blocks of a model are compiled in training. Parameters and their names stay.

    Args:
        model: any model with blocks, or without.
        device: where it will train.

    Raises:
        UserError: PyTorch cannot compile here.
    """
    blocks = [module for module in model.modules() if isinstance(module, Block)]
    if blocks:
        check_compiler(device)
    for block in blocks:
        # Beside the parameters, not among them: what is set on an instance hides the method of its class.
        object.__setattr__(block, "packed", _in_training(block))
    try:
        yield
    finally:
        for block in blocks:
            del block.__dict__["packed"]


def check_compiler(device: torch.device) -> None:
    """Compile something small.

    Raises:
        UserError: there is no compiler that PyTorch can use.
    """
    try:
        torch.compile(lambda x: (x + 1).exp())(torch.ones(8, device=device))
    except Exception as error:  # of a dozen kinds, by what is missing
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"compile=true: PyTorch cannot compile for {device.type} here ({reason}); install a C++ compiler (g++), "
            "or name one in the environment variable CXX; or use compile=false"
        ) from error


def _in_training(block: Block) -> Any:
    as_it_was = block.packed
    fast = torch.compile(block.plain, dynamic=True, options=_OPTIONS)

    def packed(x: Tensor, rotation: Rotation, attend: Attend) -> Tensor:
        if not block.training:
            return as_it_was(x, rotation, attend)
        found: Tensor = fast(x, rotation.cos, rotation.sin, torch.compiler.disable(attend))
        return found

    return packed
