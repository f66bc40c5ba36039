"""Agreement of patterns over units and pairs, against correlations by hand."""

from collections.abc import Callable

import numpy as np
import pytest

from neuroformer.calibration.activity import Activity, Blocks, Windows
from neuroformer.calibration.agreement import agreement, leave_one_out
from neuroformer.calibration.halves import Splits
from neuroformer.calibration.pairs import correlations, pair_agreement, residual


def test_leaving_a_unit_out_of_a_pattern(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(2, 3, 7))
    b[1, 2] = np.nan
    r, without = leave_one_out(a, b, pairs=False)
    for row in range(3):
        known = np.isfinite(b[row])
        assert r[row] == pytest.approx(np.corrcoef(a[row, known], b[row, known])[0, 1])
        for unit in range(7):
            kept = known & (np.arange(7) != unit)
            expected = np.corrcoef(a[row, kept], b[row, kept])[0, 1]
            assert without[row, unit] == pytest.approx(expected)


def test_leaving_a_unit_out_of_all_its_pairs(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(2, 2, 6, 6))
    a, b = a + np.swapaxes(a, 1, 2), b + np.swapaxes(b, 1, 2)
    b[0, 1, 4] = b[0, 4, 1] = np.nan
    r, without = leave_one_out(a, b, pairs=True)
    i, j = np.triu_indices(6, 1)
    for row in range(2):
        known = np.isfinite(b[row, i, j])
        expected = np.corrcoef(a[row, i, j][known], b[row, i, j][known])[0, 1]
        assert r[row] == pytest.approx(expected)
        for unit in range(6):
            kept = known & (i != unit) & (j != unit)
            expected = np.corrcoef(a[row, i, j][kept], b[row, i, j][kept])[0, 1]
            assert without[row, unit] == pytest.approx(expected)


def test_the_ratio_to_the_ceiling_and_its_interval(rng: np.random.Generator) -> None:
    truth = rng.normal(size=200)

    def noisy(r: float) -> tuple[np.ndarray, np.ndarray]:
        """Halves whose correlation with the truth is r."""
        a, b = (r * truth + np.sqrt(1 - r**2) * rng.normal(size=(5, 200)) for _ in range(2))
        return a, b

    exact = agreement(real=noisy(0.9), copies=[noisy(0.9) for _ in range(4)], whole=(truth, truth))
    assert exact.ceiling == pytest.approx(0.81, abs=0.05)
    assert exact.interval[0] < 1 < exact.interval[1]
    assert exact.interval[1] - exact.interval[0] < 0.3
    assert exact.whole == pytest.approx(1)
    poor = agreement(real=noisy(0.9), copies=[noisy(0.45) for _ in range(4)], whole=(truth, truth))
    assert poor.ratio == pytest.approx(0.5, abs=0.1)
    assert poor.interval[1] < 0.8


def test_without_a_ceiling_there_is_no_ratio(rng: np.random.Generator) -> None:
    a, b, c, d = rng.normal(size=(4, 1, 30))
    found = agreement(real=(a, b), copies=[(c, d)], whole=(a[0], c[0]))
    assert np.isnan(found.ratio)
    assert np.isfinite(found.ceiling)


def test_correlations_from_sums(rng: np.random.Generator) -> None:
    counts = rng.poisson(1.0, (50, 4)).astype(float)
    counts[:, 2] = 3
    x = np.concatenate([np.ones((50, 1)), counts], 1)
    found = correlations(x.T @ x)
    kept = [0, 1, 3]
    np.testing.assert_allclose(found[np.ix_(kept, kept)], np.corrcoef(counts[:, kept].T))
    assert np.isnan(found[2]).all()


def test_what_windows_of_a_condition_share_is_taken_away() -> None:
    counts = np.array([[1.0, 5], [3, 7], [10, 0], [2, 6]])
    np.testing.assert_allclose(residual(counts, np.array([4, 4, 9, 4])), [[-1, -1], [1, 1], [0, 0], [0, 0]])


def test_an_exact_model_reaches_the_ceiling_of_pairs_and_one_without_shared_drive_does_not(
    simulated: Callable[..., tuple[np.ndarray, np.ndarray]],
    activities: Callable[[np.ndarray], list[Activity]],
    rng: np.random.Generator,
) -> None:
    exact = activities(simulated(rng, 5, shared=1.0, rate=0.15)[0])
    alone = activities(simulated(rng, 4, rate=0.15)[0])
    blocks = Blocks.cut(exact[0].lengths, bins=300)
    splits, units = Splits.draw(len(blocks), 40, rng), np.arange(12)
    windows = blocks.windows(10)
    found, real, generated = pair_agreement(exact[0], exact[1:], windows, splits, units)
    np.testing.assert_allclose(real, np.corrcoef(windows.counts(exact[0]).T), atol=1e-9)
    np.testing.assert_allclose(
        generated, np.corrcoef(np.concatenate([windows.counts(a) for a in exact[1:]]).T), atol=1e-9
    )
    assert found.n == 66
    assert 0.85 < found.ratio < 1.15
    assert found.ceiling > 0.7
    assert pair_agreement(exact[0], alone, windows, splits, units)[0].ratio < 0.3


def test_noise_correlations_leave_out_what_the_stimulus_drives(rng: np.random.Generator) -> None:
    drive = np.tile([0.2, 3.0], 100)[:, None]
    shared = rng.gamma(2.0, 0.5, (200, 1))
    rates = np.concatenate([drive, drive, shared, shared], 1)
    activity = Activity.from_counts([rng.poisson(rates)], bin_s=0.1)
    blocks = Blocks.cut(activity.lengths, bins=20)
    splits = Splits.draw(len(blocks), 10, rng)
    windows = Windows(
        start=np.arange(200), width=1, block=blocks.of(np.arange(200)), condition=np.tile([0, 1], 100)
    )
    total = pair_agreement(activity, [activity], blocks.windows(1), splits, np.arange(4))[1]
    noise = pair_agreement(activity, [activity], windows, splits, np.arange(4))[1]
    assert total[0, 1] > 0.4
    assert abs(noise[0, 1]) < 0.2
    assert noise[2, 3] > 0.2
