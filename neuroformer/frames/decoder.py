"""A decoder of frames: embedding, backbone, head.

Legend: B rows, T frames of a window, N units, W width of a token, D numbers of all targets.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neuroformer.frames.backbones import Backbone
from neuroformer.frames.embedding import FrameEmbedding


class FrameDecoder(nn.Module):
    """Predicts all targets at every frame of a window.

    Args:
        embedding: of a frame.
        backbone: between the tokens and the head.
        n_targets: D.
        gaussian: whether a spread is predicted too.
    """

    def __init__(
        self, embedding: FrameEmbedding, backbone: Backbone, n_targets: int, *, gaussian: bool
    ) -> None:
        """See the class."""
        super().__init__()
        self.embedding, self.backbone = embedding, backbone
        # Hidden states of checkpoints differ in size by orders of magnitude: the head sees all at the same one.
        self.norm = nn.LayerNorm(backbone.width, elementwise_affine=False)
        self.n_targets = n_targets
        self.head = nn.Linear(backbone.width, n_targets * (2 if gaussian else 1))
        nn.init.normal_(self.head.weight, std=0.1 / backbone.width**0.5)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor | None]:
        """Predictions and, with a Gaussian head, logs of their spreads: (B, T, D) each, standardised.

        Args:
            x: (B, T, N) standardised frames; gradients with respect to it are defined.
            seen: (B, T) bool, false where a frame has no value of any unit.
        """
        found = self.head(self.norm(self.backbone(self.embedding(x, seen))))
        mean = found[..., : self.n_targets]
        return mean, found[..., self.n_targets :] if found.shape[-1] > self.n_targets else None

    def loss(self, x: Tensor, seen: Tensor, y: Tensor, known: Tensor) -> Tensor:
        """Mean over the known targets (B, T, D) of the squared error, or of the nats of a normal distribution."""
        mean, log_spread = self(x, seen)
        if log_spread is None:
            cells = F.mse_loss(mean, y, reduction="none")
        else:
            log_spread = log_spread.clamp(-4, 4)
            cells = 0.5 * ((y - mean) / log_spread.exp()) ** 2 + log_spread + 0.5 * math.log(2 * math.pi)
        found: Tensor = torch.where(known, cells, 0).sum() / known.sum().clamp(min=1)
        return found
