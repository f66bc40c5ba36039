from collections.abc import Callable

import numpy as np
import pytest

from neuroformer.baselines.decoding import Target
from neuroformer.baselines.decoding.kalman import KalmanDecoder, LinearMotion, precision_times
from neuroformer.settings.decoding import KalmanConfig

Walk = Callable[..., tuple[list[np.ndarray], list[np.ndarray]]]


def system(rng: np.random.Generator, n_units: int = 5) -> tuple[np.ndarray, ...]:
    A = np.array([[0.9, 0.2], [-0.1, 0.8]])
    root = rng.normal(size=(2, 2))
    W, H = root @ root.T + 0.1 * np.eye(2), rng.normal(size=(n_units, 2))
    root = rng.normal(size=(n_units, n_units))
    return A, W, H, root @ root.T + np.eye(n_units), 2 * np.eye(2), rng.normal(size=(40, n_units))


@pytest.mark.parametrize("smooth", [False, True])
def test_the_filter_is_the_textbook_s(rng: np.random.Generator, smooth: bool) -> None:
    A, W, H, Q, P0, z = system(rng)
    readout = np.linalg.inv(Q) @ H
    found, covariances = LinearMotion(A, W, P0).filter(H.T @ readout, z @ readout, smooth=smooth)
    # Wu et al. 2006, equations of the gain form.
    mean, P, filtered = np.zeros(2), P0, []
    for t in range(len(z)):
        if t:
            mean, P = A @ mean, A @ P @ A.T + W
        before = P
        gain = P @ H.T @ np.linalg.inv(H @ P @ H.T + Q)
        mean, P = mean + gain @ (z[t] - H @ mean), (np.eye(2) - gain @ H) @ P
        filtered.append((mean, P, before))
    if not smooth:
        np.testing.assert_allclose(found, [m for m, *_ in filtered], atol=1e-8)
        np.testing.assert_allclose(covariances, [P for _, P, _ in filtered], atol=1e-8)
        return
    # The whole posterior at once: a Gaussian over all states.
    n = len(z)
    precision, shift = np.zeros((2 * n, 2 * n)), np.zeros(2 * n)
    precision[:2, :2] += np.linalg.inv(P0)
    for t in range(n):
        here = slice(2 * t, 2 * t + 2)
        precision[here, here] += H.T @ readout
        shift[here] = readout.T @ z[t]
        if t:
            both = np.concatenate([-A, np.eye(2)], axis=1)
            precision[2 * t - 2 : 2 * t + 2, 2 * t - 2 : 2 * t + 2] += both.T @ np.linalg.inv(W) @ both
    covariance = np.linalg.inv(precision)
    np.testing.assert_allclose(found.ravel(), covariance @ shift, atol=1e-7)
    for t in range(n):
        np.testing.assert_allclose(
            covariances[t], covariance[2 * t : 2 * t + 2, 2 * t : 2 * t + 2], atol=1e-7
        )


@pytest.mark.parametrize("n", [4, 50])
@pytest.mark.parametrize("shrinkage", [0.1, 1.0])
def test_the_precision_is_that_of_the_whole_matrix(
    rng: np.random.Generator, n: int, shrinkage: float
) -> None:
    residual, columns = rng.normal(size=(n, 12)), rng.normal(size=(12, 3))
    residual[:, 5] = 0
    S = residual.T @ residual / n
    variance = np.maximum(np.diag(S), 0.01 * np.diag(S).mean())
    Q = (1 - shrinkage) * S + shrinkage * np.diag(variance)
    np.testing.assert_allclose(precision_times(residual, columns, shrinkage), np.linalg.solve(Q, columns))


def test_motion_and_tuning_are_recovered(rng: np.random.Generator) -> None:
    a, T = 0.95, 6000
    y = np.zeros((T, 1))
    for t in range(1, T):
        y[t] = a * y[t - 1] + rng.normal(0, 0.3)
    tuning = rng.normal(size=12)
    x = (y * tuning + rng.normal(0, 2.0, (T, 12)) + 3).astype(np.float32)
    config = KalmanConfig(windows_s=[0.1], shrinkage=[0.1], noise=[1.0], velocity=False)
    decoder = KalmanDecoder(Target(name="a"), bin_s=0.1, config=config).fit([x[:4000]], [y[:4000] + 5])
    found = decoder.predict([x[4000:]])
    # The true filter's steady variance.
    J, W, P = (tuning**2).sum() / 4, 0.09, 1.0
    for _ in range(200):
        P = 1 / (1 / (a * a * P + W) + J)
    error = found.mean[0] - y[4000:] - 5
    assert (error**2).mean() == pytest.approx(P, rel=0.1)
    assert found.spread[0][-1, 0] == pytest.approx(np.sqrt(P), rel=0.1)


def test_labels_that_run_away_do_not_make_the_filter_do_so() -> None:
    y = [2.0 ** np.arange(12)[:, None]]
    x = [np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)]
    decoder = KalmanDecoder(Target(name="a"), bin_s=0.1).fit(x, y)
    far = decoder.predict([np.zeros((2000, 3), dtype=np.float32)])
    assert np.abs(far.mean[0]).max() < 1e5


def test_labels_without_neighbours_are_used_bin_by_bin(walk: Walk) -> None:
    x, y = walk(lengths=(300,))
    y[0][1::2] = np.nan
    found = KalmanDecoder(Target(name="a"), bin_s=0.1).fit(x, y).predict(x)
    known = np.isfinite(y[0][:, 0])
    assert np.corrcoef(found.mean[0][known, 0], y[0][known, 0])[0, 1] > 0.7
