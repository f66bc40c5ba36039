"""From the frame of a population to a token.

Legend: B rows, T frames, N units, W width of a token.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


class FrameEmbedding(nn.Module):
    """A linear map of all units, or of each region's units to a few numbers and of these.

    Args:
        regions: (N,) number of the region of each unit.
        width: W.
        scale: standard deviation of a token's entries before training, that of the backbone's own tokens.
        region_width: numbers that a region is reduced to; None maps all units at once.
        dropout: on the units, in training.
    """

    def __init__(
        self, regions: np.ndarray, width: int, *, scale: float, region_width: int | None, dropout: float
    ) -> None:
        """See the class."""
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.missing = nn.Parameter(torch.zeros(width))
        self.groups = [np.arange(len(regions))]
        if region_width is not None:
            self.groups = [np.flatnonzero(regions == r) for r in np.unique(regions)]
        self.maps = nn.ModuleList()
        n = len(regions)
        if region_width is not None:
            self.maps = nn.ModuleList(_linear(len(g), min(region_width, len(g)), 1.0) for g in self.groups)
            n = sum(min(region_width, len(g)) for g in self.groups)
        self.out = _linear(n, width, scale)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """(B, T, W) tokens of frames (B, T, N); where no unit was seen (B, T), a learned token of its own."""
        x = self.dropout(x)
        if self.maps:
            x = torch.cat([f(x[..., g]) for f, g in zip(self.maps, self.groups, strict=True)], -1)
        return torch.where(seen[..., None], self.out(x), self.missing)

    def loudness(self) -> Tensor:
        """(N,) length of what each unit adds to a token for every standard deviation above its mean."""
        if not self.maps:
            return self.out.weight.norm(dim=0)
        found = self.out.weight.new_zeros(sum(map(len, self.groups)))
        first = 0
        for f, group in zip(self.maps, self.groups, strict=True):
            assert isinstance(f, nn.Linear)
            whole = self.out.weight[:, first : first + f.out_features] @ f.weight
            found[torch.from_numpy(group).to(found.device)] = whole.norm(dim=0)
            first += f.out_features
        return found


def _linear(n: int, width: int, scale: float) -> nn.Linear:
    """Inputs of variance 1 give outputs of standard deviation `scale`."""
    layer = nn.Linear(n, width)
    nn.init.normal_(layer.weight, std=scale / n**0.5)
    nn.init.zeros_(layer.bias)
    return layer
