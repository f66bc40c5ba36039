from collections.abc import Callable

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from neuroformer.baselines.decoding import Target
from neuroformer.baselines.decoding.history import History, Scaler, histories
from neuroformer.baselines.decoding.ridge import RidgeDecoder
from neuroformer.baselines.decoding.ridge_path import RidgePath
from neuroformer.baselines.decoding.samples import Samples, blocked_folds
from neuroformer.settings.decoding import RidgeConfig

Walk = Callable[..., tuple[list[np.ndarray], list[np.ndarray]]]


@pytest.mark.parametrize("shape", [(40, 7), (15, 60)])
def test_the_path_is_that_of_an_ordinary_ridge(rng: np.random.Generator, shape: tuple[int, int]) -> None:
    x, y = rng.normal(2, 1, shape), rng.normal(5, 1, (shape[0], 2))
    x[:, 3] = 0
    path = RidgePath(x, y)
    new = rng.normal(2, 1, (6, shape[1]))
    for penalty in (0.01, 1.0, 300.0):
        weights, intercept = path.coefficients(penalty)
        expected = Ridge(alpha=penalty).fit(x, y)
        np.testing.assert_allclose(weights, expected.coef_.T, atol=1e-8)
        np.testing.assert_allclose(intercept, expected.intercept_)
        centred = x - x.mean(0)
        inverse = np.linalg.inv(centred.T @ centred + penalty * np.eye(shape[1]))
        away = new - x.mean(0)
        np.testing.assert_allclose(
            path.leverage(new, penalty), 1 / len(x) + np.einsum("tf,fg,tg->t", away, inverse, away)
        )


@pytest.mark.parametrize("shape", [(40, 7), (15, 60), (30, 25)])
@pytest.mark.parametrize("n_out", [1, 4, 12])
def test_what_is_left_out_is_predicted_as_by_another_fit(
    rng: np.random.Generator, shape: tuple[int, int], n_out: int
) -> None:
    x, y = rng.normal(2, 1, shape), rng.normal(5, 1, (shape[0], 2))
    path = RidgePath(x, y)
    rows = np.arange(2, 2 + n_out)
    penalties = [0.1, 30.0]
    means, leverages = path.left_out(rows, penalties, leverage=True)
    kept = np.setdiff1d(np.arange(shape[0]), rows)
    other = RidgePath(x[kept], y[kept])
    for penalty, mean, leverage in zip(penalties, means, leverages, strict=True):
        expected = Ridge(alpha=penalty).fit(x[kept], y[kept])
        np.testing.assert_allclose(mean, expected.predict(x[rows]), atol=1e-8)
        np.testing.assert_allclose(leverage, other.leverage(x[rows], penalty), atol=1e-8)


@pytest.mark.parametrize("taps", [1, 2, 4])
@pytest.mark.parametrize("centered", [False, True])
def test_lagged_features_are_those_of_a_loop(rng: np.random.Generator, taps: int, centered: bool) -> None:
    x = rng.poisson(1.0, (12, 3)).astype(np.float32)
    history = History(window=4, taps=taps, centered=centered)
    rows = np.arange(12)
    found, exposure = history.rows(x, rows), history.exposure(12, rows)
    for t in range(12):
        last = t + (1 if centered else 0)
        expected = np.zeros((taps, 3))
        inside = 0
        for lag in range(4):
            if 0 <= last - lag < 12:
                expected[lag // (4 // taps)] += x[last - lag]
                inside += 1
        np.testing.assert_array_equal(found[t], expected.ravel())
        assert exposure[t] == inside


def test_histories_are_in_bins_and_each_is_tried_once() -> None:
    found = histories([0.1, 0.5, 1.0], [1, 4], bin_s=0.6, centered=False)
    assert [(h.window, h.taps) for h in found] == [(1, 1), (2, 1), (2, 2)]
    found = histories([0.5], [1, 4], bin_s=0.1, centered=False)
    assert [(h.window, h.taps) for h in found] == [(5, 1), (8, 4)]


def test_a_nearly_silent_unit_is_not_blown_up() -> None:
    x = np.zeros((1000, 3), dtype=np.float32)
    x[::2, 0] = 1
    x[7, 1] = 1
    scaler = Scaler([x[:400], x[400:]])
    np.testing.assert_allclose(scaler.mean, x.mean(0))
    assert scaler.scale[0] == pytest.approx(0.5)
    assert scaler.scale[1] == scaler.scale[2] > 0.05
    assert (scaler([x])[0][:, 2] == 0).all()


def test_folds_are_blocks_with_gaps(walk: Walk) -> None:
    x, y = walk(lengths=(60, 45))
    y[0][20:30] = np.nan
    samples = Samples.of(Target(name="a"), x, y)
    folds = blocked_folds(samples, folds=5, gap=3)
    np.testing.assert_array_equal(np.concatenate([f.test for f in folds]), np.arange(len(samples)))
    place = np.concatenate([np.flatnonzero(np.isfinite(v[:, 0])) + 1000 * k for k, v in enumerate(y)])
    for fold in folds:
        train = fold.train(len(samples))
        assert np.abs(place[train][:, None] - place[fold.test]).min() > 3
        assert set(fold.test) <= set(fold.left_out)
    assert blocked_folds(Samples.of(Target(name="a"), [x[0][:7]], [y[0][:7]]), folds=5, gap=3) == []


def test_the_chosen_ridge_is_the_best_of_fits_one_by_one(walk: Walk) -> None:
    x, y = walk(lengths=(90, 60))
    y[0][10:14] = np.nan
    config = RidgeConfig(windows_s=[0.2, 0.4], taps=[1, 2], penalties=[0.01, 0.3, 10.0], folds=3)
    target = Target(name="a")
    decoder = RidgeDecoder(target, bin_s=0.1, config=config).fit(x, y)
    samples, scaled = Samples.of(target, x, y), Scaler(x)(x)
    folds = blocked_folds(samples, folds=3, gap=4)
    losses = {}
    for history in histories([0.2, 0.4], [1, 2], bin_s=0.1, centered=False):
        features = samples.features(history, scaled)
        for relative in config.penalties:
            size = ((features - features.mean(0)) ** 2).sum(1).mean()
            errors = []
            for fold in folds:
                train = fold.train(len(samples))
                fit = Ridge(alpha=relative * size).fit(features[train], samples.y[train])
                errors.append(fit.predict(features[fold.test]) - samples.y[fold.test].reshape(-1))
            losses[history, relative] = (np.concatenate(errors) ** 2).mean() / samples.y.var()
    (history, relative), loss = min(losses.items(), key=lambda item: item[1])
    assert decoder.chosen["loss"] == pytest.approx(loss)
    assert decoder.chosen["penalty"] == pytest.approx(relative)
    assert (decoder.chosen["window_s"], decoder.chosen["taps"]) == (
        pytest.approx(history.window * 0.1),
        history.taps,
    )


def test_slow_histories_are_left_out(walk: Walk) -> None:
    x, y = walk()
    decoder = RidgeDecoder(
        Target(name="a"), bin_s=0.1, config=RidgeConfig(windows_s=[0.4], taps=[1, 4], largest=30)
    )
    assert decoder.fit(x, y).chosen["taps"] == 1
