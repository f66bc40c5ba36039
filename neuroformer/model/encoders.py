"""Encoders of stimulus and behaviour: values of a variable → tokens of one width.

Legend: B rows, T bins, S frames, D dimensions of a variable, K basis functions, W width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class VariableShape:
    """What the model must know of a variable to make room for it.

    Attributes:
        name: of the variable.
        kind: continuous, categorical or frames.
        shape: (D,) of a continuous variable, (C, H, W) of frames.
        n_labels: of a categorical variable.
        period: a full turn of a circular variable, in its unit.
        mean: (D,) in its unit, or of all pixels.
        scale: (D,) standard deviation, likewise.
        lower: (D,) lower limit of the range.
        upper: (D,) upper limit.
        functions: basis functions per dimension.
        horizon: bins back that the model looks at it; 0 for the present alone.
        is_input: whether events may be predicted from it.
        is_decoded: whether it is predicted from events.
        encoder: conv or patches, for frames.
        source: where it is read: behavior, stimulus or trials.
        stays: bins that a frame stays at most; frames further apart are not seen as one after the other. None: any.
    """

    name: str
    kind: str
    shape: tuple[int, ...] = ()
    n_labels: int = 0
    period: float | None = None
    mean: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)
    lower: tuple[float, ...] = (0.0,)
    upper: tuple[float, ...] = (1.0,)
    functions: int = 16
    horizon: int = 0
    is_input: bool = True
    is_decoded: bool = True
    encoder: str = "conv"
    source: str = "behavior"
    stays: int | None = None


class BumpEncoder(nn.Module):
    """Continuous variables: Gaussian bumps over the range, a bump wide and as many apart, then linear.

    The bumps are normalised (they sum to 1), so that the range's ends are no dimmer than its middle.
    """

    def __init__(self, shape: VariableShape, width: int) -> None:
        super().__init__()
        n = shape.functions
        self.register_buffer("lower", torch.tensor(shape.lower, dtype=torch.get_default_dtype()))
        self.register_buffer("upper", torch.tensor(shape.upper, dtype=torch.get_default_dtype()))
        self.register_buffer("centre", torch.linspace(0, 1, n))
        self.lower: Tensor
        self.upper: Tensor
        self.centre: Tensor
        self.linear = nn.Linear(shape.shape[0] * n, width)
        # Neighbouring bumps of height .4, .24, .05 make a vector of length .53: tokens of variance about 1.
        nn.init.normal_(self.linear.weight, std=1.9 * shape.shape[0] ** -0.5)
        nn.init.zeros_(self.linear.bias)

    def forward(self, values: Tensor) -> Tensor:
        """(..., D) in the variable's unit → (..., W)."""
        place = ((values - self.lower) / (self.upper - self.lower)).clamp(0, 1).unsqueeze(-1)
        bumps = (-0.5 * ((place - self.centre) * (len(self.centre) - 1)) ** 2).softmax(-1)
        found: Tensor = self.linear(bumps.flatten(-2))
        return found


