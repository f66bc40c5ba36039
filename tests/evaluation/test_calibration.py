import numpy as np
import pytest
from scipy.stats import norm

from neuroformer.errors import UserError
from neuroformer.evaluation.calibration import calibrate_spread


def inside(error: np.ndarray, spread: np.ndarray, level: float) -> np.ndarray:
    return (np.abs(error) <= norm.ppf((1 + level) / 2) * spread).mean(0)


@pytest.mark.parametrize("n", [9, 50])
@pytest.mark.parametrize("level", [0.5, 0.8])
def test_intervals_cover_new_samples_as_often_as_they_say(n: int, level: float) -> None:
    """On average over calibrations: at least the level, at most 1/(n + 1) more, whatever the errors' law."""
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(1000):
        said = rng.uniform(0.5, 2, (n + 30, 2))
        error = said * np.stack([0.3 * rng.standard_t(3, n + 30), 4 * rng.exponential(1.0, n + 30)], axis=1)
        truth = np.zeros((n, 2))
        factor = calibrate_spread(truth, error[:n], said[:n], level=level)
        covered.append(inside(error[n:], factor * said[n:], level))
    mean = np.mean(covered, axis=0)
    assert (mean > level - 0.015).all()
    assert (mean < level + 1 / (n + 1) + 0.015).all()


def test_the_factor_is_the_conformal_quantile() -> None:
    error = np.arange(1.0, 10.0)[:, None]  # 1 … 9: the ⌈10 · 0.8⌉ = 8th smallest is 8
    factor = calibrate_spread(np.zeros((9, 1)), error, np.full((9, 1), 2.0))
    assert factor == pytest.approx([4 / norm.ppf(0.9)])


def test_errors_of_a_circular_variable_go_the_short_way() -> None:
    truth, mean = np.full((20, 1), 359.0), np.full((20, 1), 1.0)
    factor = calibrate_spread(truth, mean, np.ones((20, 1)), period=360.0)
    assert factor == pytest.approx([2 / norm.ppf(0.9)])


def test_unknown_samples_are_left_out() -> None:
    error = np.append(np.arange(1.0, 10.0), 1e6)[:, None]
    truth = np.zeros((10, 1))
    truth[-1] = np.nan
    assert calibrate_spread(truth, error, np.ones((10, 1))) == pytest.approx([8 / norm.ppf(0.9)])


def test_what_cannot_be_calibrated_is_refused() -> None:
    with pytest.raises(UserError, match="4 or more"):
        calibrate_spread(np.zeros((3, 1)), np.ones((3, 1)), np.ones((3, 1)))
    assert np.isfinite(calibrate_spread(np.zeros((4, 1)), np.ones((4, 1)), np.ones((4, 1)))).all()
    with pytest.raises(UserError, match="above 0"):
        calibrate_spread(np.zeros((9, 1)), np.ones((9, 1)), np.zeros((9, 1)))
    perfect = calibrate_spread(np.zeros((9, 1)), np.zeros((9, 1)), np.ones((9, 1)))
    assert 0 < perfect[0] < 1e-6
