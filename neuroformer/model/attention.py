"""Pre-norm transformer blocks over event tokens, with rotary position on event time.

Legend: B rows, E tokens of a row, M packed tokens, D width, H heads, C = D / H.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neuroformer.model.dropout import Dropout
from neuroformer.model.lean import is_lean, rotated_heads, with_mlp

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Queries, keys and values, each (M, H, C) → what the queries find, (M, H · C)."""


def rotary_angles(time: Tensor, n_pairs: int, longest: float) -> Tensor:
    """Angles of the rotary position embedding (Su et al. 2021, arXiv 2104.09864) at real-valued times.

    Args:
        time: (B, E) in bins.
        n_pairs: C / 2.
        longest: the longest period in bins; the shortest is 4 bins.

    Returns:
        (B, 1, E, C / 2) radians. Only differences of times matter to attention.
    """
    exponent = torch.linspace(0, 1, n_pairs, device=time.device) if n_pairs > 1 else time.new_ones(1)
    period = 4 * (max(longest, 8.0) / 4) ** exponent
    # The remainder is exact, so that an angle is as precise late in a long chunk as at its start.
    phase = time.float()[:, None, :, None].remainder(period) / period
    return 2 * math.pi * phase


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Rotate pairs of channels: (B, H, E, C) by (B, 1, E, C / 2)."""
    cos, sin = angles.cos(), angles.sin()
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """Rotary angles of packed tokens, which all blocks share.

    Attributes:
        cos: (M, 1, 1, C / 2).
        sin: likewise.
    """

    cos: Tensor
    sin: Tensor

    @classmethod
    def of(cls, angles: Tensor, dtype: torch.dtype) -> Rotation:
        """Of angles (M, C / 2)."""
        cos, sin = (z[:, None, None].to(dtype) for z in (angles.cos(), angles.sin()))
        return cls(cos=cos, sin=sin)

    @cached_property
    def turn(self) -> Tensor:
        """(M, 1, C / 2) as complex numbers."""
        return torch.complex(self.cos, self.sin).squeeze(1)


class Block(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)); both start as the identity."""

    def __init__(self, *, width: int, heads: int, dropout: float = 0.0) -> None:
        """See the class."""
        super().__init__()
        self.heads = heads
        self.dropout = Dropout(dropout)
        self.norm_attention = nn.RMSNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.norm_mlp = nn.RMSNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        nn.init.zeros_(self.out.weight)
        for parameter in self.mlp[2].parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, angles: Tensor, mask: Tensor) -> Tensor:
        """One block.

        Args:
            x: (B, E, D).
            angles: (B, 1, E, C / 2).
            mask: (B, 1, E, E) bool, true where a query (row) may look at a key (column).
        """
        return self.with_keys(x, angles, mask)[0]

    def with_keys(self, x: Tensor, angles: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `forward`, and what later tokens look at: rotated keys and values, (B, H, E, C) each."""
        q, k, v = self._heads(x, angles)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.dropout(self.out(y.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.mlp(self.norm_mlp(x))), k, v

    def packed(self, x: Tensor, rotation: Rotation, attend: Attend) -> Tensor:
        """As `forward`, for tokens without padding.

        Args:
            x: (M, D).
            rotation: of the tokens.
            attend: queries, keys, values (M, H, C) → (M, D).
        """
        if is_lean(x):
            q, k, v = rotated_heads(x, self.norm_attention, self.qkv, rotation.turn, self.heads)
            x = self.dropout.added(x, self.out(attend(q, k, v)))
            return with_mlp(x, self.norm_mlp, self.mlp, self.dropout)
        return self.plain(x, rotation.cos, rotation.sin, attend)

    def plain(self, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend) -> Tensor:
        """As `packed`, by PyTorch's modules alone."""
        z = self.qkv(self.norm_attention(x)).unflatten(-1, (3, self.heads, -1))  # (M, 3, H, C)
        a, b = z[:, :2].chunk(2, dim=-1)
        q, k = torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1).unbind(1)
        x = x + self.dropout(self.out(attend(q, k, z[:, 2])))
        return x + self.dropout(self.mlp(self.norm_mlp(x)))

    def attended(self, x: Tensor, angles: Tensor, weights: Tensor) -> Tensor:
        """The block with attention weights (B, H, E, E) given from outside, to ask what depends on them."""
        _, _, v = self._heads(x, angles)
        x = x + self.dropout(self.out((weights @ v).transpose(1, 2).flatten(2)))
        return x + self.dropout(self.mlp(self.norm_mlp(x)))

    def weights(self, x: Tensor, angles: Tensor, mask: Tensor) -> Tensor:
        """Attention weights (B, H, E, E) that `forward` uses; rows sum to 1."""
        q, k, _ = self._heads(x, angles)
        scores = (q @ k.transpose(-1, -2)) / math.sqrt(q.shape[-1])
        return scores.masked_fill(~mask, -torch.inf).softmax(-1)

    def _heads(self, x: Tensor, angles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.qkv(self.norm_attention(x)).chunk(3, dim=-1)
        q, k, v = (z.unflatten(-1, (self.heads, -1)).transpose(1, 2) for z in (q, k, v))  # (B, H, E, C)
        return rotate(q, angles), rotate(k, angles), v
