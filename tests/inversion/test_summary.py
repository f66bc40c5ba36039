"""A posterior as numbers, against samples from it."""

import numpy as np
import pytest

from neuroformer.data.grid import Axis
from neuroformer.inversion.summary import (
    difference,
    posterior_mean,
    posterior_median,
    posterior_quantile,
    posterior_spread,
)

LINE = Axis(name="x", dimension=0, edges=np.linspace(-3, 7, 11))


def ring(n: int) -> Axis:
    return Axis(name="x", dimension=0, edges=np.linspace(0, 360, n + 1), period=360.0)


def sample(axis: Axis, probability: np.ndarray, rng: np.random.Generator, n: int = 200_000) -> np.ndarray:
    cell = rng.choice(len(axis), n, p=probability / probability.sum())
    return axis.edges[cell] + rng.random(n) * np.diff(axis.edges)[cell]


def test_numbers_of_a_line_are_those_of_samples(rng: np.random.Generator) -> None:
    probability = rng.dirichlet(np.full(10, 0.5), 4)
    for k, p in enumerate(probability):
        drawn = sample(LINE, p, rng)
        assert posterior_mean(LINE, probability)[k] == pytest.approx(drawn.mean(), abs=0.03)
        assert posterior_spread(LINE, probability)[k] == pytest.approx(drawn.std(), abs=0.03)
        for level in (0.05, 0.1, 0.5, 0.9, 0.975):
            below = (drawn < posterior_quantile(LINE, probability, level)[k]).mean()
            assert below == pytest.approx(level, abs=0.01)
    np.testing.assert_array_equal(
        posterior_median(LINE, probability), posterior_quantile(LINE, probability, 0.5)
    )


def test_quantiles_of_a_certain_posterior_lie_in_its_cell() -> None:
    probability = np.eye(10)
    for level, share in ((0.1, 0.1), (0.5, 0.5), (0.99, 0.99)):
        np.testing.assert_allclose(posterior_quantile(LINE, probability, level), LINE.edges[:-1] + share)
    np.testing.assert_allclose(posterior_mean(LINE, probability), LINE.centres)


@pytest.mark.parametrize("n", [7, 12, 40])
def test_angles_come_round(n: int, rng: np.random.Generator) -> None:
    axis = ring(n)
    width = 360 / n
    for middle in (0, 1, n // 2, n - 1):
        off = (np.arange(n) - middle + n // 2) % n - n // 2
        p = np.exp(-0.5 * (off / (0.08 * n)) ** 2)[None]
        p /= p.sum()
        mean = (middle + 0.5) * width
        for found in (posterior_mean(axis, p), posterior_median(axis, p)):
            assert abs(difference(axis, found, np.array([mean]))[0]) < 0.01 * width
        drawn = difference(axis, sample(axis, p[0], rng), np.array(mean))
        assert posterior_spread(axis, p)[0] == pytest.approx(drawn.std(), rel=0.02)
        low, high = (posterior_quantile(axis, p, level)[0] for level in (0.1, 0.9))
        assert 0 <= low < 360
        assert 0 <= high < 360
        a, b = (difference(axis, np.array([x]), np.array([mean]))[0] for x in (low, high))
        assert a < 0 < b
        assert ((drawn > a) & (drawn < b)).mean() == pytest.approx(0.8, abs=0.01)


def test_the_mean_of_angles_is_that_of_their_directions(rng: np.random.Generator) -> None:
    axis = ring(9)
    p = rng.dirichlet(np.ones(9), 5)
    vector = (p * np.exp(1j * np.deg2rad(axis.centres))).sum(1)
    np.testing.assert_allclose(posterior_mean(axis, p), np.rad2deg(np.angle(vector)) % 360)


def test_differences_go_the_short_way_round() -> None:
    axis = ring(4)
    assert difference(axis, np.array([350.0, 10.0, 90.0]), np.array([10.0, 350.0, 0.0])).tolist() == [
        -20,
        20,
        90,
    ]
    assert difference(LINE, np.array([5.0]), np.array([-2.0])).tolist() == [7]
