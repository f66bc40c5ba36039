"""Salience of every unit in every frame of windows, for one number of a prediction at a time.

Inputs are standardised, so that 0 is a unit's mean in training and the baseline of all methods.

Legend: B windows, T frames, N units, D numbers that a model predicts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Model = Callable[..., Tensor]
"""From frames (B, T, N), and which were seen (B, T) if the windows say so, to predictions (B, T, D)."""

_FIRST = 6  # pieces of the line that integrated gradients begin with
_LONG = 0.2  # what the length of a piece counts for, beside the change of the prediction over it


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """What is explained: in each window the prediction of one frame.

    Attributes:
        x: (B, T, N) float32, standardised.
        position: (B,) the frame of each window whose prediction is explained.
        seen: (B, T) bool, given to the model beside x; None of a model that takes x alone.
    """

    x: Tensor
    position: Tensor
    seen: Tensor | None = None

    def __len__(self) -> int:
        """Windows B."""
        return len(self.x)

    def rows(self, at: slice | Tensor) -> Windows:
        """Some of the windows."""
        seen = None if self.seen is None else self.seen[at]
        return Windows(x=self.x[at], position=self.position[at], seen=seen)


def predict_at(model: Model, windows: Windows) -> Tensor:
    """(B, D) predictions of the frames that are explained."""
    found = model(windows.x) if windows.seen is None else model(windows.x, windows.seen)
    return found[torch.arange(len(windows)), windows.position]


def gradient_times_input(model: Model, windows: Windows, column: int, *, batch: int = 64) -> Tensor:
    """(B, T, N) gradient of a prediction with respect to each input, times that input.

    It is what NLP4Neuro reads (Morra et al. 2025, arXiv 2507.02264); of a linear model, weights times input, exactly.

    Args:
        model: differentiable.
        windows: what is explained.
        column: which of the D numbers.
        batch: windows at once.
    """
    found = [
        _gradient(model, part, column) * part.x
        for part in (windows.rows(slice(k, k + batch)) for k in range(0, len(windows), batch))
    ]
    return torch.cat(found)


def integrated_gradients(
    model: Model, windows: Windows, column: int, *, steps: int = 16, batch: int = 64
) -> Tensor:
    """(B, T, N) integral of the gradient along the line from the mean to the input, times the input.

    Sundararajan, Taly & Yan 2017 (arXiv 1703.01365). The sum over frames and units is the prediction minus that at the
    mean (completeness), up to the error of the midpoint rule. Networks that normalise their tokens turn abruptly
    somewhere near the mean, so the line is cut finely where the prediction of the window changes.

    Args:
        model: differentiable.
        windows: what is explained.
        column: which of the D numbers.
        steps: pieces of the line.
        batch: windows at once.
    """
    total = torch.zeros_like(windows.x)
    for k in range(0, len(windows), batch):
        part = windows.rows(slice(k, k + batch))
        edges = _cut(model, part, column, steps)
        for low, high in zip(edges.T[:-1], edges.T[1:], strict=True):
            middle = ((low + high) / 2)[:, None, None]
            at = replace(part, x=middle * part.x)
            total[k : k + batch] += (high - low)[:, None, None] * _gradient(model, at, column)
    return total * windows.x


@torch.no_grad()
def _cut(model: Model, windows: Windows, column: int, steps: int) -> Tensor:
    """(B, steps + 1) rising from 0 to 1: pieces of each window's line over which its prediction changes alike.

    Begins with few pieces and halves the one over which the prediction changes most, until there are enough; long
    pieces count as if it changed over them a little.
    """

    def value(way: Tensor) -> Tensor:
        at = replace(windows, x=way[:, None, None] * windows.x)
        return predict_at(model, at)[:, column]

    first = torch.linspace(0, 1, min(_FIRST, steps) + 1, device=windows.x.device) ** 2
    edges = first.expand(len(windows), -1)
    values = torch.stack([value(way) for way in edges.T], 1)
    while edges.shape[1] < steps + 1:
        change = values.diff(dim=1).abs()
        change = change + _LONG * change.sum(1, keepdim=True) * edges.diff(dim=1) + 1e-12 * edges.diff(dim=1)
        largest = change.argmax(1, keepdim=True)
        middle = (edges.gather(1, largest) + edges.gather(1, largest + 1)) / 2
        edges, order = torch.cat([edges, middle], 1).sort(1)
        values = torch.cat([values, value(middle[:, 0])[:, None]], 1).gather(1, order)
    return edges


@torch.no_grad()
def occlusion(model: Model, windows: Windows, *, batch: int = 64) -> Tensor:
    """(B, N, D) prediction minus that with a unit at its mean in all frames of the window.

    Of a linear model, the unit's weights times its inputs, summed over the frames: exact.

    Args:
        model: need not be differentiable.
        windows: what is explained.
        batch: windows at once.
    """
    n = windows.x.shape[2]
    found = []
    for b in range(len(windows)):
        one = windows.rows(slice(b, b + 1))
        full = predict_at(model, one)
        parts = []
        for first in range(0, n, batch):
            units = torch.arange(first, min(n, first + batch))
            x = one.x.repeat(len(units), 1, 1)
            x[torch.arange(len(units)), :, units] = 0
            seen = None if one.seen is None else one.seen.expand(len(units), -1)
            changed = Windows(x=x, position=one.position.expand(len(units)), seen=seen)
            parts.append(full - predict_at(model, changed))
        found.append(torch.cat(parts))
    return torch.stack(found)


def _gradient(model: Model, windows: Windows, column: int) -> Tensor:
    """(B, T, N) gradient of the prediction of each window's own frame."""
    x = windows.x.detach().requires_grad_(True)
    with torch.enable_grad():
        # A window's prediction depends on no other window, so that the sum's gradient is each one's own.
        total = predict_at(model, replace(windows, x=x))[:, column].sum()
        (found,) = torch.autograd.grad(total, x)
    return found
