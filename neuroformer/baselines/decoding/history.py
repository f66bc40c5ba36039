"""Lagged features: sums of each unit over stretches of a window that ends with, or is centred on, a bin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class History:
    """A window of time.

    Attributes:
        window: bins of the window, the bin itself included.
        taps: equal stretches of the window; each gives a feature per unit, the nearest stretch first.
        centered: (window − 1) // 2 of the bins lie after the bin, instead of none.
    """

    window: int
    taps: int = 1
    centered: bool = False

    def __post_init__(self) -> None:
        assert self.window % self.taps == 0

    @property
    def ahead(self) -> int:
        """Bins after the bin."""
        return (self.window - 1) // 2 if self.centered else 0

    def rows(self, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """(len(rows), taps · N) float64 sums; bins outside the stretch count as 0.

        Args:
            x: (T, N) features of a stretch.
            rows: bins to give the features of.
        """
        total = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(x, axis=0, dtype=np.float64)])
        step = self.window // self.taps
        edges = [np.clip(rows + 1 + self.ahead - k * step, 0, len(x)) for k in range(self.taps + 1)]
        return np.concatenate([total[edges[k]] - total[edges[k + 1]] for k in range(self.taps)], axis=1)

    def exposure(self, n_bins: int, rows: np.ndarray) -> np.ndarray:
        """(len(rows),) bins of the window that lie inside a stretch of `n_bins`."""
        stop = np.clip(rows + 1 + self.ahead, 0, n_bins)
        return stop - np.clip(rows + 1 + self.ahead - self.window, 0, n_bins)


def histories(
    windows_s: Sequence[float], taps: Sequence[int], *, bin_s: float, centered: bool
) -> list[History]:
    """All combinations, each once; a window is rounded up to a multiple of the taps, and has no more than its bins.

    Args:
        windows_s: lengths in seconds.
        taps: numbers of stretches.
        bin_s: width of a bin in seconds.
        centered: as in `History`.
    """
    found: list[History] = []
    for window_s in windows_s:
        bins = max(1, round(window_s / bin_s))
        for n in taps:
            n = min(n, bins)
            history = History(window=-(-bins // n) * n, taps=n, centered=centered)
            if history not in found:
                found.append(history)
    return found


class Scaler:
    """Mean and scale of each unit over all bins, labelled or not.

    A unit that is nearly silent would have its few events blown up, so no scale is below a quarter of the units'
    root mean square, and a unit without any variance keeps its 0.
    """

    def __init__(self, x: Sequence[np.ndarray]) -> None:
        """Args: `x`, (T, N) features of each stretch."""
        n = sum(map(len, x))
        self.mean = sum(part.sum(0, dtype=np.float64) for part in x) / n
        variance = sum(((part - self.mean) ** 2).sum(0) for part in x) / n
        typical = np.sqrt(variance.mean())
        self.scale = np.maximum(np.sqrt(variance), 0.25 * typical) if typical > 0 else np.ones_like(variance)

    def __call__(self, x: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Standardised features, float64."""
        return [(part - self.mean) / self.scale for part in x]
