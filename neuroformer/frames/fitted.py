"""Fitted decoders of every kind behind one face: a module from frames to targets, and predictions of a stretch.

Legend: B rows, T frames, N units, D numbers of all targets, S frames that a regression looks at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from neuroformer.frames.backbones import Backbone
from neuroformer.frames.decoder import FrameDecoder
from neuroformer.frames.session import Stretch
from neuroformer.frames.windows import led_frames, predict_stretch


class WindowRegression(nn.Module):
    """A regression on the frames around each one, zeros beyond the ends: a convolution over time.

    Args:
        weights: (S, N, D) of the frames from `before` earlier to S − 1 − `before` later.
        intercept: (D,).
        before: frames that are looked back upon.
    """

    def __init__(self, weights: np.ndarray, intercept: np.ndarray, *, before: int) -> None:
        """See the class."""
        super().__init__()
        self.before, self.after = before, len(weights) - 1 - before
        self.weights = nn.Parameter(torch.as_tensor(weights, dtype=torch.float32), requires_grad=False)
        self.intercept = nn.Parameter(torch.as_tensor(intercept, dtype=torch.float32), requires_grad=False)

    def forward(self, x: Tensor, seen: Tensor) -> tuple[Tensor, None]:
        """(B, T, D) predictions of frames (B, T, N); what was seen makes no difference."""
        lags, n, targets = self.weights.shape
        z = x @ self.weights.permute(1, 0, 2).reshape(n, lags * targets)  # (B, T, S·D)
        z = nn.functional.pad(z, (0, 0, self.before, self.after)).unflatten(-1, (lags, targets))
        parts = [z[:, k : k + x.shape[1], k] for k in range(lags)]
        return torch.stack(parts).sum(0) + self.intercept, None


class ReservoirRegression(nn.Module):
    """A regression on the state of a reservoir that starts from rest with each window.

    Args:
        inward: (N, width) fixed weights from units.
        network: the reservoir.
        weights: (width, D).
        intercept: (D,).
    """

    def __init__(self, inward: Tensor, network: Backbone, weights: np.ndarray, intercept: np.ndarray) -> None:
        """See the class."""
        super().__init__()
        self.network = network
        for name, value in (("inward", inward), ("weights", weights), ("intercept", intercept)):
            setattr(self, name, nn.Parameter(torch.as_tensor(value).float(), requires_grad=False))

    def forward(self, x: Tensor, seen: Tensor) -> tuple[Tensor, None]:
        """(B, T, D) predictions of frames (B, T, N); what was seen makes no difference."""
        return self.network(x @ self.inward) @ self.weights + self.intercept, None  # type: ignore[operator]


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """A fitted decoder.

    Attributes:
        module: from frames (B, T, N) and whether they were seen (B, T) to predictions (B, T, D), standardised, and
            something more; in evaluation mode.
        size: frames of the windows that it is used with.
        position: the frame of a window that is predicted; None: all, and a bin's prediction is the mean of those of
            all windows that hold it.
        causal: whether a prediction depends on its own and earlier frames alone.
    """

    module: nn.Module
    size: int
    position: int | None
    causal: bool

    def __call__(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        """(B, T, D) standardised predictions of frames (B, T, N), all seen unless said (B, T); differentiable."""
        found: Tensor = self.module(x, _all(x) if seen is None else seen)[0]
        return found

    @torch.no_grad()
    def attention(self, x: Tensor, seen: Tensor | None = None) -> tuple[Tensor, Tensor] | None:
        """(B, layers, T, T) weights at frames (B, T, N), and (N,) loudness of units; None where nothing attends."""
        if not isinstance(self.module, FrameDecoder):
            return None
        embedding = self.module.embedding
        weights = self.module.backbone.attention(embedding(x, _all(x) if seen is None else seen))
        return None if weights is None else (weights, embedding.loudness())

    @property
    def device(self) -> torch.device:
        """Where the module is."""
        return next(self.module.parameters()).device

    @torch.no_grad()
    def predict(self, stretch: Stretch, *, stride: int = 1) -> np.ndarray:
        """(T, D) standardised predictions of every bin of a stretch; `stride` as in `predict_stretch`."""
        if isinstance(self.module, WindowRegression):
            x, seen = led_frames(stretch, self.module.before, self.module.after)
            at = slice(self.module.before, self.module.before + len(stretch))
            return self._predict(x[None], seen[None])[0, at]
        last = self.position is not None
        return predict_stretch(self._predict, stretch, self.size, last=last, stride=stride)

    @torch.no_grad()
    def _predict(self, x: np.ndarray, seen: np.ndarray) -> np.ndarray:
        values = torch.from_numpy(x).to(self.device), torch.from_numpy(seen).to(self.device)
        found: np.ndarray = self.module(*values)[0].double().cpu().numpy()
        return found


def _all(x: Tensor) -> Tensor:
    """(B, T) true."""
    return torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
