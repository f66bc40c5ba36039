"""Recurrent backbones: an LSTM, and a reservoir that is never trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neuroformer.frames.backbones.backbone import Backbone


class LSTM(Backbone):
    """An LSTM that starts anew in every window; in both directions, half the width each, if it is not causal."""

    def __init__(self, *, width: int, layers: int, causal: bool) -> None:
        """See the class."""
        super().__init__()
        self.width, self.causal = width, causal
        hidden = width if causal else width // 2
        self.lstm = nn.LSTM(width, hidden, layers, batch_first=True, bidirectional=not causal)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, width) hidden states of tokens (B, T, width)."""
        found: Tensor = self.lstm(x)[0]
        return found


class Reservoir(Backbone):
    """A leaky echo state network (Jaeger 2001, GMD report 148): fixed random weights, a trained readout elsewhere.

    Args:
        width: units of the network, and of its input.
        radius: spectral radius of the recurrent weights.
        leak: part of the state that is new in each frame.
    """

    causal = True

    def __init__(self, *, width: int, radius: float, leak: float) -> None:
        """See the class."""
        super().__init__()
        self.width, self.leak = width, leak
        weight = torch.randn(width, width) / width**0.5
        weight = weight * (radius / torch.linalg.eigvals(weight).abs().max())
        self.register_buffer("weight", weight)
        self.weight: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, width) states of tokens (B, T, width), from rest at the start of each window."""
        state = torch.zeros_like(x[:, 0])
        states = []
        for k in range(x.shape[1]):
            state = (1 - self.leak) * state + self.leak * torch.tanh(x[:, k] + state @ self.weight.T)
            states.append(state)
        return torch.stack(states, 1)
