"""Each statistic against a count by hand."""

from itertools import pairwise

import numpy as np
import pytest

from neuroformer.calibration.activity import Activity, Blocks, Windows
from neuroformer.calibration.population import Crowd, Moments
from neuroformer.calibration.statistics import (
    Autocorrelogram,
    Fano,
    Intervals,
    Rate,
    classes,
    kolmogorov_smirnov,
)

BIN_S = 0.01


def stretches(rng: np.random.Generator, rate: float = 0.2) -> list[np.ndarray]:
    return [rng.poisson(rate, (n, 3)) for n in (103, 60, 37)]


@pytest.fixture
def counts(rng: np.random.Generator) -> list[np.ndarray]:
    return stretches(rng)


@pytest.fixture
def activity(counts: list[np.ndarray]) -> Activity:
    return Activity.from_counts(counts, bin_s=BIN_S)


@pytest.fixture
def blocks(activity: Activity) -> Blocks:
    return Blocks.cut(activity.lengths, bins=20)


def pieces(counts: list[np.ndarray], blocks: Blocks) -> list[np.ndarray]:
    whole = np.concatenate(counts)
    return [whole[a:b] for a, b in zip(blocks.start, blocks.stop, strict=True)]


def test_activity_keeps_every_event(counts: list[np.ndarray], activity: Activity) -> None:
    whole = np.concatenate(counts)
    assert whole.max() > 1
    np.testing.assert_array_equal(activity.counts(), whole)
    np.testing.assert_array_equal(activity.events, whole.sum(0))
    assert activity.seconds == pytest.approx(2.0)


def test_blocks_fill_the_stretches_and_span_none(activity: Activity, blocks: Blocks) -> None:
    assert blocks.start[0] == 0
    assert blocks.stop[-1] == activity.n_bins
    np.testing.assert_array_equal(blocks.start[1:], blocks.stop[:-1])
    assert set(np.cumsum(activity.lengths)) <= set(blocks.stop)
    assert blocks.lengths.min() >= 20
    np.testing.assert_array_equal(blocks.of(blocks.start), np.arange(len(blocks)))
    np.testing.assert_array_equal(blocks.of(blocks.stop - 1), np.arange(len(blocks)))


def test_windows_count_what_lies_in_them(
    counts: list[np.ndarray], activity: Activity, blocks: Blocks
) -> None:
    windows = blocks.windows(7)
    found = windows.counts(activity)
    whole = np.concatenate(counts)
    for start, block, row in zip(windows.start, windows.block, found, strict=True):
        assert blocks.start[block] <= start
        assert start + 7 <= blocks.stop[block]
        np.testing.assert_array_equal(row, whole[start : start + 7].sum(0))
    apart = Windows(start=np.array([5, 40]), width=3, block=np.array([0, 1]))
    np.testing.assert_array_equal(apart.counts(activity), [whole[5:8].sum(0), whole[40:43].sum(0)])


def test_rate(counts: list[np.ndarray], activity: Activity, blocks: Blocks) -> None:
    statistic = Rate(bin_s=BIN_S)
    sums = statistic.sums(activity, blocks)
    for block, piece in enumerate(pieces(counts, blocks)):
        np.testing.assert_allclose(statistic.value(sums[block])[:, 0], piece.mean(0) / BIN_S)
    np.testing.assert_allclose(statistic.value(sums.sum(0))[:, 0], np.concatenate(counts).mean(0) / BIN_S)
    np.testing.assert_allclose(statistic.distance(np.array([[4.0]]), np.array([[9.0]])), [1.0])


def test_intervals_end_with_their_stretch_and_belong_to_the_block_of_their_first_event(
    counts: list[np.ndarray], activity: Activity, blocks: Blocks
) -> None:
    statistic = Intervals(edges=np.arange(200))
    sums = statistic.sums(activity, blocks)
    expected = np.zeros_like(sums)
    first = 0
    for stretch in counts:
        for unit in range(3):
            train = np.repeat(np.arange(len(stretch)), stretch[:, unit])
            for a, b in pairwise(train):
                block = int(np.flatnonzero((blocks.start <= first + a) & (first + a < blocks.stop))[0])
                expected[block, unit, b - a] += 1
        first += len(stretch)
    np.testing.assert_array_equal(sums, expected)
    shares = statistic.value(sums.sum(0))
    np.testing.assert_allclose(shares, np.cumsum(expected.sum(0), -1) / expected.sum((0, 2))[:, None])


