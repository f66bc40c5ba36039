"""The state of a reservoir as features of a ridge regression."""

from __future__ import annotations

import numpy as np
import torch

from neuroformer.frames.backbones import Backbone, build_backbone
from neuroformer.frames.linear import Features
from neuroformer.frames.session import Stretch
from neuroformer.frames.windows import led_frames
from neuroformer.settings.backbones import BackboneConfig


def draw_reservoir(n_units: int, backbone: BackboneConfig, *, seed: int) -> tuple[torch.Tensor, Backbone]:
    """(N, width) weights from units, and the network.

    Args:
        n_units: N.
        backbone: of kind `reservoir`.
        seed: of the fixed weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_backbone(backbone, seed=seed)
        return torch.randn(n_units, network.width) / max(n_units, 1) ** 0.5, network


def reservoir_features(inward: torch.Tensor, network: Backbone, *, size: int) -> Features:
    """The state at a bin after the `size` frames that end with it, from rest."""

    @torch.no_grad()
    def features(stretch: Stretch) -> np.ndarray:
        x, _ = led_frames(stretch, size - 1)
        tokens = torch.from_numpy(x) @ inward
        windows = tokens.unfold(0, size, 1).transpose(1, 2)  # (T, size, width)
        states = [network(part)[:, -1] for part in windows.split(256)]
        return torch.cat(states).double().numpy()

    return features
