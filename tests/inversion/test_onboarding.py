"""Tuning of new units by Bayes: exact where it can be checked, better with a learned prior and with unlabelled time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from neuroformer.data.motion import Motion
from neuroformer.inversion.onboarding import (
    Tuning,
    TuningPrior,
    add_labelled,
    expected,
    fit_tuning,
    learn_prior,
    wide_prior,
)

N_STATES, N_UNITS = 12, 40


def bumps() -> np.ndarray:
    """(S, D): a constant and six smooth functions of a position on a line; unknown behaviour comes last."""
    place, centre = np.linspace(0, 1, N_STATES - 1)[:, None], np.linspace(0, 1, 6)
    found = np.exp(-0.5 * ((place - centre) / 0.15) ** 2)
    found = np.concatenate([found, np.zeros((1, 6))])
    return np.concatenate([np.ones((N_STATES, 1)), found], 1)


def circuit(rng: np.random.Generator, bins: int = 1500) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(U, S) true log-rates with one place field each, (T,) path of a slow walk, (T, U) events."""
    place = np.arange(N_STATES - 1)
    field = rng.integers(0, N_STATES - 1, N_UNITS)
    log_rate = -3.5 + 2.5 * np.exp(-0.5 * ((place - field[:, None]) / 1.2) ** 2)
    path = np.empty(bins, int)
    path[0] = 0
    for t in range(1, bins):
        path[t] = np.clip(path[t - 1] + rng.choice([-1, 0, 1], p=[0.2, 0.6, 0.2]), 0, N_STATES - 2)
    return log_rate, path, rng.poisson(np.exp(log_rate[:, path].T)).astype(float)


def statistics(path: np.ndarray, events: np.ndarray, used: int) -> tuple[np.ndarray, np.ndarray]:
    cells = np.where(np.arange(len(path)) < used, path, -1)
    counts, time = np.zeros((N_UNITS, N_STATES)), np.zeros(N_STATES)
    add_labelled(events, cells, counts, time)
    return counts, time


def chain() -> Motion:
    n = N_STATES
    step = np.eye(n) * 0.6 + 0.2 * (np.eye(n, k=1) + np.eye(n, k=-1))
    step[-1], step[:, -1] = 0.01, 0.001
    step[-1, -1] = 0.5
    return Motion(start=np.full(n, 1 / n), step=step / step.sum(1, keepdims=True))


def error(tuning: Tuning, log_rate: np.ndarray) -> float:
    return float(np.square(tuning.log_rate()[:, :-1] - log_rate).mean())


def test_labelled_bins_are_counted_and_no_others() -> None:
    rng = np.random.default_rng(0)
    events = rng.poisson(0.5, (30, N_UNITS)).astype(float)
    cells = rng.integers(-1, 4, 30)
    counts, time = np.zeros((N_UNITS, N_STATES)), np.zeros(N_STATES)
    add_labelled(events, cells, counts, time)
    for state in range(N_STATES):
        np.testing.assert_array_equal(counts[:, state], events[cells == state].sum(0))
        assert time[state] == (cells == state).sum()


def test_the_posterior_mode_is_that_of_a_general_optimiser() -> None:
    rng = np.random.default_rng(1)
    features = bumps()
    covariance = np.diag(rng.uniform(0.2, 2, features.shape[1]))
    prior = TuningPrior(mean=rng.normal(0, 0.3, features.shape[1]), covariance=covariance)
    counts, time = rng.poisson(3, (2, N_STATES)).astype(float), rng.uniform(0, 40, N_STATES)
    found = fit_tuning(counts, time, features, prior)
    inverse = np.linalg.inv(covariance)

    for unit in range(2):

        def loss(w: np.ndarray, k: np.ndarray = counts[unit]) -> float:
            eta, off = features @ w, w - prior.mean
            return float(time @ np.exp(eta) - k @ eta + 0.5 * off @ inverse @ off)

        best = minimize(loss, prior.mean, method="BFGS", options={"gtol": 1e-9})
        np.testing.assert_allclose(found.mean[unit], best.x, atol=1e-4)
        rate = np.exp(features @ found.mean[unit]) * time
        np.testing.assert_allclose(found.precision[unit], features.T @ (rate[:, None] * features) + inverse)


def test_without_a_label_the_posterior_is_the_prior() -> None:
    features = bumps()
    prior = wide_prior(features, 0.05)
    found = fit_tuning(np.zeros((3, N_STATES)), np.zeros(N_STATES), features, prior)
    np.testing.assert_allclose(found.mean, np.tile(prior.mean, (3, 1)))
    np.testing.assert_allclose(found.precision, np.tile(np.linalg.inv(prior.covariance), (3, 1, 1)))


def test_a_prior_of_other_animals_needs_fewer_labels() -> None:
    features = bumps()
    others = []
    for seed in range(4):
        _, path, events = circuit(np.random.default_rng(seed))
        others.append(statistics(path, events, len(path)))
    learned = learn_prior(others, features)
    log_rate, path, events = circuit(np.random.default_rng(99))
    counts, time = statistics(path, events, 100)
    wide = wide_prior(features, float(events.mean()))
    assert error(fit_tuning(counts, time, features, learned), log_rate) < 0.8 * error(
        fit_tuning(counts, time, features, wide), log_rate
    )


def test_time_without_labels_improves_the_tuning_and_leaves_labels_alone() -> None:
    features, motion = bumps(), chain()
    log_rate, path, events = circuit(np.random.default_rng(3))
    counts, time = statistics(path, events, 100)
    prior = wide_prior(features, float(events.mean()))
    first = fit_tuning(counts, time, features, prior)
    found = first
    cells = np.where(np.arange(len(path)) < 100, path, -1)
    for _ in range(4):
        counts, time = expected([(events, cells)], found, motion, 1.0)
        found = fit_tuning(counts, time, features, prior, start=found)
    assert error(found, log_rate) < 0.7 * error(first, log_rate)
    assert time.sum() == pytest.approx(len(path))
    np.testing.assert_allclose(counts.sum(1), events.sum(0))
    everything, whole = expected([(events, path)], found, motion, 1.0)
    exact, exact_time = statistics(path, events, len(path))
    np.testing.assert_allclose(everything, exact, atol=1e-6)
    np.testing.assert_allclose(whole, exact_time, atol=1e-6)


def test_evidence_is_the_poisson_likelihood_up_to_a_constant_per_bin() -> None:
    from scipy.stats import poisson

    features = bumps()
    tuning = fit_tuning(
        np.ones((N_UNITS, N_STATES)), np.full(N_STATES, 9.0), features, wide_prior(features, 0.1)
    )
    events = np.random.default_rng(0).poisson(0.3, (5, N_UNITS))
    exact = poisson.logpmf(events[:, :, None], np.exp(tuning.log_rate())[None]).sum(1)
    found = tuning.evidence(events.astype(float))
    np.testing.assert_allclose(found - found[:, :1], exact - exact[:, :1], atol=1e-10)
