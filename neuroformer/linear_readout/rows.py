"""The labelled rows of one animal, and all that a Gaussian likelihood keeps of them.

Legend: n labelled rows, N units, K features per unit, D = N·K + 1 weights, the intercept the last.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neuroformer.linear_readout.noise import log_determinant, whiten


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Features and one number to read out.

    Attributes:
        features: (n, N, K).
        y: (n,) numbers.
        bins: (n,) bin or trial of each row, rising within a stretch.
        stretch: (n,) stretch of each row.
        names: of the N units; "" where unknown.
    """

    features: np.ndarray
    y: np.ndarray
    bins: np.ndarray
    stretch: np.ndarray
    names: tuple[str, ...]

    def __len__(self) -> int:
        """Labelled rows n."""
        return len(self.y)

    def cut(self, start: int, stop: int) -> Rows:
        """Rows [start, stop)."""
        at = slice(start, stop)
        return Rows(
            features=self.features[at],
            y=self.y[at],
            bins=self.bins[at],
            stretch=self.stretch[at],
            names=self.names,
        )

    def scaled(self, mean: float, scale: float) -> Rows:
        """The same with y standardised."""
        return Rows(
            features=self.features,
            y=(self.y - mean) / scale,
            bins=self.bins,
            stretch=self.stretch,
            names=self.names,
        )


def with_intercept(features: np.ndarray) -> np.ndarray:
    """(n, D) features (n, N, K) and a column of ones."""
    return np.concatenate([features.reshape(len(features), -1), np.ones((len(features), 1))], axis=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sums:
    """Sufficient statistics of whitened rows.

    Attributes:
        gram: (D, D) ΦᵀΦ.
        cross: (D,) Φᵀy.
        square: yᵀy.
        n: rows.
        log_determinant: of the whitening.
        names: of the units.
    """

    gram: np.ndarray
    cross: np.ndarray
    square: float
    n: int
    log_determinant: float
    names: tuple[str, ...]

    @classmethod
    def of(cls, rows: Rows, rho: float) -> Sums:
        """Sum up rows whose errors have a correlation `rho` from bin to bin."""
        phi = whiten(with_intercept(rows.features), rows.bins, rows.stretch, rho)
        y = whiten(rows.y, rows.bins, rows.stretch, rho)
        return cls(
            gram=phi.T @ phi,
            cross=phi.T @ y,
            square=float(y @ y),
            n=len(y),
            log_determinant=log_determinant(rows.bins, rows.stretch, rho),
            names=rows.names,
        )
