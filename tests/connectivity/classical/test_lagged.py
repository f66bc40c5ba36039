import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from neuroformer.connectivity.classical.lagged import autocovariance, join, lagged_products, take_peak
from neuroformer.connectivity.classical.var import past_covariance


@given(seed=st.integers(0, 2**32 - 1), lengths=st.lists(st.integers(1, 12), min_size=1, max_size=3))
def test_lagged_products_are_sums_within_intervals(as_counts, seed, lengths):
    rng = np.random.default_rng(seed)
    pieces = [rng.poisson(0.5, size=(length, 3)) for length in lengths]
    trains = join(as_counts(*pieces), gap=4)
    products = lagged_products(trains.values, trains.values, n_lags=4)
    for lag in range(1, 5):
        expected = sum(piece[:-lag].T @ piece[lag:] for piece in pieces if len(piece) > lag)
        np.testing.assert_array_equal(products[lag - 1], expected + np.zeros((3, 3)))
    assert trains.valid.sum() == sum(lengths)
    assert [
        trains.values.toarray()[f : f + n].tolist() for f, n in zip(trains.first, lengths, strict=True)
    ] == [piece.tolist() for piece in pieces]


def test_dilated_trains_stay_in_their_interval(as_counts):
    first, second = np.array([[0], [1], [0], [1]]), np.array([[2], [0], [0], [0]])
    trains = join(as_counts(first, second), gap=2)
    assert trains.binary().toarray().ravel().tolist() == [0, 1, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0]
    assert trains.dilated(range(1, 3)).toarray().ravel().tolist() == [0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0]
    assert trains.dilated(range(-1, 0)).toarray().ravel().tolist() == [1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]


def test_the_peak_is_by_size_and_takes_the_others_along(rng):
    profile = np.array([[[1.0]], [[-3.0]], [[2.0]]])
    assert [value.item() for value in take_peak(profile, np.arange(3.0).reshape(3, 1, 1))] == [-3.0, 1.0]


@given(seed=st.integers(0, 2**32 - 1))
def test_the_covariance_of_the_past_has_no_negative_eigenvalue(as_counts, seed):
    rng = np.random.default_rng(seed)
    counts = as_counts(rng.poisson(0.3, size=(15, 3)), rng.poisson(2, size=(7, 3)))
    groups = [range(1, 2), range(2, 3), range(3, 6)]
    past = past_covariance(autocovariance(counts, n_lags=5), groups)
    np.testing.assert_allclose(past, past.T)
    assert np.linalg.eigvalsh(past).min() > -1e-10


def test_the_covariance_of_the_past_is_that_of_sums_over_lags(as_counts, rng):
    fires = rng.poisson(0.3, size=(200, 3))
    groups = [range(1, 2), range(2, 4), range(4, 6)]
    # Deviations from the mean, zero outside the recording.
    padded = np.pad(fires - fires.mean(axis=0), ((5, 5), (0, 0)))
    values = np.hstack([sum(np.roll(padded, lag, axis=0) for lag in group) for group in groups])
    past = past_covariance(autocovariance(as_counts(fires), n_lags=5), groups)
    np.testing.assert_allclose(past, values.T @ values / 200, atol=1e-12)