class HarmonicEncoder(nn.Module):
    """Circular variables: cosines and sines of 1 … K / 2 turns, then linear."""

    def __init__(self, shape: VariableShape, width: int) -> None:
        super().__init__()
        assert shape.period is not None
        self.period = shape.period
        n = max(1, shape.functions // 2)
        self.register_buffer("harmonic", torch.arange(1, n + 1, dtype=torch.get_default_dtype()))
        self.harmonic: Tensor
        self.linear = nn.Linear(shape.shape[0] * 2 * n, width)
        # Of a smooth function the higher harmonics are the smaller ones.
        weight = (1 / self.harmonic).repeat(2 * shape.shape[0])
        nn.init.normal_(self.linear.weight)
        self.linear.weight.data *= weight * shape.shape[0] ** -0.5
        nn.init.zeros_(self.linear.bias)

    def forward(self, values: Tensor) -> Tensor:
        """(..., D) in the variable's unit → (..., W)."""
        angle = (2 * math.pi / self.period) * values.unsqueeze(-1) * self.harmonic
        found: Tensor = self.linear(torch.cat([angle.cos(), angle.sin()], -1).flatten(-2))
        return found


class FrameConvolution(nn.Module):
    """Frames: a 3-D convolution that sees a frame and the two before it, two strided ones in space, then linear.

    One token per frame.
    """

    def __init__(self, shape: VariableShape, width: int, channels: int = 16) -> None:
        super().__init__()
        self.mean, self.scale, self.stays = shape.mean[0], shape.scale[0], shape.stays
        self.time = nn.Conv3d(shape.shape[0], channels, (3, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
        self.space = nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(4)  # a 4 × 4 map, so that place is kept
        self.linear = nn.Linear(2 * channels * 16, width)

    def forward(self, values: Tensor, bins: Tensor | None = None, known: Tensor | None = None) -> Tensor:
        """(B, S, C, H, W), (B, S) bins in order of time and whether each is known → (B, S, 1, W).

        Where there is no frame shortly before one, it stands for those before it.
        """
        x = ((values - self.mean) / self.scale).flatten(0, 1)
        n_rows, n_frames = values.shape[:2]
        before = self._before(values, bins, known)
        # The convolution over three frames, one after the other: a frame's neighbours in time need not be those in the
        # stack.
        oldest, older, own = (F.conv2d(x, self.time.weight[:, :, k], stride=2, padding=1) for k in range(3))
        y = own + older[before] + oldest[before[before]]
        assert self.time.bias is not None
        x = F.gelu(y + self.time.bias[:, None, None])
        x = self.pool(F.gelu(self.space(x))).flatten(1)
        found: Tensor = self.linear(x).view(n_rows, n_frames, 1, -1)
        return found

    def _before(self, values: Tensor, bins: Tensor | None, known: Tensor | None) -> Tensor:
        """(B · S,) place of the frame before each, its own where there is none."""
        n_rows, n_frames = values.shape[:2]
        there = torch.ones(n_rows, n_frames, dtype=torch.bool, device=values.device)
        there[:, :1] = False
        if known is not None:
            there[:, 1:] &= known[:, :-1]
        if bins is not None and self.stays is not None:
            there[:, 1:] &= bins.diff(dim=1) <= self.stays
        return torch.arange(n_rows * n_frames, device=values.device) - there.flatten().long()


class FramePatches(nn.Module):
    """Frames: P patches of a quarter of each side, linear, with an embedding of the place. P = 16 tokens per frame."""

    def __init__(self, shape: VariableShape, width: int) -> None:
        super().__init__()
        self.mean, self.scale = shape.mean[0], shape.scale[0]
        n_channels, height, wide = shape.shape
        self.size = (max(1, math.ceil(height / 4)), max(1, math.ceil(wide / 4)))
        self.padding = (0, 4 * self.size[1] - wide, 0, 4 * self.size[0] - height)
        self.linear = nn.Linear(n_channels * self.size[0] * self.size[1], width)
        self.place = nn.Parameter(0.02 * torch.randn(16, width))

    def forward(self, values: Tensor, bins: Tensor | None = None, known: Tensor | None = None) -> Tensor:
        """(B, S, C, H, W) → (B, S, 16, W); each frame for itself."""
        x = F.pad((values - self.mean) / self.scale, self.padding)
        x = x.unflatten(-1, (4, self.size[1])).unflatten(-3, (4, self.size[0]))  # (B, S, C, 4, h, 4, w)
        x = x.permute(0, 1, 3, 5, 2, 4, 6).flatten(4).flatten(2, 3)
        found: Tensor = self.linear(x) + self.place
        return found


def make_encoder(shape: VariableShape, width: int) -> nn.Module:
    """The encoder of a variable."""
    if shape.kind == "frames":
        return FrameConvolution(shape, width) if shape.encoder == "conv" else FramePatches(shape, width)
    if shape.kind == "categorical":
        return nn.Embedding(shape.n_labels, width)
    return HarmonicEncoder(shape, width) if shape.period is not None else BumpEncoder(shape, width)
