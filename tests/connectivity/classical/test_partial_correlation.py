import sys

import numpy as np
import pytest

from neuroformer.connectivity.classical import partial_correlation
from neuroformer.connectivity.classical.partial_correlation import (
    fourth_moment,
    lag_windows,
    ledoit_wolf_shrinkage,
)

MODULE = sys.modules[ledoit_wolf_shrinkage.__module__]  # by its own name the package has the function
GROUPS = [range(1, 2), range(2, 3), range(3, 5)]


def past_values(fires: np.ndarray, n_lags: int = 4) -> np.ndarray:
    """(bins, windows · N), deviations from the mean, zero before the recording."""
    padded = np.pad(fires - fires.mean(axis=0), ((n_lags, 0), (0, 0)))
    return np.hstack([sum(padded[n_lags - lag : len(padded) - lag] for lag in group) for group in GROUPS])


def test_lag_windows_cover_every_lag_once():
    assert lag_windows(4) == GROUPS
    for n_lags in range(1, 30):
        assert [lag for window in lag_windows(n_lags) for lag in window] == list(range(1, n_lags + 1))


def test_is_the_correlation_of_what_the_rest_leaves(as_counts, rng, monkeypatch):
    fires = rng.poisson(0.4, size=(3_000, 3))
    fires[1:, 1] += fires[:-1, 0]
    monkeypatch.setattr(MODULE, "MOST_SHRINKAGE", 0.0)
    profile = partial_correlation(as_counts(fires), n_lags=4).lag_profile
    past = past_values(fires)
    for i, j, g in ((0, 1, 0), (2, 1, 2), (1, 2, 1)):
        source = g * 3 + i
        rest = np.column_stack([np.delete(past, source, axis=1), np.ones(len(past))])
        left = [y - rest @ np.linalg.lstsq(rest, y)[0] for y in (past[:, source], fires[:, j])]
        expected = np.corrcoef(*left)[0, 1]
        assert profile[i, j, GROUPS[g].start - 1] == pytest.approx(expected, abs=2e-3)
    assert profile[0, 1, 0] > 0.5


def test_shrinkage_is_the_formula_of_ledoit_and_wolf_computed_directly(as_counts, rng):
    fires = rng.poisson(0.3, size=(120, 6))
    fires[1:, 1] += fires[:-1, 0]
    past = past_values(fires)
    deviation = np.sqrt((past**2).mean(axis=0))
    z = past / deviation
    correlation = z.T @ z / len(z)
    fourth = fourth_moment(as_counts(fires), np.arange(6), GROUPS, deviation)
    error = np.mean([((np.outer(row, row) - correlation) ** 2).sum() for row in z]) / len(z)
    distance = ((correlation - np.eye(len(correlation))) ** 2).sum()
    assert 0.1 < error / distance < 0.9
    assert ledoit_wolf_shrinkage(correlation, fourth, len(z)) == pytest.approx(error / distance)


def test_blocks_of_time_change_nothing(as_counts, rng, monkeypatch):
    counts = as_counts(rng.poisson(0.3, size=(500, 4)), rng.poisson(0.3, size=(37, 4)))
    deviation = rng.uniform(0.5, 2, 12)
    whole = fourth_moment(counts, np.arange(4), GROUPS, deviation)
    monkeypatch.setattr(MODULE, "BLOCK_ENTRIES", 160)
    assert fourth_moment(counts, np.arange(4), GROUPS, deviation) == pytest.approx(whole)


def test_what_runs_through_a_third_unit_or_from_one_is_not_a_connection(as_counts, rng):
    fires = rng.poisson(0.05, size=(60_000, 4))
    fires[1:, 1] += fires[:-1, 0] * (rng.random(59_999) < 0.5)
    fires[1:, 2] += fires[:-1, 1] * (rng.random(59_999) < 0.5)  # 0 → 1 → 2
    fires[2:, 3] += fires[:-2, 0] * (rng.random(59_998) < 0.5)  # 0 → 3, after 1 has heard of it
    called = partial_correlation(as_counts(fires), n_lags=4).called(0.01)
    assert called[0, 1]
    assert called[1, 2]
    assert called[0, 3]
    assert not called[0, 2]
    assert not called[1, 3]


def test_short_recordings_of_many_units_stay_calibrated(as_counts):
    shares = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        p = partial_correlation(as_counts(rng.poisson(0.1, size=(600, 20))), n_lags=4).p_values
        shares.append(np.mean(p[~np.eye(20, dtype=bool)] < 0.05))
    assert 0.02 < np.mean(shares) < 0.09
