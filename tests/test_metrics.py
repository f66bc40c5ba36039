import math

import numpy as np
import pytest

from neuroformer.metrics import bits_per_spike, bootstrap_ratio


def test_bits_per_spike_by_hand() -> None:
    # 10 spikes in 100 bins: 4 of them in 10 bins that the model knows to be busy, 6 in the 90 others.
    null = 10 * math.log(0.1) - 100 * 0.1
    model = 4 * math.log(0.4) + 6 * math.log(6 / 90) - 10 * 0.4 - 90 * 6 / 90
    expected = (4 * math.log2(4) + 6 * math.log2(2 / 3)) / 10
    assert bits_per_spike(model, null, 10) == pytest.approx(expected)
    assert bits_per_spike(null, null, 10) == 0
    assert bits_per_spike(null - 1, null, 10) < 0


def test_bits_per_spike_of_silence_is_no_number() -> None:
    assert math.isnan(bits_per_spike(-1.0, -2.0, 0))


def test_interval_covers_as_often_as_it_says(rng: np.random.Generator) -> None:
    covered = 0
    for _ in range(200):
        events = rng.poisson(20, 60)
        bits = 0.3 * events + rng.normal(0, 2, 60)
        low, high = bootstrap_ratio(bits, events, rng, n_draws=300, level=0.9)
        assert low < high
        covered += low <= 0.3 <= high
    assert 0.82 <= covered / 200 <= 0.96


def test_interval_holds_the_ratio_and_widens_with_its_level(rng: np.random.Generator) -> None:
    denominator = rng.poisson(5, 40)
    numerator = denominator * 0.5 + rng.normal(size=40)
    narrow = bootstrap_ratio(numerator, denominator, np.random.default_rng(1), level=0.5)
    wide = bootstrap_ratio(numerator, denominator, np.random.default_rng(1), level=0.99)
    ratio = numerator.sum() / denominator.sum()
    assert wide[0] < narrow[0] < ratio < narrow[1] < wide[1]
    assert bootstrap_ratio(numerator, denominator, np.random.default_rng(1), level=0.5) == narrow


def test_a_constant_ratio_has_no_width(rng: np.random.Generator) -> None:
    denominator = np.array([3.0, 0.0, 5.0, 1.0])
    assert bootstrap_ratio(2 * denominator, denominator, rng) == (2.0, 2.0)


@pytest.mark.parametrize(
    ("numerator", "denominator"), [([], []), ([1.0], [2.0]), ([1.0, 2.0, 3.0], [0.0, 0.0, 0.0])]
)
def test_no_interval_without_two_blocks_or_without_events(
    rng: np.random.Generator, numerator: list[float], denominator: list[float]
) -> None:
    low, high = bootstrap_ratio(np.array(numerator), np.array(denominator), rng)
    assert math.isnan(low)
    assert math.isnan(high)