def test_no_interval_crosses_the_end_of_a_stretch() -> None:
    one = np.zeros((10, 1), int)
    one[8] = 1
    other = np.zeros((10, 1), int)
    other[[1, 4]] = 1
    activity = Activity.from_counts([one, other], bin_s=BIN_S)
    sums = Intervals(edges=np.arange(12)).sums(activity, Blocks.cut(activity.lengths, bins=5))
    assert sums.sum() == 1
    assert sums[2, 0, 3] == 1


def test_kolmogorov_smirnov_is_the_largest_gap_of_the_shares() -> None:
    a, b = np.array([0.1, 0.5, 1.0]), np.array([0.3, 0.4, 1.0])
    assert kolmogorov_smirnov(a, b) == pytest.approx(0.2)
    nothing = np.full(3, np.nan)
    assert kolmogorov_smirnov(a, nothing) == 1
    assert np.isnan(kolmogorov_smirnov(nothing, nothing))


def test_classes_cover_every_number_once() -> None:
    edges = classes(1000)
    assert edges[0] == 0
    assert edges[-1] == 1001
    assert (np.diff(edges) > 0).all()
    assert list(classes(3, first=1)) == [1, 2, 3, 4]


def test_fano(counts: list[np.ndarray], activity: Activity, blocks: Blocks) -> None:
    statistic = Fano(width=5)
    sums = statistic.sums(activity, blocks)
    windows = [p[i : i + 5].sum(0) for p in pieces(counts, blocks) for i in range(0, len(p) - 4, 5)]
    expected = np.var(windows, axis=0, ddof=1) / np.mean(windows, axis=0)
    np.testing.assert_allclose(statistic.value(sums.sum(0))[:, 0], expected)
    np.testing.assert_allclose(statistic.distance(np.array([[2.0]]), np.array([[0.5]])), [np.log(4)])
    assert np.isnan(statistic.distance(np.array([[2.0]]), np.array([[0.0]])))
    silent = Activity.from_counts([np.zeros((103, 3), int)], bin_s=BIN_S)
    assert np.isnan(statistic.value(statistic.sums(silent, Blocks.cut([103], bins=20)).sum(0))).all()


def test_autocorrelogram(counts: list[np.ndarray], activity: Activity, blocks: Blocks) -> None:
    statistic = Autocorrelogram(edges=np.array([1, 2, 3, 6]))
    found = statistic.value(statistic.sums(activity, blocks).sum(0))
    whole = np.concatenate(counts)
    for unit in range(3):
        for k, lags in enumerate(([1], [2], [3, 4, 5])):
            pairs = exposure = 0
            for piece in pieces(counts, blocks):
                for lag in lags:
                    pairs += (piece[:-lag, unit] * piece[lag:, unit]).sum()
                    exposure += len(piece) - lag
            assert found[unit, k] == pytest.approx(pairs / exposure / whole[:, unit].mean() ** 2)
    a = np.array([[1.0, 2.0, np.nan]])
    b = np.array([[4.0, 2.0, 5.0]])
    np.testing.assert_allclose(statistic.distance(a, b), [np.sqrt(1 / 2)])


def test_the_population_in_windows(counts: list[np.ndarray], activity: Activity, blocks: Blocks) -> None:
    windows = np.array([p[i : i + 5].sum(0) for p in pieces(counts, blocks) for i in range(0, len(p) - 4, 5)])
    total = windows.sum(1)
    own = windows.var(0, ddof=1)
    covariance = np.cov(windows.T)
    pairs = covariance[np.triu_indices(3, 1)].mean()
    expected = {
        "variation": total.std(ddof=1) / total.mean(),
        "synchrony": total.var(ddof=1) / own.sum(),
        "fano": own.sum() / total.mean(),
        "correlation": pairs / own.mean(),
    }
    for name, value in expected.items():
        statistic = Moments(width=5, of=name, name=name, title="")  # type: ignore[arg-type]
        assert statistic.value(statistic.sums(activity, blocks).sum(0))[0, 0] == pytest.approx(value)
    for of, numbers in (("events", total), ("active", (windows > 0).sum(1))):
        crowd = Crowd(width=5, edges=np.arange(41), of=of, name=of, title="")  # type: ignore[arg-type]
        shares = crowd.value(crowd.sums(activity, blocks).sum(0))[0]
        np.testing.assert_allclose(shares, [(numbers <= k).mean() for k in range(40)])
