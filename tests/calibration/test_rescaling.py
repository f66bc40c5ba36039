"""Events are uniform when rescaled by the intensities that made them, and by no others."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import poisson

from neuroformer.calibration.rescaling import deviation, rescale


@pytest.fixture(scope="module")
def driven() -> tuple[np.ndarray, np.ndarray]:
    """Intensities (T, N) that vary, some above one event a bin, and counts."""
    rng = np.random.default_rng(3)
    phase = rng.uniform(0, 2 * np.pi, 80)
    level = np.geomspace(0.02, 1.5, 80)
    intensity = level * np.exp(np.sin(np.arange(2000)[:, None] / 40 + phase))
    return intensity, rng.poisson(intensity)


def test_the_right_intensities_pass(driven: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> None:
    found = rescale([driven], rng, min_events=10)
    assert found.tested.all()
    assert found.share >= 0.88
    low, high = found.expected
    assert low < 0.95 < high
    pooled = np.concatenate(found.uniform)
    assert len(pooled) == driven[1].sum()
    assert np.abs(deviation(pooled, np.linspace(0, 1, 50))).max() < 1.6 / np.sqrt(len(pooled))


def test_intensities_that_follow_the_events_pass(
    simulated: Callable[..., tuple[np.ndarray, np.ndarray]], rng: np.random.Generator
) -> None:
    counts, intensities = simulated(rng, 1, self_excitation=0.6, n_units=40)
    assert rescale([(intensities[0], counts[0])], rng, min_events=10).share >= 0.85
    # A Poisson process of the right rate does not know of the bursts.
    flat = np.broadcast_to(counts[0].mean(0), counts[0].shape)
    assert rescale([(flat, counts[0])], rng, min_events=10).share < 0.3


@pytest.mark.parametrize("factor", [0.6, 1.6])
def test_wrong_intensities_fail_on_both_sides(
    factor: float, driven: tuple[np.ndarray, np.ndarray], rng: np.random.Generator
) -> None:
    assert rescale([(factor * driven[0], driven[1])], rng, min_events=40).share < 0.3


def test_why_units_fail(driven: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> None:
    intensity, counts = driven
    found = rescale([(intensity[:900], counts[:900]), (intensity[900:], counts[900:])], rng, min_events=10)
    np.testing.assert_allclose(found.expected_events, intensity.sum(0))
    np.testing.assert_array_equal(found.repeats, (counts > 1).sum(0))
    np.testing.assert_allclose(found.expected_repeats, poisson.sf(1, intensity).sum(0))
    assert found.dispersion == pytest.approx(1, abs=0.1)
    scatter = ((counts - intensity).sum(1) ** 2).sum() / intensity.sum()
    assert found.dispersion == pytest.approx(scatter)
    together = np.repeat(counts[:, :1], 80, 1)
    assert rescale([(np.repeat(intensity[:, :1], 80, 1), together)], rng, min_events=10).dispersion > 40


def test_pieces_are_laid_end_to_end(driven: tuple[np.ndarray, np.ndarray]) -> None:
    intensity, counts = (x[:, ::8] for x in driven)
    pieces = [(intensity[a : a + 300], counts[a : a + 300]) for a in range(0, 2000, 300)]
    # Other pieces draw other places within the bins: a step moves by no more than two bins' intensity.
    whole = rescale([(intensity, counts)], np.random.default_rng(0), min_events=10)
    parts = rescale(pieces, np.random.default_rng(0), min_events=10)
    slack = 2 * intensity.max(0)
    for unit in range(10):
        times = [np.cumsum(-np.log1p(-found.uniform[unit])) for found in (whole, parts)]
        assert np.abs(times[0] - times[1]).max() <= slack[unit]


def test_steps_by_hand() -> None:
    counts = np.zeros((6, 1), int)
    counts[[1, 4]] = 1
    intensity = np.array([[0.5], [1e-12], [0.25], [0.25], [1e-12], [0.1]])
    found = rescale([(intensity, counts)], np.random.default_rng(0), min_events=2)
    np.testing.assert_allclose(found.uniform[0], 1 - np.exp([-0.5, -0.5]), rtol=1e-6)
    assert found.statistic[0] == pytest.approx(1 - (1 - np.exp(-0.5)))


def test_units_with_few_events_are_not_tested(rng: np.random.Generator) -> None:
    counts = np.zeros((100, 2), int)
    counts[::5, 0], counts[50, 1] = 1, 1
    found = rescale([(np.full((100, 2), 0.2), counts)], rng, min_events=10)
    assert list(found.tested) == [True, False]
    assert np.isnan(found.p[1])
    silent = rescale([(np.full((100, 1), 0.2), counts[:, :1] * 0)], rng, min_events=10)
    assert np.isnan(silent.share)
    assert np.isnan(silent.statistic[0])


def test_the_same_seed_draws_the_same_places(driven: tuple[np.ndarray, np.ndarray]) -> None:
    few = driven[0][:, 3:5], driven[1][:, 3:5]
    one, two, other = (
        rescale([few], np.random.default_rng(seed), min_events=10).uniform[1] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()
