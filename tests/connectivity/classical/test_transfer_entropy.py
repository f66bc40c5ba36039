from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroformer.connectivity.classical import delayed_transfer_entropy
from neuroformer.connectivity.classical.lagged import join
from neuroformer.connectivity.classical.transfer_entropy import coincidence_index, likelihood_ratio
from neuroformer.errors import UsageError


def brute_force(pieces: list[np.ndarray], i: int, j: int, lag: int, history: int, first: int) -> float:
    """Transfer entropy in bits by counting every (now, past, source) by name."""
    seen = [
        (now[t], tuple(now[t - history : t]), source[t - lag])
        for source, now in (((piece[:, i] > 0), (piece[:, j] > 0)) for piece in pieces)
        for t in range(first, len(now))
    ]
    joint, past = Counter(seen), Counter(h for _, h, _ in seen)
    past_source, past_now = Counter((h, x) for _, h, x in seen), Counter((y, h) for y, h, _ in seen)
    return sum(
        n / len(seen) * np.log2(n * past[h] / (past_source[h, x] * past_now[y, h]))
        for (y, h, x), n in joint.items()
    )


@given(
    seed=st.integers(0, 2**32 - 1),
    history=st.integers(1, 3),
    n_lags=st.integers(1, 3),
    rate=st.floats(0.1, 2),
)
def test_agrees_with_counting_by_name(as_counts, seed, history, n_lags, rate):
    rng = np.random.default_rng(seed)
    pieces = [rng.poisson(rate, size=(length, 2)) for length in (30, 9, 2)]
    first = max(history, n_lags)
    ratio, _ = likelihood_ratio(join(as_counts(*pieces), gap=first), n_lags=n_lags, history_bins=history)
    n = sum(max(len(piece) - first, 0) for piece in pieces)
    for lag in range(1, n_lags + 1):
        for i, j in ((0, 1), (1, 0)):
            expected = brute_force(pieces, i, j, lag, history, first)
            assert ratio[lag - 1, i, j] / (2 * n * np.log(2)) == pytest.approx(expected, abs=1e-10)


def test_a_unit_that_foretells_another_by_its_own_past_alone_sends_nothing(as_counts, rng):
    # Both tick with a period of 4 bins: correlated at every lag, but the target's past says it all.
    fires = np.zeros((4_000, 2), dtype=int)
    fires[::4, 0], fires[1::4, 1] = 1, 1
    estimate = delayed_transfer_entropy(as_counts(fires), n_lags=3, rng=rng, history_bins=4)
    np.testing.assert_allclose(estimate.matrix, 0, atol=1e-9)


def test_bits_of_a_faithful_copy(as_counts, rng):
    fires = rng.random((50_000, 2)) < 0.5
    fires[3:, 1] = fires[:-3, 0]
    estimate = delayed_transfer_entropy(as_counts(fires), n_lags=5, rng=rng, surrogates=3)
    assert estimate.matrix[0, 1] == pytest.approx(1, abs=0.01)
    assert estimate.delays_s()[0, 1] == pytest.approx(3 * 0.005)


def test_the_coincidence_index_is_the_share_near_the_peak(as_counts, rng):
    entropy = np.array([1.0, 4.0, 1.0, 0.0, 2.0]).reshape(5, 1, 1)
    assert coincidence_index(entropy, 0).item() == 0.5
    assert coincidence_index(entropy, 1).item() == 0.75
    assert coincidence_index(np.zeros((5, 1, 1)), 1).item() == 0
    fires = rng.random((20_000, 3)) < 0.1
    fires[2:, 1] &= ~fires[:-2, 0]
    estimate = delayed_transfer_entropy(as_counts(fires), n_lags=5, rng=rng, surrogates=3, coincidence_bins=0)
    assert -1 <= estimate.matrix[0, 1] < -0.8


def test_settings_out_of_range_are_refused(as_counts, rng):
    counts = as_counts(np.ones((50, 2)))
    with pytest.raises(UsageError, match="history_bins=5"):
        delayed_transfer_entropy(counts, n_lags=3, rng=rng, history_bins=5)
    with pytest.raises(UsageError, match="surrogates=1"):
        delayed_transfer_entropy(counts, n_lags=3, rng=rng, surrogates=1)
