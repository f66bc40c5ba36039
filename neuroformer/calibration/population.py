"""Statistics of the population as a whole, as sums over blocks of time (see `statistics`); there is one "unit"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from neuroformer.calibration.activity import Activity, Blocks
from neuroformer.calibration.statistics import Distribution, log_ratio, sum_by


@dataclass(frozen=True, kw_only=True)
class Crowd(Distribution):
    """Distribution of the number of events, or of active units, in windows.

    The distance is that of Kolmogorov and Smirnov.
    """

    width: int
    """Bins of a window."""
    of: Literal["events", "active"]
    name: str
    title: str
    per_unit: bool = False

    def sums(self, activity: Activity, blocks: Blocks) -> np.ndarray:
        """Windows in each class."""
        windows = blocks.windows(self.width)
        counts = windows.counts(activity)
        number = (counts if self.of == "events" else counts > 0).sum(1)
        kind = np.clip(np.searchsorted(self.edges, number, "right") - 1, 0, len(self.edges) - 2)
        found = np.bincount(windows.block * self.n + kind, minlength=len(blocks) * self.n)
        return found.reshape(len(blocks), 1, self.n).astype(float)


@dataclass(frozen=True, kw_only=True)
class Moments:
    """A number made of the first two moments of the counts x_i in windows; S = Σ_i x_i.

    `variation`: sd(S) / mean(S), the coefficient of variation. `synchrony`: var(S) / Σ_i var(x_i), 1 for units that
    have nothing in common (Golomb 2007, Scholarpedia 2(1):1347, has 1/N² of it under a root). `fano`: Σ_i var(x_i) /
    Σ_i mean(x_i). `correlation`: mean over pairs of cov(x_i, x_j), over mean of var(x_i), that is
    (synchrony − 1) / (N − 1). The distance is |log a − log b|, of correlations |a − b|.
    """

    width: int
    """Bins of a window."""
    of: Literal["variation", "synchrony", "fano", "correlation"]
    name: str
    title: str
    per_unit: bool = False

    def sums(self, activity: Activity, blocks: Blocks) -> np.ndarray:
        """Windows, ΣS, ΣS², Σx_i and Σx_i² of each unit."""
        windows = blocks.windows(self.width)
        return sum_by(windows.block, moments(windows.counts(activity)), len(blocks))[:, None]

    def value(self, sums: np.ndarray) -> np.ndarray:
        """The number."""
        return from_moments(sums, self.of)[..., None]

    def distance(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """|log a − log b|, of correlations |a − b|."""
        return np.abs(a - b)[..., 0] if self.of == "correlation" else log_ratio(a, b)[..., 0]


def moments(counts: np.ndarray) -> np.ndarray:
    """(W, 3 + 2N) from counts (W, N): 1, S, S², x_i, x_i²."""
    counts = counts.astype(float)
    total = counts.sum(1, keepdims=True)
    return np.concatenate([np.ones_like(total), total, total**2, counts, counts**2], 1)


def from_moments(
    sums: np.ndarray, of: Literal["variation", "synchrony", "fano", "correlation"]
) -> np.ndarray:
    """(...,) from sums (..., 3 + 2N) of `moments`; NaN where nothing varies."""
    n, total, squares = (sums[..., k] for k in range(3))
    n_units = (sums.shape[-1] - 3) // 2
    each, each_squares = sums[..., 3 : 3 + n_units], sums[..., 3 + n_units :]
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = (squares - total**2 / n) / (n - 1)
        own = ((each_squares - each**2 / n[..., None]) / (n - 1)[..., None]).sum(-1)
        if of == "variation":
            found = np.sqrt(np.maximum(variance, 0)) / (total / n)
        elif of == "synchrony":
            found = variance / own
        elif of == "fano":
            found = own / (total / n)
        else:
            found = (variance / own - 1) / (n_units - 1)
    return np.where(np.isfinite(found) & (n > 1), found, np.nan)
