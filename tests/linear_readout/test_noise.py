"""Whitening of errors that are alike from bin to bin."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from neuroformer.linear_readout.noise import log_determinant, whiten

BINS = np.array([0, 1, 2, 5, 6, 0, 3])
STRETCH = np.array([0, 0, 0, 0, 0, 1, 1])


def covariance(rho: float) -> np.ndarray:
    apart = np.abs(BINS[:, None] - BINS).astype(float)
    return np.where(STRETCH[:, None] == STRETCH, rho**apart, 0.0)


def test_whitened_errors_are_independent() -> None:
    transform = whiten(np.eye(len(BINS)), BINS, STRETCH, 0.7)
    assert transform @ covariance(0.7) @ transform.T == pytest.approx(np.eye(len(BINS)), abs=1e-12)


def test_the_density_is_that_of_the_correlated_errors(rng: np.random.Generator) -> None:
    e = rng.normal(size=len(BINS))
    white = whiten(e, BINS, STRETCH, 0.7)
    found = -0.5 * (white @ white + len(e) * np.log(2 * np.pi)) + log_determinant(BINS, STRETCH, 0.7)
    assert found == pytest.approx(multivariate_normal(cov=covariance(0.7)).logpdf(e))


def test_without_correlation_nothing_changes(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(7, 2))
    assert whiten(rows, BINS, STRETCH, 0.0) is rows
    assert log_determinant(BINS, STRETCH, 0.0) == 0
