"""Correlations of the counts of pairs of units in windows, whole or what trials of one stimulus do not share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neuroformer.calibration.activity import Activity, Windows
from neuroformer.calibration.agreement import Agreement, agreement
from neuroformer.calibration.halves import Splits
from neuroformer.calibration.statistics import sum_by


def pair_agreement(
    real: Activity, copies: Sequence[Activity], windows: Windows, splits: Splits, units: np.ndarray
) -> tuple[Agreement, np.ndarray, np.ndarray]:
    """Compare matrices of correlations.

    Args:
        real: the recording.
        copies: generated activity in the same stretches.
        windows: to count events in. Where they have conditions, the mean over windows of the same condition is taken
            away first, in the recording and in each copy by itself.
        splits: of the windows' blocks.
        units: (P,) the units to pair.

    Returns:
        How alike they are, and the matrices (P, P) of the whole recording and of all copies together.
    """
    n_blocks = splits.a.shape[1]
    sums = _sums(real, windows, units, n_blocks)
    total: np.ndarray | float = 0.0
    halves = []
    for copy in copies:
        own = _sums(copy, windows, units, n_blocks)
        total = total + own.sum(0)
        halves.append(_halves(own, splits))
    whole = correlations(sums.sum(0)), correlations(np.asarray(total))
    found = agreement(real=_halves(sums, splits), copies=halves, whole=whole, pairs=True)
    return found, *whole


def _halves(sums: np.ndarray, splits: Splits) -> tuple[np.ndarray, np.ndarray]:
    a, b = splits.of(sums)
    return correlations(a).astype(np.float32), correlations(b).astype(np.float32)


def _sums(activity: Activity, windows: Windows, units: np.ndarray, n_blocks: int) -> np.ndarray:
    """(M, P + 1, P + 1) sums over the windows of each block of the products of (1, x_1, …, x_P)."""
    counts = windows.counts(activity)[:, units].astype(float)
    if windows.condition is not None:
        counts = residual(counts, windows.condition)
    x = np.concatenate([np.ones((len(counts), 1)), counts], 1)
    edges = np.searchsorted(windows.block, np.arange(n_blocks + 1))
    found = np.zeros((n_blocks, x.shape[1], x.shape[1]))
    for block in range(n_blocks):
        inside = x[edges[block] : edges[block + 1]]
        found[block] = inside.T @ inside
    return found


def residual(counts: np.ndarray, condition: np.ndarray) -> np.ndarray:
    """Counts (W, N) less their mean over the windows of the same condition (W,)."""
    _, index = np.unique(condition, return_inverse=True)
    order = np.argsort(index, kind="stable")
    n = index.max() + 1
    mean = sum_by(index[order], counts[order], n) / np.bincount(index, minlength=n)[:, None]
    found: np.ndarray = counts - mean[index]
    return found


def correlations(sums: np.ndarray) -> np.ndarray:
    """Pearson's r (..., P, P) from sums (..., P + 1, P + 1) of products of (1, x); NaN for units that do not vary."""
    n = sums[..., :1, :1]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums[..., 0, 1:] / n[..., 0]
        covariance = sums[..., 1:, 1:] / n - mean[..., None] * mean[..., None, :]
        variance = np.diagonal(covariance, axis1=-2, axis2=-1)
        sd = np.sqrt(np.where(variance > 1e-12, variance, np.nan))
        return covariance / sd[..., None] / sd[..., None, :]
