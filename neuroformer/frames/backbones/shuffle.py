"""Weights permuted within each matrix: their distribution stays to the last bit, what they have learned goes."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def shuffle_weights(model: nn.Module, seed: int) -> None:
    """Permute the entries of every parameter with two or more dimensions, in place; vectors stay as they are.

    Args:
        model: whose weights.
        seed: of the permutations.
    """
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.ndim >= 2:
            order = torch.randperm(parameter.numel(), generator=generator)
            flat = parameter.detach().flatten().cpu()[order]
            parameter.copy_(flat.view(parameter.shape))
