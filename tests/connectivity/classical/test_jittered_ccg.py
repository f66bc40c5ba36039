import numpy as np
from scipy.signal import lfilter

from neuroformer.connectivity.classical import directed_sttc, jittered_cross_correlogram
from neuroformer.connectivity.classical.jittered_ccg import jitter_moments
from neuroformer.connectivity.classical.lagged import join, lagged_products


def test_moments_are_those_of_many_jittered_targets(as_counts, rng):
    counts = as_counts(rng.poisson(0.3, size=(47, 3)), rng.poisson(0.3, size=(20, 3)))
    trains = join(counts, gap=3)
    mean, variance = jitter_moments(trains, n_lags=3, window_bins=10)
    sample = np.stack(
        [
            lagged_products(trains.values, join(counts.jittered(rng, window_bins=10), gap=3).values, n_lags=3)
            for _ in range(3000)
        ]
    )
    standard_error = np.sqrt(variance / len(sample))
    assert np.abs((sample.mean(axis=0) - mean) / standard_error).max() < 4.5
    np.testing.assert_allclose(sample.var(axis=0), variance, rtol=0.15)


def test_slow_shared_drive_is_no_connection_and_a_synapse_on_top_of_it_is(as_counts, rng):
    drive = np.exp(lfilter([0.1], [1, -0.995], rng.standard_normal(40_000)))  # a time constant of 200 bins
    fires = rng.poisson(0.04 * drive[:, None] * np.ones(8))
    fires[2:, 1] += fires[:-2, 0] * (rng.random(39_998) < 0.2)
    counts = as_counts(fires)
    called = jittered_cross_correlogram(counts, n_lags=10, rng=rng).called(0.05)
    assert called[0, 1]
    assert called.sum() <= 3
    assert (
        directed_sttc(counts, n_lags=10, rng=rng).called(0.05).sum() > 40
    )  # whose null knows no shared drive


def test_few_expected_coincidences_do_not_make_connections(as_counts, rng):
    fires = rng.poisson(0.003, size=(20_000, 30))
    p = jittered_cross_correlogram(as_counts(fires), n_lags=10, rng=rng).p_values
    p = p[~np.eye(30, dtype=bool)]
    assert np.mean(p < 0.05) < 0.07
    assert p.min() > 1e-5
