"""Ridge regression that falls back to the mean."""

import json

import numpy as np
import pytest

from neuroformer.training.unit_encoder.ridge import PENALTIES, Ridge, fit_ridge


def problem(rng: np.random.Generator, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    x = rng.normal(3.0, 2.0, (90, 5))
    weight = rng.normal(size=(5, 3))
    y = 7.0 + noise * rng.normal(size=(90, 3)) + (0.0 if noise > 1 else 1.0) * (x - 3) / 2 @ weight
    return x, y, x.std(0), np.repeat(np.arange(3), 30)


def test_what_can_be_predicted_is(rng: np.random.Generator) -> None:
    x, y, scale, groups = problem(rng, noise=0.1)
    ridge = fit_ridge(x, y, scale, groups)
    assert ridge.gain > 0.95
    assert np.square(ridge.predict(x) - y).mean() < 0.05
    z = np.clip((x - x.mean(0)) / scale, -4, 4)
    centred, target = z - z.mean(0), y - y.mean(0)
    candidates = [np.linalg.solve(centred.T @ centred + p * np.eye(5), centred.T @ target) for p in PENALTIES]
    assert min(np.abs(c - ridge.weight).max() for c in candidates) < 1e-10


def test_noise_falls_back_to_the_mean(rng: np.random.Generator) -> None:
    x, y, scale, groups = problem(rng, noise=2.0)
    y = np.roll(y, 7, 0) - np.repeat(rng.normal(size=(3, 3)), 30, 0)
    ridge = fit_ridge(x, y, scale, groups)
    assert ridge.gain == 0
    assert ridge.predict(rng.normal(size=(4, 5))) == pytest.approx(np.tile(y.mean(0), (4, 1)))


def test_what_holds_within_sessions_alone_is_not_trusted(rng: np.random.Generator) -> None:
    """Sessions whose relation has another sign: within a session it predicts, across it does not."""
    groups = np.repeat(np.arange(4), 30)
    x = rng.normal(size=(120, 1))
    y = x * np.where(groups % 2, -1.0, 1.0)[:, None]
    assert fit_ridge(x, y, np.ones(1), groups).gain == 0


def test_one_session_leaves_out_units(rng: np.random.Generator) -> None:
    x, y, scale, _ = problem(rng, noise=0.1)
    assert fit_ridge(x, y, scale, np.zeros(90)).gain > 0.9


def test_a_unit_far_from_all_is_drawn_in(rng: np.random.Generator) -> None:
    x, y, scale, groups = problem(rng, noise=0.1)
    ridge = fit_ridge(x, y, scale, groups)
    far, nearer = x[:1] + 1e6, ridge.centre + 4 * scale
    assert ridge.predict(far) == pytest.approx(ridge.predict(nearer[None]))


@pytest.mark.parametrize("n_outputs", [3, 0])
def test_builtins_and_back(rng: np.random.Generator, n_outputs: int) -> None:
    x, y, scale, groups = problem(rng, noise=0.1)
    ridge = fit_ridge(x, y[:, :n_outputs], scale, groups)
    again = Ridge.from_state(json.loads(json.dumps(ridge.state())))
    assert np.array_equal(again.predict(x), ridge.predict(x))
    assert again.predict(x).shape == (90, n_outputs)
