from collections.abc import Iterator

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import balanced_accuracy_score, log_loss, r2_score, roc_auc_score

from neuroformer.evaluation.behavior_scores import (
    categorical_scores,
    circular_scores,
    continuous_scores,
    differences,
)
from neuroformer.evaluation.block_draws import BlockDraws, Score, time_blocks

N, BLOCK = 120, 6


@pytest.fixture
def draws() -> BlockDraws:
    return BlockDraws(np.arange(N) // BLOCK, draws=15, seed=1)


def repeated(draws: BlockDraws, *arrays: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """The samples of each draw, written out."""
    for weights in np.concatenate(list(draws.weights())):
        yield tuple(np.repeat(array, weights.astype(int), axis=0) for array in arrays)


def all_of(score: Score) -> np.ndarray:
    return np.append(score.value, score.draws)


def test_continuous_scores_are_those_of_the_samples_drawn(
    rng: np.random.Generator, draws: BlockDraws
) -> None:
    truth = rng.normal(50, [10, 3], (N, 2))
    mean = truth + rng.normal(0, [5, 3], (N, 2))
    spread = rng.uniform(1, 8, (N, 2))
    found = {
        k: all_of(v)
        for k, v in continuous_scores(truth, mean, draws, spread=spread, names=["x", "y"], level=0.5).items()
    }
    z = norm.ppf(0.75)
    for k, (t, m, s) in enumerate(repeated(draws, truth, mean, spread)):
        distance = np.linalg.norm(m - t, axis=1)
        correlation = [np.corrcoef(t[:, d], m[:, d])[0, 1] for d in range(2)]
        inside = np.abs(m - t) <= z * s
        expected = {
            "r2": r2_score(t, m, multioutput="variance_weighted"),
            "r2/x": r2_score(t[:, 0], m[:, 0]),
            "r2/y": r2_score(t[:, 1], m[:, 1]),
            "correlation": np.mean(correlation),
            "correlation/y": correlation[1],
            "mean_error": distance.mean(),
            "median_error": np.median(distance),
            "error_90": np.quantile(distance, 0.9),
            "coverage": inside.mean(),
            "coverage/x": inside[:, 0].mean(),
            "width": 2 * z * s.mean(),
        }
        for name, value in expected.items():
            assert found[name][k] == pytest.approx(value), name


def test_a_posteriors_own_intervals_are_scored(draws: BlockDraws, rng: np.random.Generator) -> None:
    truth, mean, spread = rng.normal(size=(N, 1)), rng.normal(size=(N, 1)), np.ones((N, 1))
    lower, upper = truth - rng.uniform(-0.5, 1, (N, 1)), truth + rng.uniform(-0.5, 1, (N, 1)) + 0.5
    bounds = (np.minimum(lower, upper), np.maximum(lower, upper))
    inside = (truth >= bounds[0]) & (truth <= bounds[1])
    found = continuous_scores(truth, mean, draws, spread=spread, bounds=bounds)
    assert found["coverage"].value == pytest.approx(inside.mean())
    assert found["width"].value == pytest.approx((bounds[1] - bounds[0]).mean())
    # of an angle the interval runs upwards from its lower end, through zero if need be
    angle = np.full((N, 1), 5.0)
    around = (np.full((N, 1), 350.0), np.full((N, 1), 20.0))
    turned = circular_scores(angle, angle, draws, period=360.0, spread=spread, bounds=around)
    assert (turned["coverage"].value, turned["width"].value) == (1, 30)
    missed = circular_scores(angle + 20, angle, draws, period=360.0, spread=spread, bounds=around)
    assert missed["coverage"].value == 0


def test_crps_is_the_integral(draws: BlockDraws, rng: np.random.Generator) -> None:
    truth, mean, spread = rng.normal(size=(N, 1)), rng.normal(size=(N, 1)), rng.uniform(0.5, 2, (N, 1))
    found = continuous_scores(truth, mean, draws, spread=spread)["crps"].value
    at = np.linspace(-30, 30, 40001)
    one = [
        ((norm.cdf(at, m, s) - (at >= t)) ** 2).mean() * 60 for t, m, s in np.hstack([truth, mean, spread])
    ]
    assert found == pytest.approx(np.mean(one), rel=2e-3)


@pytest.mark.parametrize("period", [360.0, 2 * np.pi])
def test_circular_scores_are_those_of_the_samples_drawn(
    rng: np.random.Generator, draws: BlockDraws, period: float
) -> None:
    truth = rng.uniform(0, period, (N, 1))
    mean = (truth + rng.normal(0.05, 0.1, (N, 1)) * period) % period
    spread = np.full((N, 1), 0.1 * period)
    found = {
        k: all_of(v) for k, v in circular_scores(truth, mean, draws, period=period, spread=spread).items()
    }
    turn = 2 * np.pi / period
    for k, (t, m) in enumerate(repeated(draws, truth[:, 0], mean[:, 0])):
        away = np.abs(t - m)
        away = np.minimum(away, period - away)
        a, b = t * turn, m * turn
        sa = np.sin(a - np.angle(np.exp(1j * a).sum()))
        sb = np.sin(b - np.angle(np.exp(1j * b).sum()))
        expected = {
            "mean_error": away.mean(),
            "median_error": np.median(away),
            "error_90": np.quantile(away, 0.9),
            "bias": np.angle(np.exp(1j * (b - a)).mean()) / turn,
            "circular_correlation": (sa * sb).sum() / np.sqrt((sa**2).sum() * (sb**2).sum()),
            "coverage": (away <= norm.ppf(0.9) * 0.1 * period).mean(),
        }
        for name, value in expected.items():
            assert found[name][k] == pytest.approx(value), name
    wide = circular_scores(truth, mean, draws, period=period, spread=spread * 100)
    assert wide["width"].value == pytest.approx(period)
    assert wide["coverage"].value == 1


@pytest.mark.parametrize("n_classes", [2, 4])
def test_categorical_scores_are_those_of_the_samples_drawn(
    rng: np.random.Generator, draws: BlockDraws, n_classes: int
) -> None:
    truth = np.repeat(rng.integers(n_classes, size=N // 4), 4)  # some draws lack a class
    probability = rng.dirichlet(np.ones(n_classes), N).round(2) + 0.01  # with ties
    probability += 0.3 * (truth[:, None] == np.arange(n_classes))
    probability /= probability.sum(1, keepdims=True)
    found = {k: all_of(v) for k, v in categorical_scores(truth, probability, draws).items()}
    for k, (t, p) in enumerate(repeated(draws, truth, probability)):
        present = np.unique(t)
        if n_classes == 2:
            auc = roc_auc_score(t, p[:, 1])
        else:
            auc = np.mean([roc_auc_score(t == c, p[:, c]) for c in present])
        expected = {
            "accuracy": (p.argmax(1) == t).mean(),
            "balanced_accuracy": balanced_accuracy_score(t, p.argmax(1), adjusted=False)
            if len(np.setdiff1d(p.argmax(1), present)) == 0
            else np.mean([(p.argmax(1)[t == c] == c).mean() for c in present]),
            "auc": auc,
            "log_loss": log_loss(t, p, labels=range(n_classes)),
        }
        for name, value in expected.items():
            assert found[name][k] == pytest.approx(value), name


def test_what_is_not_defined_is_not_a_number(draws: BlockDraws) -> None:
    ones, ramp = np.ones((N, 1)) * 0.1, np.linspace(0, 1, N)[:, None]
    constant_truth = continuous_scores(ones, ramp, draws)
    assert np.isnan(constant_truth["r2"].value)
    assert constant_truth["r2"].interval is None
    assert np.isnan(continuous_scores(ramp, ones, draws)["correlation"].value)
    assert continuous_scores(ramp, ones, draws)["r2"].value < 0
    assert np.isnan(circular_scores(ones, ramp, draws, period=7.0)["circular_correlation"].value)
    one_class = categorical_scores(np.zeros(N, int), np.full((N, 2), 0.5), draws)
    assert np.isnan(one_class["auc"].value)
    assert one_class["log_loss"].value == pytest.approx(np.log(2))


@pytest.mark.parametrize("n_blocks", [8, 20])
def test_the_interval_covers_what_it_says_when_errors_come_in_blocks(n_blocks: int) -> None:
    expected, hits, hits_of_bins = np.sqrt(2 / np.pi * 1.09), 0, 0
    size = n_blocks * 5
    for seed in range(200):
        rng = np.random.default_rng(seed)
        error = np.abs(np.repeat(rng.normal(0, 1, n_blocks), 5) + rng.normal(0, 0.3, size))
        for by_bin in (False, True):
            draws = BlockDraws(np.arange(size) // (1 if by_bin else 5), draws=200, seed=seed)
            low, high = draws.score(draws.sums(error[:, None])[:, 0] / size).interval
            hits += not by_bin and low <= expected <= high
            hits_of_bins += by_bin and low <= expected <= high
    assert 0.9 <= hits / 200 <= 0.985
    assert hits_of_bins / 200 < 0.75


def test_a_paired_difference_is_narrower_than_the_two(rng: np.random.Generator, draws: BlockDraws) -> None:
    truth = rng.normal(size=(N, 1))
    shared = rng.normal(size=(N, 1))
    one = continuous_scores(truth, truth + shared, draws)
    two = continuous_scores(truth, truth + 1.1 * shared, draws)
    found = differences(two, one)["mean_error"]
    assert found.value == pytest.approx(two["mean_error"].value - one["mean_error"].value)
    low, high = found.interval
    assert 0 < low < found.value < high
    assert high - low < 0.3 * np.subtract(*one["mean_error"].interval[::-1])
    with pytest.raises(ValueError, match="same BlockDraws"):
        one["r2"] - Score(1.0, np.ones(3), 20)


def test_a_single_block_has_no_interval() -> None:
    found = continuous_scores(np.arange(5.0)[:, None], np.ones((5, 1)), BlockDraws(np.zeros(5, int)))
    assert found["mean_error"].value == 1.4
    assert all(score.interval is None for score in found.values())


def test_blocks_of_time_keep_to_their_stretch() -> None:
    assert time_blocks([3, 0, 5], bin_s=0.5, block_s=1.0).tolist() == [0, 0, 1, 2, 2, 3, 3, 4]
    assert time_blocks([], bin_s=0.5, block_s=1.0).shape == (0,)


def test_arrays_that_do_not_fit_are_refused(draws: BlockDraws) -> None:
    y = np.zeros((N, 1))
    with pytest.raises(ValueError, match="expected \\(n, D\\)"):
        continuous_scores(y[:-1], y[:-1], draws)
    with pytest.raises(ValueError, match="bins that are known"):
        continuous_scores(np.full((N, 1), np.nan), y, draws)
    with pytest.raises(ValueError, match="above 0"):
        continuous_scores(y, y, draws, spread=y)
    with pytest.raises(ValueError, match="known ones only"):
        categorical_scores(np.full(N, -1), np.ones((N, 2)), draws)
    with pytest.raises(ValueError, match="names"):
        continuous_scores(y, y, draws, names=["a", "b"])
    with pytest.raises(ValueError, match="no sample"):
        BlockDraws(np.empty(0, int))
