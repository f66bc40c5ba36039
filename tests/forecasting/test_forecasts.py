"""Baselines and the direct head: what they know, and what they make of it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from neuroformer.errors import UserError
from neuroformer.forecasting import baselines
from neuroformer.forecasting.direct import DirectPrior, Sums, direct_forecasts, learn_prior, shrunk_weights
from neuroformer.forecasting.problem import Forecast, Problem
from neuroformer.forecasting.regression import ridge_path, unit_ridge
from neuroformer.settings.forecast import DirectHeadConfig

HEAD = DirectHeadConfig(time_constants_s=[1, 4, 16], population_s=8, rounds=4)
METHODS: dict[str, Callable[[Problem], Forecast]] = {
    "mean": baselines.mean,
    "last": baselines.last,
    "decay": baselines.decay,
    "autoregression": baselines.autoregression,
    "linear": baselines.linear,
    "direct": lambda problem: direct_forecasts([problem], HEAD)[0][0],
}


def ar1(n_bins: int, n_units: int, phi: float, rng: np.random.Generator) -> np.ndarray:
    """(T, N) stationary AR(1) with unit variance."""
    x = np.empty((n_bins, n_units))
    x[0] = rng.normal(size=n_units)
    for t in range(1, n_bins):
        x[t] = phi * x[t - 1] + np.sqrt(1 - phi**2) * rng.normal(size=n_units)
    return x


@pytest.mark.parametrize("name", METHODS)
def test_no_forecast_knows_the_future(
    name: str, make_problem: Callable[..., Problem], rng: np.random.Generator
) -> None:
    x = np.cumsum(rng.normal(size=(300, 3)), 0)
    origin = 260
    changed = x.copy()
    changed[origin + 1 :] += 50 * rng.normal(size=changed[origin + 1 :].shape)
    before, after = (METHODS[name](make_problem(values)).values for values in (x, changed))
    at = make_problem(x).origins.at
    np.testing.assert_array_equal(before[at <= origin], after[at <= origin])
    if name != "mean":
        assert (before[at > origin + 1] != after[at > origin + 1]).any()


def test_forecasts_ignore_validation_and_test_targets_when_they_fit(
    make_problem: Callable[..., Problem], rng: np.random.Generator
) -> None:
    # Weights of the autoregression are those of the training part: what came later moves choices alone.
    x = ar1(400, 2, 0.8, rng)
    problem = make_problem(x, horizon=2)
    rows = problem.train[problem.series.reach(problem.train, 2)]
    assert rows.at.max() + 2 < problem.series.recording.part("val")[0].start
    assert problem.origins.at.min() == problem.series.recording.part("test")[0].start - 1
    assert problem.origins.at.max() + 2 == 399


def test_linear_autoregression_reaches_the_error_that_theory_gives(
    make_problem: Callable[..., Problem], rng: np.random.Generator
) -> None:
    phi = 0.9
    problem = make_problem(ar1(6000, 4, phi, rng), horizon=3, stride=1)
    for forecast in (
        baselines.decay(problem),
        baselines.autoregression(problem),
        baselines.linear(problem),
        direct_forecasts([problem], HEAD)[0][0],
    ):
        error = ((forecast.values - problem.truth) ** 2).mean((0, 2))
        theory = 1 - phi ** (2 * np.arange(1, 4))
        np.testing.assert_allclose(error, theory, rtol=0.12)


def test_a_deterministic_recurrence_is_recovered_exactly(make_problem: Callable[..., Problem]) -> None:
    t = np.arange(400)
    x = np.stack([np.sin(0.3 * t), np.cos(0.3 * t)], 1)
    forecast = baselines.autoregression(make_problem(x, horizon=3))
    assert np.abs(forecast.values - make_problem(x, horizon=3).truth).max() < 1e-2


def test_ridge_path_is_that_of_scikit_learn(rng: np.random.Generator) -> None:
    for shape in ((40, 6), (6, 40)):
        x, y = rng.normal(size=shape), rng.normal(size=(shape[0], 3))
        for penalty, weights in zip((0.1, 3.0), ridge_path(x, y, np.array([0.1, 3.0])), strict=True):
            expected = Ridge(alpha=penalty, fit_intercept=False).fit(x, y).coef_.T
            np.testing.assert_allclose(weights, expected, rtol=1e-6, atol=1e-9)


def test_unit_ridge_is_a_ridge_per_unit(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(50, 3, 2)), rng.normal(size=(50, 3))
    found = unit_ridge(x, y, 0.5)
    for unit in range(3):
        alpha = 0.5 * (x[:, unit] ** 2).sum() / 2
        expected = Ridge(alpha=alpha, fit_intercept=False).fit(x[:, unit], y[:, unit]).coef_
        np.testing.assert_allclose(found[unit], expected, rtol=1e-6)


def test_last_and_mean(make_problem: Callable[..., Problem], rng: np.random.Generator) -> None:
    x = rng.normal(size=(200, 2))
    problem = make_problem(x, horizon=2)
    stored = problem.series.stored(baselines.last(problem).values)
    np.testing.assert_allclose(stored[:, 1], x[problem.origins.at], rtol=1e-5)
    np.testing.assert_allclose(
        problem.series.stored(baselines.mean(problem).values)[0, 0], x[:120].mean(0), rtol=1e-5
    )


def test_missing_frames_hold_the_last_value_and_are_not_targets(
    make_problem: Callable[..., Problem], rng: np.random.Generator
) -> None:
    x = rng.normal(size=(200, 2))
    x[170] = np.nan
    problem = make_problem(x, horizon=1)
    at = list(problem.origins.at)
    assert np.isnan(problem.truth[at.index(169), 0]).all()
    np.testing.assert_allclose(
        problem.series.stored(problem.series.last(problem.origins))[at.index(170)], x[169], rtol=1e-5
    )


def test_averages_are_exponential_averages_of_the_past(
    make_problem: Callable[..., Problem], rng: np.random.Generator
) -> None:
    problem = make_problem(rng.normal(size=(200, 2)))
    values, keep = problem.series.values[0], np.exp(-1 / 5)
    expected = values[0].copy()
    for t in range(1, 151):
        expected = keep * expected + (1 - keep) * values[t]
    found = problem.series.averages(problem.origins, [5.0])
    np.testing.assert_allclose(found[list(problem.origins.at).index(150), :, 0], expected)


def test_conditioned_mean_is_the_mean_of_each_time_in_a_trial(
    make_problem: Callable[..., Problem], rng: np.random.Generator
) -> None:
    starts = np.arange(0, 200, 10.0)
    x = np.tile(np.arange(10.0), 20)[:, None] + 0.01 * rng.normal(size=(200, 1))
    problem = make_problem(x, trials={"start": starts, "stop": starts + 5})
    stored = problem.series.stored(baselines.conditioned_mean(problem, "trials").values)[:, 0, 0]
    phase = (problem.origins.at + 1) % 10
    np.testing.assert_allclose(stored[phase < 5], phase[phase < 5], atol=0.02)
    np.testing.assert_allclose(stored[phase >= 5], x[:120].mean(), atol=1e-4)


def test_learned_prior_is_that_of_the_units(rng: np.random.Generator) -> None:
    n_units, n = 400, 200
    true_mean, spread = np.array([0.5, -0.2]), np.array([0.1, 0.3])
    weights = true_mean + spread * rng.normal(size=(n_units, 2))
    x = rng.normal(size=(n_units, n, 2))
    y = np.einsum("unk,uk->un", x, weights) + rng.normal(size=(n_units, n))
    sums = Sums(
        gram=np.einsum("unk,unl->ukl", x, x),
        cross=np.einsum("unk,un->uk", x, y),
        square=(y**2).sum(1),
        n=float(n),
    )
    mean, covariance = learn_prior([sums], rounds=60)
    np.testing.assert_allclose(mean, true_mean, atol=0.04)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), spread, atol=0.03)
    shrunk = shrunk_weights(sums, mean, covariance, rounds=5)
    alone = np.linalg.solve(sums.gram, sums.cross[..., None])[..., 0]
    assert ((shrunk - weights) ** 2).mean() < ((alone - weights) ** 2).mean()


def test_a_prior_is_kept_and_carries_over(
    make_problem: Callable[..., Problem], rng: np.random.Generator, tmp_path: Path
) -> None:
    first = make_problem(ar1(300, 3, 0.9, rng), horizon=2)
    found, prior = direct_forecasts([first], HEAD)
    prior.save(tmp_path / "head.npz")
    read = DirectPrior.load(tmp_path / "head.npz", kind="traces", bin_s=1.0, horizon=2)
    again, _ = direct_forecasts([first], HEAD, read)
    np.testing.assert_allclose(again[0].values, found[0].values, atol=0.01)
    with pytest.raises(UserError, match="learned on traces in bins of 1 s up to 2 bins"):
        DirectPrior.load(tmp_path / "head.npz", kind="counts", bin_s=1.0, horizon=2)
    (tmp_path / "other.npz").write_text("no")
    with pytest.raises(UserError, match="not the prior of a direct head"):
        DirectPrior.load(tmp_path / "other.npz", kind="traces", bin_s=1.0, horizon=2)


def test_too_long_a_horizon_is_refused(
    make_problem: Callable[..., Problem], rng: np.random.Generator
) -> None:
    problem = make_problem(rng.normal(size=(100, 2)), horizon=40)
    with pytest.raises(UserError, match="no stretch of the test part is as long as horizon=40"):
        len(problem.origins)


def test_counts_are_forecast_about_their_mean(
    make_problem: Callable[..., Problem], rng: np.random.Generator
) -> None:
    # A slow rhythm of the rate: what happened lately says what comes.
    rate = 1 + 0.8 * np.sin(np.arange(800) / 25)[:, None] * np.ones(3)
    problem = make_problem(None, counts=rng.poisson(rate), kind="counts", horizon=2)
    found = direct_forecasts([problem], HEAD)[0][0]
    expected = problem.series.stored(found.values)[:, 0]
    assert np.corrcoef(expected.mean(1), rate[problem.origins.at + 1, 0])[0, 1] > 0.85
