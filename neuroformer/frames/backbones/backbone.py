"""What every backbone is."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Backbone(nn.Module):
    """From tokens (B, T, width) to hidden states (B, T, width).

    A frame without any value has a token of its own (`FrameEmbedding.missing`), so that there is no mask.

    Attributes:
        width: of a token and of a hidden state.
        causal: whether a hidden state depends on its own token and on those before it alone.
        input_scale: standard deviation of the entries of the tokens that the backbone is used to.
    """

    width: int
    causal: bool
    input_scale: float = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, width) hidden states of tokens (B, T, width)."""
        raise NotImplementedError

    def attention(self, x: Tensor) -> Tensor | None:
        """(B, layers, T, T) attention weights at tokens (B, T, width), mean over heads; None if there is none."""
        return None


@torch.no_grad()
def looks_ahead(backbone: Backbone) -> bool:
    """Whether a hidden state depends on later tokens; found by changing one, not by what a configuration says."""
    training = backbone.training
    backbone.eval()
    device = next((p.device for p in backbone.parameters()), torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    tokens = backbone.input_scale * torch.randn(2, 1, 6, backbone.width, generator=generator)
    x, other = tokens.to(device)
    changed = torch.cat([x[:, :3], other[:, 3:]], 1)
    a, b = backbone(x)[:, :3], backbone(changed)[:, :3]
    backbone.train(training)
    return bool((a - b).abs().max() > 1e-3 * a.abs().max())
