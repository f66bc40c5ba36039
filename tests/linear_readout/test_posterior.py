"""The posterior of one animal's weights, against Bayes's rule written out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from neuroformer.linear_readout import ReadoutPrior, Rows, fit_weights, wide_prior
from neuroformer.linear_readout.posterior import best_fit


def prior(rng: np.random.Generator, *, rho: float = 0.6, **changes: Any) -> ReadoutPrior:
    root = rng.normal(size=(4, 4))
    own = rng.normal(size=(2, 2))
    found = ReadoutPrior(
        names=("a", "b"), mean=rng.normal(size=4), covariance=root @ root.T, named=own @ own.T + 0.1 * np.eye(2),
        unnamed=0.7 * np.eye(2), intercept=0.3, rho=rho, noise=(-0.5, 0.5), size=(0.2, 0.5), centre=2.0, scale=3.0,
    )  # fmt: skip
    return replace(found, **changes)


def rows(rng: np.random.Generator, n: int) -> Rows:
    return Rows(features=rng.normal(size=(n, 3, 2)), y=rng.normal(2, 3, n), bins=np.arange(n),
                stretch=np.zeros(n, int), names=("b", "", "a"))  # fmt: skip


@pytest.mark.parametrize("n", [4, 30])  # fewer and more than weights
@pytest.mark.parametrize("exponent", [1.0, 0.25])
def test_posterior_is_that_of_bayes(n: int, exponent: float, rng: np.random.Generator) -> None:
    p, r = prior(rng, evidence=exponent), rows(rng, n)
    found = fit_weights(r, p, fixed=True)
    # Units b, -, a and the intercept, one after the other.
    mean = np.concatenate([p.mean[2:], [0, 0], p.mean[:2], [0]])
    covariance = np.zeros((7, 7))
    swapped = p.covariance[np.ix_([2, 3, 0, 1], [2, 3, 0, 1])]
    at = [0, 1, 4, 5]
    covariance[np.ix_(at, at)] = swapped
    covariance[:2, :2] += p.named
    covariance[4:6, 4:6] += p.named
    covariance[2:4, 2:4] = p.unnamed
    covariance[6, 6] = p.intercept
    covariance *= np.exp(0.2)
    phi = np.concatenate([r.features.reshape(n, 6), np.ones((n, 1))], 1)
    noise = np.exp(-0.5) / exponent * p.rho ** np.abs(np.arange(n)[:, None] - np.arange(n))
    precision = np.linalg.inv(covariance) + phi.T @ np.linalg.solve(noise, phi)
    pull = np.linalg.solve(covariance, mean) + phi.T @ np.linalg.solve(noise, (r.y - 2) / 3)
    expected = np.linalg.inv(precision)
    assert found.mean == pytest.approx(expected @ pull)
    assert found.covariance() == pytest.approx(expected, abs=1e-6)
    test = rng.normal(size=(5, 3, 2))
    full = np.concatenate([test.reshape(5, 6), np.ones((5, 1))], 1)
    said, spread = found.predict(test)
    assert said == pytest.approx(2 + 3 * full @ expected @ pull)
    variance = np.einsum("ni,ij,nj->n", full, expected, full) + np.exp(-0.5)
    assert spread == pytest.approx(3 * np.sqrt(variance), rel=1e-5)


def test_evidence_is_the_density_of_the_labels(rng: np.random.Generator) -> None:
    p, r = prior(rng, noise=(-0.5, 1e-9), size=(0.2, 1e-9)), rows(rng, 10)
    mean, covariance = p.of_units(r.names)
    phi = np.concatenate([r.features.reshape(10, 6), np.ones((10, 1))], 1)
    errors = p.rho ** np.abs(np.arange(10)[:, None] - np.arange(10))
    total = np.exp(0.2) * phi @ covariance @ phi.T + np.exp(-0.5) * errors
    expected = multivariate_normal(mean=2 + 3 * phi @ mean, cov=9 * total).logpdf(r.y)
    found = fit_weights(r, p).log_evidence
    assert found == pytest.approx(expected + _hyperprior(found - expected))


def _hyperprior(difference: float) -> float:
    """Hyperpriors this narrow have the same density at every step, so that one of them adds −z²/2 ≤ 0."""
    assert -0.01 < difference < 1e-3
    return difference


def test_without_labels_the_names_speak(rng: np.random.Generator) -> None:
    p = prior(rng)
    none = rows(rng, 5).cut(0, 0)
    found = fit_weights(none, p)
    mean, covariance = p.of_units(none.names)
    assert found.mean == pytest.approx(mean)
    assert found.covariance() == pytest.approx(np.exp(0.2) * covariance, abs=1e-6)


def test_sizes_follow_the_labels(rng: np.random.Generator) -> None:
    features = rng.normal(size=(400, 3, 2))
    w = rng.normal(size=(3, 2))
    for noise in (0.1, 2.0):
        y = np.einsum("nuk,uk->n", features, w) + noise * rng.normal(size=400)
        r = Rows(features=features, y=y, bins=np.arange(400), stretch=np.zeros(400, int), names=("", "", ""))
        found = fit_weights(r, wide_prior(3, 2))
        assert found.scale * np.sqrt(found.noise) == pytest.approx(noise, rel=0.25)


def test_the_better_correlation_has_the_higher_evidence(herds: Any) -> None:
    r = herds(rho=0.85, seed=3).animal(300)
    found = best_fit(r, [wide_prior(12, 2, rho=rho) for rho in (0.0, 0.85)])
    assert found.log_evidence == fit_weights(r, wide_prior(12, 2, rho=0.85)).log_evidence


def test_state(rng: np.random.Generator) -> None:
    p = prior(rng, slope=2.0, own_scale=True)
    again = ReadoutPrior.from_state(p.state())
    assert again.state() == p.state()
    wide = wide_prior(4, 3)
    assert ReadoutPrior.from_state(wide.state()).state() == wide.state()


def test_few_labels_hardly_move_the_scale() -> None:
    p = replace(wide_prior(3, 1), centre=10.0, scale=2.0)
    assert p.standards(np.zeros(0)) == (10.0, 2.0)
    few, many = p.standards(np.full(2, 50.0)), p.standards(np.full(3000, 50.0))
    assert few[0] < 13 < 49 < many[0]
