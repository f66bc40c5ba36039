"""Responses to stimuli, and drift since the prefix."""

from itertools import pairwise

import numpy as np
import pytest

from neuroformer.calibration.activity import Activity, Blocks
from neuroformer.calibration.horizon import drift
from neuroformer.calibration.population import from_moments, moments
from neuroformer.calibration.psth import Trials, over_time, responses


def test_r_over_time(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(2, 3, 8, 2))
    found = over_time(a, b)
    for row in range(3):
        for unit in range(2):
            expected = np.corrcoef(a[row, :, unit], b[row, :, unit])[0, 1]
            assert found[row, unit] == pytest.approx(expected)
    assert np.isnan(over_time(np.ones((1, 8, 1)), b[:1, :, :1])).all()


def test_responses_tell_a_model_that_follows_the_stimulus(rng: np.random.Generator) -> None:
    rates = {0: np.linspace(0.1, 4, 10), 1: np.linspace(4, 0.1, 10), 2: np.ones(10)}
    stimulus = np.array([0, 1] * 12 + [2])
    rate = np.repeat(np.concatenate([np.append(rates[int(s)], [0.5, 0.5]) for s in stimulus])[:, None], 5, 1)
    trials = Trials(start=np.arange(25) * 12, n_bins=10, stimulus=stimulus, labels=("up", "down", "once"))

    def draw(rate: np.ndarray) -> Activity:
        return Activity.from_counts([rng.poisson(rate)], bin_s=0.1)

    real = draw(rate)
    good = responses(real, [draw(rate) for _ in range(3)], trials, width=1, n_splits=20, rng=rng)
    assert [(r.label, r.n_trials) for r in good] == [("up", 12), ("down", 12)]
    flat = responses(
        real,
        [draw(np.full_like(rate, rate.mean())) for _ in range(3)],
        trials,
        width=1,
        n_splits=20,
        rng=rng,
    )
    for follows, ignores in zip(good, flat, strict=True):
        assert follows.ceiling.mean() > 0.7
        assert follows.generated.mean() == pytest.approx(follows.ceiling.mean(), abs=0.1)
        assert abs(ignores.generated.mean()) < 0.35


def test_windows_of_trials_share_a_condition_with_the_same_time_of_the_same_stimulus() -> None:
    trials = Trials(start=np.array([3, 20, 40]), n_bins=7, stimulus=np.array([1, 0, 1]), labels=("a", "b"))
    windows = trials.windows(3, Blocks.cut([60], bins=30))
    assert list(windows.start) == [3, 6, 20, 23, 40, 43]
    assert list(windows.condition) == [2, 3, 0, 1, 2, 3]
    assert list(windows.block) == [0, 0, 0, 0, 1, 1]


def test_drift_by_hand_and_a_model_that_drifts(rng: np.random.Generator) -> None:
    counts = [rng.poisson(0.5, (200, 6)) for _ in range(8)]
    real = Activity.from_counts(counts, bin_s=0.01)
    fades = np.linspace(0.5, 0.0, 200)[:, None] * np.ones(6)
    fading = [Activity.from_counts([rng.poisson(fades) for _ in range(8)], bin_s=0.01) for _ in range(4)]
    steady = [
        Activity.from_counts([rng.poisson(0.5, (200, 6)) for _ in range(8)], bin_s=0.01) for _ in range(4)
    ]
    found = drift(real, steady, width=5, block=50, n_classes=4, rng=rng)
    assert found.edges_s[0] == 0
    assert found.edges_s[-1] == pytest.approx(2.0)
    edges = np.round(found.edges_s / 0.05).astype(int)
    windows = np.stack([c.reshape(40, 5, 6).sum(1) for c in counts])
    for k, (a, b) in enumerate(pairwise(edges)):
        inside = windows[:, a:b].reshape(-1, 6)
        assert found.seconds[k] == pytest.approx(0.05 * len(inside))
        assert found.real["rate"][k] == pytest.approx(inside.mean() / 0.05)
        expected = inside.sum(1).var(ddof=1) / inside.var(0, ddof=1).sum()
        assert found.real["synchrony"][k] == pytest.approx(expected)
        assert from_moments(moments(inside).sum(0), "synchrony") == pytest.approx(expected)
    outside = (found.generated["rate"] < found.low["rate"]) | (found.generated["rate"] > found.high["rate"])
    assert not outside.any()
    faded = drift(real, fading, width=5, block=50, n_classes=4, rng=rng)
    assert faded.generated["rate"][-1] < faded.low["rate"][-1]
    assert faded.low["rate"][0] <= faded.generated["rate"][0] <= faded.high["rate"][0]


def test_stretches_of_unlike_length_are_counted_as_far_as_they_go(rng: np.random.Generator) -> None:
    real = Activity.from_counts([rng.poisson(0.5, (n, 3)) for n in (200, 60, 25)], bin_s=0.01)
    found = drift(real, [real], width=5, block=50, n_classes=5, rng=rng)
    assert found.seconds.sum() == pytest.approx(2.85)
    np.testing.assert_allclose(found.generated["rate"], found.real["rate"])
