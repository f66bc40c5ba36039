"""Rollouts of models whose expectation is known."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neuroformer.baselines.glm import PoissonGLM
from neuroformer.evaluation.trained_run import load_run
from neuroformer.forecasting.glm_rollout import glm_rollout, roll
from neuroformer.forecasting.problem import Problem
from neuroformer.forecasting.rollout import Indicator, rollout_counts
from neuroformer.forecasting.series import read_series
from neuroformer.generation import fit_ceiling


def test_glm_without_couplings_keeps_its_rates(
    make_problem: Callable[..., Problem], rng: np.random.Generator
) -> None:
    problem = make_problem(None, counts=rng.poisson(0.5, (200, 3)), kind="counts", horizon=3)
    glm = PoissonGLM(n_units=3, n_lags=2, n_history=2, settings={"heads": 1, "history_functions": 2})
    glm.bias.data = torch.log(torch.tensor([0.1, 0.4, 0.9]))
    found = problem.series.stored(glm_rollout(problem, glm, samples=3, seed=0).values)
    np.testing.assert_allclose(found, np.broadcast_to([0.1, 0.4, 0.9], found.shape), rtol=1e-5)


def test_second_bin_of_a_glm_is_the_mean_over_the_first(rng: np.random.Generator) -> None:
    bias, weight = np.log(0.5), -1.2
    found = roll(
        np.zeros((1, 1, 1)), own=np.array([[weight]]), kernels=np.zeros((0, 1)), pairs=np.zeros((0, 1, 1)),
        bias=np.array([bias]), most=np.array([10.0]), horizon=2, samples=40_000, rng=rng,
    )  # fmt: skip
    # E exp(b + w k) with k Poisson: exp(b + λ (e^w − 1)).
    assert found[0, 0, 0] == pytest.approx(0.5)
    assert found[0, 1, 0] == pytest.approx(np.exp(bias + 0.5 * (np.exp(weight) - 1)), rel=0.01)


def test_couplings_go_from_source_to_target(rng: np.random.Generator) -> None:
    past = np.zeros((1, 2, 2))
    past[0, 1, 0] = 1  # unit 0, two bins ago
    pairs = np.zeros((1, 2, 2))
    pairs[0, 0, 1] = 0.7
    found = roll(
        past, own=np.zeros((2, 1)), kernels=np.array([[0.0, 1.0]]), pairs=pairs,
        bias=np.zeros(2), most=np.full(2, 10.0), horizon=1, samples=1, rng=rng,
    )  # fmt: skip
    np.testing.assert_allclose(found[0, 0], [1, np.exp(0.7)])


def test_indicator_is_recovered(make_problem: Callable[..., Problem], rng: np.random.Generator) -> None:
    counts = rng.poisson(0.2, (3000, 2))
    x = np.full((3000, 2), 2.0)  # its mean
    for t in range(1, 3000):
        x[t] = 0.8 * x[t - 1] + 2.0 * counts[t]
    problem = make_problem(x, counts=counts, horizon=2)
    indicator = Indicator(problem, level=500)
    np.testing.assert_allclose(indicator.decay, 0.8, atol=0.02)
    np.testing.assert_allclose(indicator.gain * problem.series.scale, 2.0, rtol=0.02)
    # Told what events come, it knows the traces.
    rows = problem.origins
    told = np.stack([counts[rows.at + h] for h in (1, 2)], 1).astype(float)
    error = np.abs(indicator(told) - problem.truth)
    assert error.mean() < 0.05


def test_first_bin_of_a_rollout_is_the_models_intensity(
    circuit: Callable[..., Path], train: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    train(tmp_path / "run", circuit())
    run = load_run(tmp_path / "run")
    recording = run.data.recordings[0]
    problem = Problem(read_series(recording, "counts"), 3, stride=200)
    found = rollout_counts(problem, run, samples=2, seed=0)
    assert found.shape == problem.truth.shape
    ceiling, _ = fit_ceiling(run.trained.model, run.data, recording)
    by_bin = {}
    with torch.no_grad():
        for keys, batch in run.data.in_order("test", [recording]):
            intensity = run.trained.model(batch)[0].exp().double()
            for row, key in enumerate(keys):
                for k, bin_ in enumerate(range(key.span.start, key.span.stop)):
                    by_bin[bin_] = intensity[row, k].numpy()
    expected = np.stack([np.minimum(by_bin[t + 1], ceiling) for t in problem.origins.at])
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-3)
