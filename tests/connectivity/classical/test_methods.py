"""What every classical method owes, whatever it computes."""

import numpy as np
import pytest

from neuroformer.connectivity import classical
from neuroformer.connectivity.scores import score_connectivity
from neuroformer.errors import UserError
from neuroformer.settings.connectivity import CLASSICAL_ESTIMATORS

METHODS = [getattr(classical, name) for name in classical.__all__]
every_method = pytest.mark.parametrize("method", METHODS, ids=classical.__all__)


@every_method
def test_known_wiring_is_recovered_with_direction_sign_and_delay(method, network, as_counts, rng):
    fires, signs, delays = network
    estimate = method(as_counts(fires), n_lags=8, rng=rng, surrogates=10)
    assert estimate.name in CLASSICAL_ESTIMATORS
    scores = score_connectivity(estimate, signs, rng=rng, bootstrap=0)
    assert scores.average_precision > 0.85
    assert scores.direction_accuracy == scores.sign_accuracy == 1
    edges = signs != 0
    called = estimate.called(0.05)
    assert called[edges].mean() > 0.85
    assert called[~edges].sum() <= 3
    error = np.abs(estimate.delays_s() / 0.005 - delays)[edges & called]  # bins
    assert error.max() <= 1 + 1e-9
    assert error.mean() <= 0.5 + 1e-9


@every_method
def test_p_values_of_unconnected_units_are_about_uniform(method, as_counts):
    shares = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        fires = rng.poisson(rng.uniform(0.02, 0.1, 25), size=(20_000, 25))
        p = method(as_counts(fires), n_lags=6, rng=rng, surrogates=10).p_values
        assert np.isnan(np.diag(p)).all()
        p = p[~np.eye(25, dtype=bool)]
        assert ((p >= 0) & (p <= 1)).all()
        shares.append([np.mean(p < level) for level in (0.005, 0.05, 0.5)])
    low, usual, half = np.mean(shares, axis=0)  # of 1,200 pairs: standard errors .002, .006, .014
    assert low < 0.012
    assert 0.03 < usual < 0.07
    assert 0.4 < half < 0.6


@every_method
def test_units_that_never_fire_or_fire_once_do_no_harm(method, as_counts, rng):
    fires = rng.poisson(0.05, size=(3_000, 5))
    fires[:, [1, 3]] = 0
    fires[1_500, 3] = 1
    estimate = method(as_counts(fires), n_lags=4, rng=rng, surrogates=5)
    assert np.isfinite(estimate.matrix).all()
    assert np.isfinite(estimate.lag_profile).all()
    off = ~np.eye(5, dtype=bool)
    assert np.isfinite(estimate.p_values[off]).all()
    others = [0, 2, 3, 4]
    assert not estimate.matrix[1].any()
    assert not estimate.matrix[:, 1].any()
    assert (estimate.p_values[1, others] == 1).all()
    assert (estimate.p_values[others, 1] == 1).all()


@every_method
def test_a_recording_without_events_has_no_connection(method, as_counts, rng):
    estimate = method(as_counts(np.zeros((50, 3))), n_lags=4, rng=rng, surrogates=5)
    assert not estimate.matrix.any()
    assert (estimate.p_values[~np.eye(3, dtype=bool)] == 1).all()
    assert not estimate.called(0.05).any()


@every_method
def test_no_lag_straddles_two_intervals(method, as_counts, rng):
    pieces = [rng.poisson(0.2, size=(length, 4)) for length in (300, 41, 3, 200)]
    one, two = (
        method(as_counts(*order), n_lags=5, rng=np.random.default_rng(0), surrogates=3).lag_profile
        for order in (pieces, pieces[::-1])
    )
    np.testing.assert_allclose(one, two, atol=1e-6)


@every_method
def test_the_generator_decides_everything_random(method, as_counts, rng):
    counts = as_counts(rng.poisson(0.1, size=(1_000, 5)))
    one, two = (method(counts, n_lags=4, rng=np.random.default_rng(3), surrogates=4) for _ in range(2))
    np.testing.assert_array_equal(one.matrix, two.matrix)
    np.testing.assert_array_equal(one.p_values, two.p_values)


@every_method
def test_more_lags_than_bins_are_refused(method, as_counts, rng):
    with pytest.raises(UserError, match=r"circuit\.h5: no valid interval is longer than 20 lags of 0\.005 s"):
        method(as_counts(np.ones((20, 2)), np.ones((5, 2))), n_lags=20, rng=rng)
