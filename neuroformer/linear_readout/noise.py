"""Noise that remembers: a first-order autoregression, whose whitening turns least squares into generalised ones.

Errors of neighbouring bins are alike, so that n of them are worth fewer than n. With errors e(t) = ρ e(t − 1) + ν(t)
the rows y(t) − ρ y(t − 1) have independent ones (Cochrane & Orcutt 1949; the first row as Prais & Winsten 1954).
"""

from __future__ import annotations

import numpy as np


def whiten(rows: np.ndarray, bins: np.ndarray, stretch: np.ndarray, rho: float) -> np.ndarray:
    """(n, …) rows whose errors are independent, of the same variance as before whitening.

    The correlation of two rows d bins apart is ρ^d; none reaches from one stretch to another.

    Args:
        rows: (n, …) in order of stretch and bin.
        bins: (n,) bin of each row.
        stretch: (n,) stretch of each row.
        rho: correlation of the errors of neighbouring bins, in [0, 1).
    """
    if rho == 0 or not len(rows):
        return rows
    near = np.zeros(len(rows))
    follows = stretch[1:] == stretch[:-1]
    near[1:][follows] = rho ** np.diff(bins)[follows].astype(float)
    shape = (-1,) + (1,) * (rows.ndim - 1)
    before = np.concatenate([np.zeros_like(rows[:1]), rows[:-1]])
    found: np.ndarray = (rows - near.reshape(shape) * before) / np.sqrt(1 - near**2).reshape(shape)
    return found


def log_determinant(bins: np.ndarray, stretch: np.ndarray, rho: float) -> float:
    """Log-determinant of the whitening: what a density of the rows gains by it."""
    if rho == 0 or len(bins) < 2:
        return 0.0
    follows = stretch[1:] == stretch[:-1]
    near = rho ** np.diff(bins)[follows].astype(float)
    return float(-0.5 * np.log1p(-(near**2)).sum())
