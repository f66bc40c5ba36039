"""Temporal basis: how activity around a bin becomes a few numbers per unit.

Legend: T bins of a stretch, N units, K basis functions, W lags of the window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class Basis:
    """Weights of the bins around a bin.

    Attributes:
        first: lag of the first bin of the window, in bins; negative lies before the bin.
        weights: (K, W), each row sums to 1.
    """

    first: int
    weights: np.ndarray

    def __len__(self) -> int:
        """Number of functions K."""
        return len(self.weights)

    @property
    def is_causal(self) -> bool:
        """Whether no bin after the bin counts."""
        return self.first + self.weights.shape[1] <= 1

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(T, N, K) weighted means; bins outside the stretch count as 0.

        Args:
            x: (T, N) activity of a stretch, NaN where missing: those bins count as 0, which is the mean of what is
                standardised.
        """
        n_bins = len(x)
        x = np.nan_to_num(x, nan=0.0)
        found = np.zeros((n_bins, x.shape[1], len(self)))
        for k in range(self.weights.shape[1]):
            lag = self.first + k
            low, high = max(0, -lag), min(n_bins, n_bins - lag)
            if low < high:
                found[low:high] += x[low + lag : high + lag, :, None] * self.weights[:, k]
        return found


def raised_cosines(*, before_s: float, after_s: float, functions: int, bin_s: float) -> Basis:
    """Overlapping bumps at equal distances over [−before_s, after_s] (Pillow et al. 2008, without the log of time).

    Args:
        before_s: seconds before the bin.
        after_s: seconds after it; 0 is causal.
        functions: number of bumps K; no more than the window has bins.
        bin_s: width of a bin, seconds.

    >>> raised_cosines(before_s=0.4, after_s=0, functions=3, bin_s=0.2).weights.round(2)
    array([[1., 0., 0.],
           [0., 1., 0.],
           [0., 0., 1.]])
    """
    before, after = round(before_s / bin_s), round(after_s / bin_s)
    lags = np.arange(-before, after + 1)
    functions = min(functions, len(lags))
    if functions == 1:
        return Basis(first=-before, weights=np.full((1, len(lags)), 1 / len(lags)))
    centres = np.linspace(-before, after, functions)
    width = centres[1] - centres[0]
    phase = np.clip((lags - centres[:, None]) / width, -1, 1) * np.pi
    bumps = 1 + np.cos(phase)
    bumps[bumps < 1e-12] = 0
    return Basis(first=-before, weights=bumps / bumps.sum(1, keepdims=True))
