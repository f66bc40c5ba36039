"""The linear regression of all units on the lagged counts of all units, from autocovariances alone.

With Γ(l) = cov(x(t), x(t + l)), the covariance of the past (x(t − 1), …, x(t − p)) is block Toeplitz and its covariance
with the present is (Γ(1), …, Γ(p)): the multivariate Yule–Walker equations (Lütkepohl 2005, New Introduction to
Multiple Time Series Analysis, section 3.3.4). So the recording is read once, whatever the order. P = N · p past values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg


@dataclass(frozen=True, kw_only=True, eq=False)
class Regression:
    """Least squares of the present on the past.

    Attributes:
        weights: (p, S, T) coefficient of the source's past value k on the target.
        residual: (T, T) covariance of what is left.
        precision: (P, P) inverse of the covariance of the past, P in order of (k, source).
    """

    weights: np.ndarray
    residual: np.ndarray
    precision: np.ndarray


def past_covariance(gamma: np.ndarray, groups: list[range]) -> np.ndarray:
    """(P, P) covariance of the past, its values the sums of counts over each group of lags; gamma (L + 1, N, N)."""
    n, k = gamma.shape[1], len(groups)
    past = np.empty((k, n, k, n))
    for g, one in enumerate(groups):
        for h, two in enumerate(groups[: g + 1]):
            lags, repeats = np.unique(
                np.subtract.outer(one, two), return_counts=True
            )  # t − a comes before t − b
            block = sum(
                m * (gamma[lag] if lag >= 0 else gamma[-lag].T) for lag, m in zip(lags, repeats, strict=True)
            )
            past[g, :, h], past[h, :, g] = block, block.T
    return past.reshape(k * n, k * n)


def past_with_present(gamma: np.ndarray, groups: list[range]) -> np.ndarray:
    """(P, N) covariance of the past with the present."""
    return np.concatenate([gamma[list(group)].sum(axis=0) for group in groups])


def regress(past: np.ndarray, cross: np.ndarray, present: np.ndarray) -> Regression:
    """Solve for the weights; `past` (P, P) positive definite, `cross` (P, N), `present` (N, N)."""
    factor = linalg.cho_factor(past, lower=True, check_finite=False)
    precision = linalg.lapack.dpotri(factor[0], lower=1)[0]
    precision = np.tril(precision) + np.tril(precision, -1).T
    weights = precision @ cross
    return Regression(
        weights=weights.reshape(-1, present.shape[0], present.shape[0]),
        residual=present - cross.T @ weights,
        precision=precision,
    )
