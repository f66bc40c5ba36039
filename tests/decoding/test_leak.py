"""The leak check: a random split flatters where behaviour and events are slow, and not where they are not."""

from __future__ import annotations

import numpy as np
import pytest

from neuroformer.baselines.decoding import Target
from neuroformer.data import Span
from neuroformer.decoding.arrays import Stretches, Truth
from neuroformer.decoding.leak import Leak, check_leak, deal_bins, leak_sentence
from neuroformer.settings.decoding import DecodersConfig, NaiveBayesConfig, RidgeConfig

CONFIG = DecodersConfig(
    ridge=RidgeConfig(windows_s=[0.5], taps=[1], penalties=[1e-3, 1e-1, 10.0]),
    naive_bayes=NaiveBayesConfig(windows_s=[0.5], smoothing=[0.05], prior_s=[0.5], evidence=[1.0]),
)
VALUE = Target(name="value", unit="cm")


def part(x: np.ndarray, y: np.ndarray) -> tuple[Stretches, Truth]:
    spans = [Span(epoch=0, start=0, stop=len(x))]
    time = [0.1 * np.arange(len(x))]
    stretches = Stretches(spans=spans, time=time, x=[x.astype(np.float32)], lead=[0])
    known = np.isfinite(y).all(1) if y.ndim == 2 else y >= 0
    return stretches, Truth(values=[y], known=[known])


def slow(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    """(n, k) noise that lasts about 60 bins."""
    kernel = np.exp(-np.arange(300) / 60)
    return np.stack([np.convolve(rng.standard_normal(n + 300), kernel)[300 : n + 300] for _ in range(k)], 1)


def check(x: np.ndarray, y: np.ndarray, target: Target = VALUE) -> Leak:
    cut = 2 * len(x) // 3
    return check_leak(
        target,
        part(x[:cut], y[:cut]),
        part(x[cut:], y[cut:]),
        bin_s=0.1,
        block_s=5.0,
        draws=100,
        config=CONFIG,
        seed=0,
    )


def test_slow_activity_without_any_information_looks_decodable_under_random_bins(
    rng: np.random.Generator,
) -> None:
    leak = check(slow(rng, 1500, 40), slow(rng, 1500, 1))
    assert leak.random["r2"].value > 0.4
    assert leak.blocked["r2"].value < 0.1
    assert leak.plain()["inflation"] == pytest.approx(leak.random["r2"].value - leak.blocked["r2"].value)
    assert leak_sentence(VALUE, [leak]).startswith("WARNING, leak check, value: ridge has R²")


def test_behaviour_that_is_new_in_every_bin_does_not_leak(rng: np.random.Generator) -> None:
    y = rng.standard_normal((1500, 1))
    leak = check(y @ rng.standard_normal((1, 10)) + rng.standard_normal((1500, 10)), y)
    assert abs(leak.random["r2"].value - leak.blocked["r2"].value) < 0.1
    assert leak.n_train == 1000
    assert leak.n_test == 500


def test_classes_are_checked_with_naive_bayes(rng: np.random.Generator) -> None:
    side = Target(name="side", kind="categorical", labels=("left", "right"))
    y = (slow(rng, 900, 1)[:, 0] > 0).astype(np.int64)
    leak = check(rng.poisson(1 + 2 * y[:, None], (900, 4)), y, side)
    assert leak.method == "naive_bayes"
    assert leak.blocked["balanced_accuracy"].value > 0.8
    assert leak_sentence(side, [leak, leak]).count("means of 2 sessions") == 1


def test_bins_are_dealt_once_and_as_many_as_asked_for() -> None:
    known = [np.array([1, 0, 1, 1], bool), np.array([1, 1, 0], bool)]
    found = deal_bins(known, [2, 1, 2], seed=1)
    assert [[len(f) for f in one] for one in found] == [[4, 3]] * 3
    assert [sum(int(f.sum()) for f in one) for one in found] == [2, 1, 2]
    assert all(np.array_equal(sum(one[k].astype(int) for one in found), known[k]) for k in range(2))


def test_a_validation_part_is_dealt_with_the_others(rng: np.random.Generator) -> None:
    x, y = slow(rng, 1200, 30), slow(rng, 1200, 1)
    parts = [part(x[a:b], y[a:b]) for a, b in ((0, 800), (800, 900), (900, 1200))]
    leak = check_leak(
        VALUE,
        parts[0],
        parts[2],
        validation=parts[1],
        bin_s=0.1,
        block_s=5.0,
        draws=100,
        config=CONFIG,
        seed=0,
    )
    assert (leak.n_train, leak.n_test) == (800, 300)
    assert leak.random["r2"].value > leak.blocked["r2"].value + 0.3
