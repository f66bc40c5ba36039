"""All saliences of one fitted model, per unit and over time.

Legend: B windows, T frames, N units, D numbers that a model predicts.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from neuroformer.salience.attention import attention_salience
from neuroformer.salience.attribution import (
    Windows,
    gradient_times_input,
    integrated_gradients,
    occlusion,
    predict_at,
)

SHOWN = 30
"""Units whose course over time is kept."""


class Explained(Protocol):
    """A model that is explained."""

    def __call__(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        """(B, T, D) predictions of frames (B, T, N), of which some may be unseen (B, T)."""

    def attention(self, x: Tensor, seen: Tensor | None = None) -> tuple[Tensor, Tensor] | None:
        """(B, layers, T, T) attention weights at frames (B, T, N) and (N,) loudness of units, if there are any."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Salience:
    """One way of telling how salient units are, for one target.

    Attributes:
        units: (N,) mean over windows of the size of a unit's contribution, summed over the frames of a window.
        signed: (B, N) contribution of each unit to each explained prediction; of attention, its size.
        by_lag: (2 T − 1, N) mean size by the frame's place relative to the one that is predicted, from T − 1 frames
            before to T − 1 after; None of occlusion, which knows no frames.
        residual: median error of completeness, relative to the median change of a prediction; None where a method
            promises none.
        n_windows: B.
    """

    units: np.ndarray
    signed: np.ndarray
    by_lag: np.ndarray | None
    residual: float | None
    n_windows: int


def explain(
    model: Explained,
    windows: Windows,
    columns: Sequence[int],
    *,
    saliences: Sequence[str],
    steps: int,
    max_occlusions: int,
    batch: int = 64,
) -> dict[str, Salience]:
    """Saliences by name; those that a model has none of are left out.

    Args:
        model: differentiable.
        windows: what is explained.
        columns: numbers of the target; sizes are summed over them, signed contributions are of the first.
        saliences: which.
        steps: of integrated gradients.
        max_occlusions: windows with a unit occluded, at most.
        batch: windows at once.
    """
    found = {}
    if "gradient" in saliences:
        each = [gradient_times_input(model, windows, c, batch=batch) for c in columns]
        found["gradient"] = _over_frames(each, windows.position)
    if "integrated" in saliences:
        each = [integrated_gradients(model, windows, c, steps=steps, batch=batch) for c in columns]
        found["integrated"] = _over_frames(each, windows.position, _residual(model, windows, each, columns))
    rows = spread(len(windows), max_occlusions // windows.x.shape[2])
    if "occlusion" in saliences and len(rows):
        part = windows.rows(rows)
        change = occlusion(model, part, batch=batch)[:, :, list(columns)].double().cpu().numpy()  # (B, N, D)
        found["occlusion"] = Salience(
            units=np.abs(change).sum(2).mean(0), signed=change[:, :, 0], by_lag=None, residual=None,
            n_windows=len(rows),
        )  # fmt: skip
    if "attention" in saliences:
        with torch.no_grad():
            there = (
                model.attention(windows.x)
                if windows.seen is None
                else model.attention(windows.x, windows.seen)
            )
            if there is not None:
                value = attention_salience(there[0], windows.x, windows.position, there[1])
                found["attention"] = _over_frames([value], windows.position)
    return found


def spread(n: int, most: int) -> Tensor:
    """Indices of up to `most` of n things, evenly spaced."""
    k = max(0, min(n, most))
    return (
        torch.from_numpy(np.unique(np.linspace(0, n - 1, k).round().astype(np.int64)))
        if k
        else torch.empty(0)
    )


def shuffled(model: Any, module: nn.Module, shuffle: Callable[[nn.Module, int], None], seed: int) -> Any:
    """The same model with its weights permuted within each matrix, for the check that salience depends on them.

    Adebayo et al. 2018 (arXiv 1810.03292).

    Args:
        model: a dataclass with an attribute `module`.
        module: that attribute.
        shuffle: permutes in place.
        seed: of the permutations.
    """
    other = copy.deepcopy(module)
    shuffle(other, seed)
    return replace(model, module=other)


def _over_frames(each: Sequence[Tensor], position: Tensor, residual: float | None = None) -> Salience:
    """Sums over frames and targets, and the course over frames, of (B, T, N) contributions to every number."""
    size = torch.stack([e.abs() for e in each]).sum(0)
    b, t, n = size.shape
    total = torch.zeros(2 * t - 1, n)
    count = torch.zeros(2 * t - 1, 1)
    for p in range(t):
        rows = position == p
        if rows.any():
            total[t - 1 - p : 2 * t - 1 - p] += size[rows].sum(0).cpu()
            count[t - 1 - p : 2 * t - 1 - p] += int(rows.sum())
    return Salience(
        units=size.sum(1).mean(0).double().cpu().numpy(),
        signed=each[0].sum(1).double().cpu().numpy(),
        by_lag=(total / count.clamp(min=1)).double().numpy(),
        residual=residual,
        n_windows=b,
    )


@torch.no_grad()
def _residual(model: Explained, windows: Windows, each: Sequence[Tensor], columns: Sequence[int]) -> float:
    at_mean = replace(windows, x=torch.zeros_like(windows.x))
    change = (predict_at(model, windows) - predict_at(model, at_mean))[:, list(columns)]
    said = torch.stack([e.sum((1, 2)) for e in each], 1)
    usual = float(change.abs().median())
    return float((change - said).abs().median()) / usual if usual > 0 else math.nan
