"""An exact model is within the band; wrong ones are not, on either side."""

from collections.abc import Callable
from math import comb

import numpy as np
import pytest

from neuroformer.calibration.activity import Activity, Blocks
from neuroformer.calibration.halves import Comparison, Splits, compare
from neuroformer.calibration.statistics import Fano, Intervals, Rate, Statistic, classes

BIN_S = 0.01


@pytest.mark.parametrize("n_blocks", [2, 3, 4, 7, 12])
def test_splits_are_different_and_equal_in_size(n_blocks: int, rng: np.random.Generator) -> None:
    splits = Splits.draw(n_blocks, 50, rng)
    half = n_blocks // 2
    assert len(splits) == min(50, comb(n_blocks, half) * comb(n_blocks - half, half) // 2)
    assert (splits.a.sum(1) == half).all()
    assert (splits.b.sum(1) == half).all()
    assert (splits.a * splits.b == 0).all()
    pairs = {frozenset((a.tobytes(), b.tobytes())) for a, b in zip(splits.a, splits.b, strict=True)}
    assert len(pairs) == len(splits)


def test_halves_are_sums_of_their_blocks(rng: np.random.Generator) -> None:
    sums = rng.normal(size=(5, 3, 2))
    splits = Splits.draw(5, 10, rng)
    a, b = splits.of(sums)
    np.testing.assert_allclose(a[3], sums[splits.a[3] > 0].sum(0))
    np.testing.assert_allclose(b[3], sums[splits.b[3] > 0].sum(0))


def comparison(
    statistic: Statistic, real: Activity, copies: list[Activity], rng: np.random.Generator
) -> Comparison:
    blocks = Blocks.cut(real.lengths, bins=250)
    splits = Splits.draw(len(blocks), 60, rng)
    return compare(statistic, real, copies, blocks, splits, min_events=1)


STATISTICS = (Rate(bin_s=BIN_S), Intervals(edges=classes(1500)), Fano(width=100))


@pytest.fixture(scope="module")
def bursty(simulated: Callable[..., tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """(9, T, N) counts: a recording and eight exact copies."""
    return simulated(np.random.default_rng(5), 9, self_excitation=0.7, n_units=40)[0]


@pytest.mark.parametrize("statistic", STATISTICS, ids=lambda s: s.name)
def test_an_exact_model_is_within(
    statistic: Statistic,
    bursty: np.ndarray,
    activities: Callable[[np.ndarray], list[Activity]],
    rng: np.random.Generator,
) -> None:
    real, *copies = activities(bursty)
    found = comparison(statistic, real, copies, rng)
    assert found.share >= 0.9
    assert found.exact_share >= 0.9
    assert found.alike_share >= 8 / 9 - 3 * np.sqrt(8 / 81 / 40)  # of 40 units, three standard errors


def test_a_poisson_model_of_bursts_fails_and_so_does_the_reverse(
    bursty: np.ndarray, activities: Callable[[np.ndarray], list[Activity]], rng: np.random.Generator
) -> None:
    poisson = rng.poisson(np.broadcast_to(bursty.mean((0, 1)), bursty.shape))
    (regular, *dull), (real, *copies) = activities(poisson), activities(bursty)
    for statistic in STATISTICS[1:]:
        assert comparison(statistic, real, dull, rng).share < 0.5
        assert comparison(statistic, regular, copies, rng).share < 0.5
        assert comparison(statistic, real, dull, rng).alike_share < 0.2
    # The rates are right all the same.
    assert comparison(STATISTICS[0], real, dull, rng).share >= 0.9


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_wrong_rate_fails_on_both_sides(
    factor: float,
    simulated: Callable[..., tuple[np.ndarray, np.ndarray]],
    activities: Callable[[np.ndarray], list[Activity]],
    rng: np.random.Generator,
) -> None:
    real = activities(simulated(rng, 1)[0])[0]
    copies = activities(simulated(rng, 6, rate=0.08 * factor)[0])
    found = comparison(STATISTICS[0], real, copies, rng)
    assert found.share < 0.3
    assert found.alike_share < 0.2


def test_a_silent_model_is_outside_whatever_is_asked(
    bursty: np.ndarray, activities: Callable[[np.ndarray], list[Activity]], rng: np.random.Generator
) -> None:
    real, *silent = activities(np.concatenate([bursty[:1], np.zeros_like(bursty[1:3])]))
    for statistic in STATISTICS:
        assert comparison(statistic, real, silent, rng).share == 0
    assert comparison(STATISTICS[0], real, silent, rng).alike_share == 0


def test_units_one_by_one_or_many_at_once_give_the_same(
    bursty: np.ndarray,
    activities: Callable[[np.ndarray], list[Activity]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, *copies = activities(bursty[:4])
    whole = comparison(STATISTICS[1], real, copies, np.random.default_rng(0))
    monkeypatch.setattr("neuroformer.calibration.halves._UNITS", 7)
    parts = comparison(STATISTICS[1], real, copies, np.random.default_rng(0))
    for name in ("real", "generated", "distance", "floor", "bound", "low", "high", "tested", "stands_out"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))
    assert whole.exact_share == pytest.approx(parts.exact_share)


def test_units_that_are_not_tested_do_not_count(
    bursty: np.ndarray, activities: Callable[[np.ndarray], list[Activity]], rng: np.random.Generator
) -> None:
    real, *copies = activities(bursty[:3])
    blocks = Blocks.cut(real.lengths, bins=250)
    splits = Splits.draw(12, 20, rng)
    most = int(np.median(real.events))
    some = compare(STATISTICS[0], real, copies, blocks, splits, min_events=most)
    np.testing.assert_array_equal(some.tested, real.events >= most)
    assert some.exact[1] == sum((copy.events >= most).sum() for copy in copies)
    none = compare(STATISTICS[0], real, copies, blocks, splits, min_events=10**6)
    assert np.isnan(none.share)
    assert np.isnan(none.exact_share)
    assert not none.within.any()
