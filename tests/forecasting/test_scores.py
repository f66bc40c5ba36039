"""Scores against brute force."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from neuroformer.evaluation.block_draws import BlockDraws
from neuroformer.forecasting.problem import Problem
from neuroformer.forecasting.scores import bits, origin_blocks, score_forecast, unit_correlation


def test_errors_and_correlations_are_those_of_brute_force(
    make_problem: Callable[..., Problem], rng: np.random.Generator
) -> None:
    x = rng.normal(size=(200, 3))
    x[180] = np.nan
    problem = make_problem(x, horizon=2)
    values = rng.normal(size=problem.truth.shape) + np.nan_to_num(problem.truth)
    draws = BlockDraws(origin_blocks(problem, 10), draws=100)
    scores = score_forecast(problem, values, draws).scores
    for h in range(2):
        f, y = values[:, h], problem.truth[:, h]
        known = np.isfinite(y).all(1)
        assert scores["mae"][h].value == pytest.approx(np.abs(f - y)[known].mean())
        assert scores["mse"][h].value == pytest.approx(((f - y) ** 2)[known].mean())
        each = [np.corrcoef(f[known, n], y[known, n])[0, 1] for n in range(3)]
        assert scores["correlation"][h].value == pytest.approx(np.median(each))
        assert scores["correlation_mean"][h].value == pytest.approx(np.mean(each))
    interval = scores["mae"][0].interval
    assert interval is not None
    assert interval[0] < scores["mae"][0].value < interval[1]
    stored = score_forecast(problem, values, draws, standardize=False).scores["mae"][0].value
    error = problem.series.scale * np.abs(values - problem.truth)[:, 0]
    assert stored == pytest.approx(np.nanmean(error))


def test_correlation_of_drawn_blocks_is_that_of_repeated_origins(rng: np.random.Generator) -> None:
    f, y = rng.normal(size=(40, 2)), 5 + rng.normal(size=(40, 2))
    draws = BlockDraws(np.arange(40) // 5, draws=100, seed=1)
    found = unit_correlation(f, y, draws)
    weight = next(draws.weights())[3].astype(int)
    repeated = np.repeat(np.arange(40), weight)
    for unit in range(2):
        assert found[3, unit] == pytest.approx(np.corrcoef(f[repeated, unit], y[repeated, unit])[0, 1])


def test_a_constant_forecast_has_no_correlation(rng: np.random.Generator) -> None:
    draws = BlockDraws(np.arange(20), draws=100)
    assert np.isnan(unit_correlation(np.full((20, 1), 0.1), rng.normal(size=(20, 1)), draws)).all()


def test_bits_per_spike_by_hand() -> None:
    counts, forecast, rate = np.array([[1.0, 0.0]]), np.array([[0.4, -1.0]]), np.array([0.2, 0.1])
    # The second unit's forecast is raised to a twentieth of its rate.
    gain = (math.log(2) - 0.4 + 0.2) + (-0.005 + 0.1)
    found = bits(forecast, counts, rate, BlockDraws(np.zeros(1, int)))
    assert found.value == pytest.approx(gain / math.log(2))


def test_blocks_do_not_cross_spans(make_problem: Callable[..., Problem], rng: np.random.Generator) -> None:
    problem = make_problem(rng.normal(size=(200, 1)), horizon=2)
    blocks = origin_blocks(problem, 20)
    assert list(blocks[:20]) == [0] * 20
    assert len(np.unique(blocks)) == math.ceil(len(problem.origins) / 20)
