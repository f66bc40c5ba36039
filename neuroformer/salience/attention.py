"""Attention as salience: a rollout over layers says how much a frame is looked at, the embedding how loud each unit is.

Attention knows frames, not units. What is made of it here is a rough guess by design: the rolled-out weight of a frame,
times the size of what each unit adds to that frame's token. It is the same for all numbers of a prediction, and knows
nothing of what the model does with a token's direction.

Legend: B windows, L layers, T frames, N units.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rollout(weights: Tensor) -> Tensor:
    """(B, T, T) attention through all layers, half of it staying where it is in each.

    Abnar & Zuidema 2020 (arXiv 2005.00928).

    Args:
        weights: (B, L, T, T) of each layer, mean over heads; rows (queries) sum to 1.
    """
    eye = torch.eye(weights.shape[-1], dtype=weights.dtype, device=weights.device)
    total = eye.expand(len(weights), -1, -1)
    for layer in weights.unbind(1):
        total = (layer + eye) / 2 @ total
    return total


def attention_salience(weights: Tensor, x: Tensor, position: Tensor, loudness: Tensor) -> Tensor:
    """(B, T, N) never negative.

    Args:
        weights: (B, L, T, T) of each layer.
        x: (B, T, N) standardised frames.
        position: (B,) the frame of each window that is explained.
        loudness: (N,) length of what a unit adds to a token when it is one standard deviation above its mean.
    """
    row = rollout(weights)[torch.arange(len(x)), position]  # (B, T)
    return row[:, :, None] * x.abs() * loudness
