import numpy as np
import pytest

from neuroformer.connectivity import ConnectivityMap, from_lag_profile


def test_the_matrix_of_a_lag_profile_is_its_size_over_lags_with_the_sign_of_its_sum():
    profile = np.random.default_rng(0).standard_normal((4, 4, 6)).astype(np.float32)
    estimate = from_lag_profile("coupling", profile, 0.01)
    assert estimate.matrix.dtype == np.float64
    np.testing.assert_allclose(np.abs(estimate.matrix), np.linalg.norm(profile.astype(np.float64), axis=-1))
    np.testing.assert_array_equal(np.sign(estimate.matrix), np.sign(profile.astype(np.float64).sum(axis=-1)))
    np.testing.assert_allclose(estimate.lags_s, [0.01, 0.02, 0.03, 0.04, 0.05, 0.06])


def test_a_profile_that_does_not_fit_its_matrix_or_lags_is_a_bug():
    matrix = np.zeros((3, 3))
    with pytest.raises(AssertionError, match="go together"):
        ConnectivityMap(name="m", matrix=matrix, lags_s=np.ones(2))
    with pytest.raises(AssertionError, match=r"\(3, 3, 4\)"):
        ConnectivityMap(
            name="m", matrix=matrix, lag_profile=np.zeros((3, 3, 4), np.float32), lags_s=np.ones(2)
        )
