"""The project's own transformer blocks over frames, with rotary position on the number of the frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neuroformer.frames.backbones.backbone import Backbone
from neuroformer.model.attention import Block, rotary_angles

_LONGEST = 256.0  # frames of the longest rotary period


class TrunkBackbone(Backbone):
    """Pre-norm blocks and a last norm.

    Args:
        width: of a token.
        layers: blocks.
        heads: attention heads.
        causal: whether a frame looks at itself and earlier ones alone.
    """

    def __init__(self, *, width: int, layers: int, heads: int, causal: bool) -> None:
        """See the class."""
        super().__init__()
        self.width, self.causal = width, causal
        self.n_pairs = width // heads // 2
        self.blocks = nn.ModuleList(Block(width=width, heads=heads) for _ in range(layers))
        self.norm = nn.RMSNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, width) hidden states of tokens (B, T, width)."""
        angles, mask = self._surroundings(x)
        for block in self.blocks:
            x = block(x, angles, mask)
        found: Tensor = self.norm(x)
        return found

    def attention(self, x: Tensor) -> Tensor:
        """(B, layers, T, T) attention weights at tokens (B, T, width), mean over heads."""
        angles, mask = self._surroundings(x)
        found = []
        for block in self.blocks:
            assert isinstance(block, Block)
            found.append(block.weights(x, angles, mask).mean(1))
            x = block(x, angles, mask)
        return torch.stack(found, 1)

    def _surroundings(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Rotary angles of the frames, and which frame may look at which."""
        n = x.shape[1]
        angles = rotary_angles(torch.arange(n, device=x.device)[None], self.n_pairs, _LONGEST)
        mask = torch.ones(1, 1, n, n, dtype=torch.bool, device=x.device)
        return angles, mask.tril() if self.causal else mask
