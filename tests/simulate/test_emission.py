import numpy as np
import pytest
from scipy import stats

from simulate.emission import HIGHEST_INTENSITY, draw_counts, event_log_likelihood, homogeneous_log_likelihood


@pytest.mark.parametrize("mean", [0.01, 0.5, 3.0, 20.0, HIGHEST_INTENSITY])
def test_poisson_counts_are_quantiles_of_the_law(rng, mean):
    exponential = rng.standard_exponential(20_000)
    exponential = exponential[exponential < mean]
    intensity = np.full(len(exponential), mean)
    counts = draw_counts("poisson", intensity, exponential)
    np.testing.assert_array_equal(counts, stats.poisson(mean).ppf(np.exp(-exponential)))


def test_the_smallest_number_that_decides_still_gives_a_count():
    assert np.isfinite(draw_counts("poisson", np.array([HIGHEST_INTENSITY]), np.array([0.0]))[0])


def test_bernoulli_has_one_event_whatever_the_intensity(rng):
    exponential = rng.standard_exponential(100)
    counts = draw_counts("bernoulli", np.full(100, HIGHEST_INTENSITY), exponential)
    assert (counts == 1).all()


@pytest.mark.parametrize("intensity", [1e-6, 0.1, 1.0, 7.0])
def test_log_likelihoods_are_those_of_the_laws(intensity):
    rate, counts = np.full(5, intensity), np.arange(1, 6)
    poisson = event_log_likelihood("poisson", rate, counts) - rate
    np.testing.assert_allclose(poisson, stats.poisson(rate).logpmf(counts), rtol=1e-9)
    bernoulli = event_log_likelihood("bernoulli", rate, np.ones(5)) - rate
    np.testing.assert_allclose(bernoulli, np.log(-np.expm1(-rate)), rtol=1e-6, atol=1e-12)


def test_likelihood_stays_finite_where_an_event_is_certain():
    certain = np.array([HIGHEST_INTENSITY])
    assert event_log_likelihood("bernoulli", certain, np.ones(1)) - certain == 0


def test_homogeneous_log_likelihood_is_that_of_the_best_constant_rate():
    totals = np.array([0, 3, 10])
    best = totals / 10
    poisson = homogeneous_log_likelihood("poisson", totals, n_steps=10)
    expected = np.array([0, 3 * np.log(0.3) - 3, -10])
    np.testing.assert_allclose(poisson, expected)
    bernoulli = homogeneous_log_likelihood("bernoulli", totals, n_steps=10)
    np.testing.assert_allclose(
        bernoulli, stats.binom(10, best).logpmf(totals) - [0, np.log(120), 0], atol=1e-12
    )
