import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroformer.connectivity.classical import directed_sttc
from neuroformer.connectivity.classical.lagged import join
from neuroformer.connectivity.classical.tiling import tiling_coefficient
from neuroformer.errors import UsageError


def brute_force(fires: np.ndarray, i: int, j: int, reach: int) -> float:
    """The definition, bin by bin."""
    n = len(fires)
    source, target = fires[:, i] > 0, fires[:, j] > 0
    after = np.array([source[max(t - reach, 0) : t].any() for t in range(n)])
    before = np.array([target[t + 1 : t + 1 + reach].any() for t in range(n)])
    if not source.any() or not target.any():
        return 0.0
    halves = []
    for met, tiled in ((before[source].mean(), before.mean()), (after[target].mean(), after.mean())):
        halves.append(1.0 if met * tiled == 1 else (met - tiled) / (1 - met * tiled))
    return sum(halves) / 2


@given(seed=st.integers(0, 2**32 - 1), rate=st.sampled_from([0.05, 0.3, 3.0]), reach=st.integers(1, 4))
def test_agrees_with_the_definition(as_counts, seed, rate, reach):
    fires = np.random.default_rng(seed).poisson(rate, size=(40, 3))
    found = tiling_coefficient(
        join(as_counts(fires), gap=4), source=range(1, reach + 1), target=range(-reach, 0)
    )
    expected = [[brute_force(fires, i, j, reach) for j in range(3)] for i in range(3)]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.filterwarnings("ignore")
def test_the_undirected_coefficient_is_elephants(as_counts, rng):
    neo = pytest.importorskip("neo")
    pq = pytest.importorskip("quantities")
    sttc = pytest.importorskip("elephant.spike_train_correlation").spike_time_tiling_coefficient
    fires = rng.random((600, 4)) < 0.06
    fires[2:, 1] |= fires[:-2, 0]
    # Bins of 1 s, events in their middle: a tile of half-width 2.5 s covers the 5 bins around it.
    trains = [neo.SpikeTrain((np.flatnonzero(unit) + 0.5) * pq.s, t_stop=600 * pq.s) for unit in fires.T]
    tile = range(-2, 3)
    found = tiling_coefficient(join(as_counts(fires), gap=2), source=tile, target=tile)
    for i, one in enumerate(trains):
        for j, two in enumerate(trains):
            assert found[i, j] == pytest.approx(float(sttc(one, two, dt=2.5 * pq.s)), abs=1e-9)


@pytest.mark.parametrize("width", [1, 2, 3])
def test_the_profile_is_the_coefficient_with_tiles_moved_by_the_delay(as_counts, rng, width):
    fires = rng.poisson(0.1, size=(3_000, 3))
    counts = as_counts(fires)
    estimate = directed_sttc(counts, n_lags=5, rng=rng, surrogates=2, tile_s=width * 0.005)
    assert len(estimate.lags_s) == 6 - width
    for lag in (1, 3):
        reach = lag + width
        tile = tiling_coefficient(
            join(counts, gap=5), source=range(lag, reach), target=range(1 - reach, 1 - lag)
        )
        found = estimate.lag_profile[..., lag - 1]
        np.testing.assert_allclose(found, tile, atol=2e-3)  # but for the ends


def test_a_null_of_one_surrogate_is_refused(as_counts, rng):
    with pytest.raises(UsageError, match="surrogates=1"):
        directed_sttc(as_counts(np.ones((50, 2))), n_lags=3, rng=rng, surrogates=1)
