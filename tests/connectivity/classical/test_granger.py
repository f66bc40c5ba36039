import numpy as np
import pytest

from neuroformer.connectivity.classical import granger_causality
from neuroformer.connectivity.classical.granger import choose_order
from neuroformer.connectivity.classical.lagged import autocovariance
from neuroformer.errors import UsageError


def driven(rng: np.random.Generator, n_bins: int = 4_000) -> np.ndarray:
    fires = rng.poisson(0.5, size=(n_bins, 4))
    fires[2:, 1] += fires[:-2, 0] * (rng.random(n_bins - 2) < 0.3)
    fires[1:, 2] += fires[:-1, 1] * (rng.random(n_bins - 1) < 0.3)
    return fires


def test_agrees_with_two_least_squares_fits_and_their_f_test(as_counts, rng):
    fires, p = driven(rng), 3
    estimate = granger_causality(as_counts(fires), n_lags=5, order=p)
    past = np.hstack([fires[p - lag : len(fires) - lag] for lag in range(1, p + 1)])  # columns (lag, unit)
    now = fires[p:]

    def squares(columns: np.ndarray, j: int) -> float:
        design = np.column_stack([columns, np.ones(len(now))])
        return float(np.linalg.lstsq(design, now[:, j])[1][0])

    for i, j in ((0, 1), (1, 2), (0, 2), (3, 0)):
        without = past[:, np.arange(past.shape[1]) % 4 != i]
        expected = np.log(squares(without, j) / squares(past, j))
        assert abs(estimate.matrix[i, j]) == pytest.approx(expected, rel=0.02, abs=5e-5)
    assert not estimate.lag_profile[..., p:].any()


@pytest.mark.filterwarnings("ignore")
def test_agrees_with_elephant_on_a_pair(as_counts, rng):
    pairwise = pytest.importorskip("elephant.causality.granger").pairwise_granger
    fires = driven(rng, 20_000)[:, :2]
    theirs = pairwise(fires - fires.mean(axis=0), max_order=4, information_criterion="aic")
    ours = [granger_causality(as_counts(fires), n_lags=4, order=order).matrix[0, 1] for order in (1, 2, 3, 4)]
    assert min(abs(value - float(theirs.directional_causality_x_y)) for value in ours) < 2e-3
    assert ours[1] > 0.03


def test_what_runs_through_a_third_unit_is_not_a_connection(as_counts, rng):
    estimate = granger_causality(as_counts(driven(rng, 40_000)), n_lags=6)
    called = estimate.called(0.01)
    assert called[0, 1]
    assert called[1, 2]
    assert not called[0, 2]


def test_the_order_covers_the_delay(as_counts, rng):
    gamma = autocovariance(as_counts(driven(rng)), n_lags=6)
    assert len(choose_order(gamma, n_bins=4_000, criterion="aic").weights) in (2, 3)
    independent = autocovariance(as_counts(rng.poisson(0.5, size=(4_000, 4))), n_lags=6)
    assert len(choose_order(independent, n_bins=4_000, criterion="bic").weights) == 1


def test_settings_out_of_range_are_refused(as_counts):
    counts = as_counts(np.ones((50, 2)))
    with pytest.raises(UsageError, match="order=9"):
        granger_causality(counts, n_lags=3, order=9)
    with pytest.raises(UsageError, match="criterion='hq'"):
        granger_causality(counts, n_lags=3, criterion="hq")
