from itertools import pairwise

import numpy as np
import pytest

from neuroformer.identity.correlation import lagged_correlation, paired_correlation, standardize


def test_it_is_the_correlation_of_pearson(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(50, 3)), rng.normal(size=(50, 2))
    found = lagged_correlation([a], [b])
    np.testing.assert_allclose(found, np.corrcoef(a.T, b.T)[:3, 3:], atol=1e-12)


@pytest.mark.parametrize("lag", [0, 1, 3, -2])
def test_a_shifted_copy_peaks_at_its_lag(rng: np.random.Generator, lag: int) -> None:
    a = rng.normal(size=(400, 1))
    b = np.roll(a, lag, axis=0)
    found = {k: lagged_correlation([a], [b], k)[0, 0] for k in range(-4, 5)}
    assert max(found, key=lambda k: found[k]) == lag
    assert found[lag] > 0.95
    np.testing.assert_allclose(paired_correlation([a], [b], lag), found[lag])


def test_no_pair_reaches_over_the_end_of_a_stretch() -> None:
    # Any pair across the cut would be 1 · 1; within the stretches all pairs at lag 1 are 1 · -1.
    a = [np.array([[1.0], [-1.0], [1.0]]), np.array([[1.0], [-1.0], [1.0]])]
    z, _ = standardize(a)
    within = np.mean([x[0] * y[0] for part in z for x, y in pairwise(part)])
    np.testing.assert_allclose(lagged_correlation(a, a, 1), within)


def test_missing_samples_are_left_out(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(60, 1)), rng.normal(size=(60, 1))
    holes = a.copy()
    holes[10:20] = np.nan
    keep = np.r_[0:10, 20:60]
    za = (a[keep] - a[keep].mean()) / a[keep].std()
    zb = (b - b.mean()) / b.std()
    np.testing.assert_allclose(lagged_correlation([holes], [b])[0, 0], (za * zb[keep]).mean())


def test_what_does_not_vary_correlates_with_nothing(rng: np.random.Generator) -> None:
    constant = np.full((20, 1), 0.1)
    assert lagged_correlation([constant], [rng.normal(size=(20, 1))])[0, 0] == 0
    assert np.isnan(lagged_correlation([constant], [constant], 30)).all()
