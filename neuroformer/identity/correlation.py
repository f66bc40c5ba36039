"""Correlations by lag over stretches of time, with missing samples left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def standardize(stretches: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Each column to mean 0 and variance 1 over all stretches, missing samples to 0; and where samples are known.

    Args:
        stretches: (T_k, A) each, NaN where missing. A column that does not vary becomes 0.

    Returns:
        (T_k, A) standardised and (T_k, A) 1.0 where known, per stretch.
    """
    pooled = np.concatenate(list(stretches))
    known = np.isfinite(pooled)
    count = known.sum(0).clip(1)
    mean = np.where(known, pooled, 0).sum(0) / count
    spread = np.sqrt((np.where(known, pooled - mean, 0) ** 2).sum(0) / count)
    scale = np.where(spread > 1e-12 * np.abs(mean), spread, np.inf)
    return (
        [np.where(np.isfinite(x), (x - mean) / scale, 0.0) for x in stretches],
        [np.isfinite(x).astype(float) for x in stretches],
    )


def lagged_correlation(a: Sequence[np.ndarray], b: Sequence[np.ndarray], lag: int = 0) -> np.ndarray:
    """(A, B) correlation of a(t) with b(t + lag), moments from all stretches together, no pair across two stretches.

    Args:
        a: (T_k, A) per stretch, NaN where missing.
        b: (T_k, B) per stretch.
        lag: samples; below 0, b comes first.
    """
    (za, ka), (zb, kb) = standardize(a), standardize(b)
    total, count = 0.0, 0.0
    for x, known_x, y, known_y in zip(za, ka, zb, kb, strict=True):
        n = len(x) - abs(lag)
        if n <= 0:
            continue
        early, late = (
            (slice(0, n), slice(len(x) - n, None)) if lag >= 0 else (slice(len(x) - n, None), slice(0, n))
        )
        total = total + x[early].T @ y[late]
        count = count + known_x[early].T @ known_y[late]
    if np.isscalar(total):
        return np.full((a[0].shape[1], b[0].shape[1]), np.nan)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def paired_correlation(a: Sequence[np.ndarray], b: Sequence[np.ndarray], lag: int) -> np.ndarray:
    """(N,) correlation of column i of a(t) with column i of b(t + lag)."""
    (za, ka), (zb, kb) = standardize(a), standardize(b)
    total, count = np.zeros(a[0].shape[1]), np.zeros(a[0].shape[1])
    for x, known_x, y, known_y in zip(za, ka, zb, kb, strict=True):
        n = len(x) - abs(lag)
        if n > 0:
            first, second = (0, lag) if lag >= 0 else (-lag, 0)
            total += (x[first : first + n] * y[second : second + n]).sum(0)
            count += (known_x[first : first + n] * known_y[second : second + n]).sum(0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
