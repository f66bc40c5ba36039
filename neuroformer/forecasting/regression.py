"""Ridge regressions of many targets or many units at once, and the choice of one on the validation part."""

from __future__ import annotations

import numpy as np


def ridge_path(x: np.ndarray, y: np.ndarray, penalties: np.ndarray) -> np.ndarray:
    """Weights of all targets for every penalty: argmin |y − x w|² + a |w|².

    Args:
        x: (R, P) features.
        y: (R, M) targets.
        penalties: (A,), above 0.

    Returns:
        (A, P, M).
    """
    if x.shape[0] >= x.shape[1]:
        values, vectors = np.linalg.eigh(x.T @ x)
        along = vectors.T @ (x.T @ y)
        scaled = along / (np.maximum(values, 0)[:, None] + penalties[:, None, None])
        return vectors @ scaled
    values, vectors = np.linalg.eigh(x @ x.T)
    along = vectors.T @ y
    return x.T @ (vectors @ (along / (np.maximum(values, 0)[:, None] + penalties[:, None, None])))


def unit_ridge(x: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    """(N, K) weights of each unit on its own features.

    Args:
        x: (R, N, K).
        y: (R, N).
        penalty: added to each Gram matrix, in parts of its mean diagonal.
    """
    features = x.transpose(1, 0, 2)
    gram = features.transpose(0, 2, 1) @ features
    k = gram.shape[1]
    size = np.trace(gram, axis1=1, axis2=2) / k
    gram[:, range(k), range(k)] += (penalty * size + 1e-9)[:, None]
    found: np.ndarray = np.linalg.solve(gram, features.transpose(0, 2, 1) @ y.T[..., None])[..., 0]
    return found


def absolute_error(forecast: np.ndarray, target: np.ndarray) -> float:
    """Mean absolute error over known cells."""
    return float(np.nanmean(np.abs(forecast - target)))


def squared_error(forecast: np.ndarray, target: np.ndarray) -> float:
    """Mean squared error over known cells."""
    return float(np.nanmean((forecast - target) ** 2))
