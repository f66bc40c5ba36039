import numpy as np
import pytest
from scipy import special, stats

from neuroformer.connectivity.estimate import ConnectivityMap
from neuroformer.connectivity.nulls import (
    by_central_spread,
    count_p_values,
    genomic_control,
    peak_p_values,
    pooled_variance,
    surrogate_p_values,
    trigamma_inverse,
    variance_prior,
)
from neuroformer.errors import UsageError


def off_diagonal(values: np.ndarray) -> np.ndarray:
    return values[~np.eye(len(values), dtype=bool)]


@pytest.mark.parametrize("shape", [2.0, 1e6])
@pytest.mark.parametrize("n", [5, 20])
def test_p_values_are_uniform_under_a_gaussian_null_whose_variances_differ(rng, n, shape):
    sd = np.sqrt(shape / rng.gamma(shape, size=(50, 50)))
    sample = 3 + sd * rng.standard_normal((n + 1, 50, 50))
    p = surrogate_p_values(sample[0], sample[1:])
    assert np.isnan(np.diag(p)).all()
    assert stats.kstest(off_diagonal(p), "uniform").pvalue > 0.01
    greater = surrogate_p_values(sample[0], sample[1:], alternative="greater")
    assert stats.kstest(off_diagonal(greater), "uniform").pvalue > 0.01
    far = surrogate_p_values(sample[0] + 12 * sd, sample[1:])
    assert np.nanmedian(far) < 1e-4


def test_moderation_agrees_with_its_formula_computed_directly(rng):
    n, sd = 8, np.sqrt(1 / rng.gamma(3.0, size=(12, 12)))
    null = sd * rng.standard_normal((n, 12, 12))
    statistic = sd * rng.standard_normal((12, 12))
    p = surrogate_p_values(statistic, null)
    d, s2 = n - 1, null.var(axis=0, ddof=1)
    logs = np.log(off_diagonal(s2))
    spread = logs.var(ddof=1) - special.polygamma(1, d / 2)
    grid = np.linspace(0.2, 200, 400_000)
    d0 = grid[np.argmin(np.abs(special.polygamma(1, grid / 2) - spread))]
    s02 = np.exp(
        logs.mean() - special.digamma(d / 2) + np.log(d / 2) + special.digamma(d0 / 2) - np.log(d0 / 2)
    )
    i, j = 3, 7
    moderated = (d0 * s02 + d * s2[i, j]) / (d0 + d)
    t = (statistic[i, j] - null[:, i, j].mean()) / np.sqrt(moderated * (1 + 1 / n))
    assert p[i, j] == pytest.approx(2 * stats.t.sf(abs(t), d0 + d), rel=1e-3)


def test_the_prior_of_variances_is_found(rng):
    d0, s02, d = 9.0, 4.0, 19
    variance = s02 * d0 / rng.chisquare(d0, 100_000) * rng.chisquare(d, 100_000) / d
    assert variance_prior(variance, d) == pytest.approx((d0, s02), rel=0.05)
    assert variance_prior(np.ones(50), d)[0] == np.inf


@pytest.mark.parametrize("value", [1e-4, 0.3, 1.0, 50.0])
def test_trigamma_inverse_inverts(value):
    assert special.polygamma(1, trigamma_inverse(value)) == pytest.approx(value, rel=1e-8)


def test_a_variance_of_all_lags_is_moderated_by_what_its_average_is_worth(rng):
    expected = rng.uniform(1, 5, (40, 40))
    alike = (rng.standard_normal((10, 8, 40, 40)) ** 2).mean(axis=1) * 2 * expected
    np.testing.assert_allclose(off_diagonal(pooled_variance(alike, expected) / expected), 2, rtol=0.1)
    true = expected * rng.choice([1.0, 9.0], (40, 40))
    unlike = (rng.standard_normal((10, 8, 40, 40)) ** 2).mean(axis=1) * true
    assert np.corrcoef(off_diagonal(pooled_variance(unlike, expected)), off_diagonal(true))[0, 1] > 0.9
    with pytest.raises(UsageError, match="surrogates=1"):
        pooled_variance(alike[:1], expected)


def test_pairs_that_never_vary_are_not_significant(rng):
    null = rng.standard_normal((10, 4, 4))
    null[:, 1] = 0
    statistic = null[0] + 5
    statistic[1] = 0
    p = surrogate_p_values(statistic, null)
    assert p[1, 0] == p[1, 2] == 1
    np.testing.assert_array_equal(off_diagonal(surrogate_p_values(statistic, np.zeros((10, 4, 4)))), 1)


def test_one_surrogate_is_refused():
    with pytest.raises(UsageError, match="surrogates=1"):
        surrogate_p_values(np.zeros((2, 2)), np.zeros((1, 2, 2)))


def test_the_choice_of_a_lag_is_corrected_for(rng):
    independent = rng.random((11, 60, 60, 8)).min(axis=-1)
    p = peak_p_values(independent[0], independent[1:], n_lags=8)
    assert stats.kstest(off_diagonal(p), "uniform").pvalue > 0.01
    same = rng.random((11, 60, 60))  # all lags one: nothing was chosen
    np.testing.assert_allclose(
        off_diagonal(peak_p_values(same[0], same[1:], n_lags=8)), off_diagonal(same[0]), rtol=0.1
    )


def test_a_p_value_of_one_or_zero_survives_the_choice(rng):
    p = np.array([[0.5, 1.0], [0.0, 0.5]])
    corrected = peak_p_values(p, rng.random((5, 2, 2)), n_lags=4)
    assert corrected[0, 1] == 1
    assert corrected[1, 0] == 0
    assert np.isnan(np.diag(corrected)).all()
    assert off_diagonal(peak_p_values(np.ones((2, 2)), np.ones((5, 2, 2)), n_lags=4)).tolist() == [1, 1]


def test_counts_are_compared_with_a_poisson_of_their_mean(rng):
    for count in (0, 3, 9, 40):
        mid = stats.poisson.pmf(count, 4) / 2
        tail = min(stats.poisson.sf(count, 4) + mid, stats.poisson.cdf(count - 1, 4) + mid)
        assert count_p_values(np.array(count - 4.0), np.array(4.0), np.array(4.0)) == pytest.approx(2 * tail)
    wide = 3 * rng.poisson(50, 4000)  # mean 150, variance 450
    p = count_p_values(wide - 150.0, np.array(150.0), np.array(450.0))
    assert np.mean(p < 0.05) == pytest.approx(0.05, abs=0.015)
    assert count_p_values(np.array(2.0), np.array(0.0), np.array(0.0)) == 1


def test_genomic_control_leaves_calibrated_and_conservative_p_alone_and_deflates_inflated_ones(rng):
    z = rng.standard_normal((100, 100))
    np.fill_diagonal(z, np.nan)
    calibrated = 2 * stats.norm.sf(np.abs(z))
    inflated = 2 * stats.norm.sf(np.abs(1.5 * z))
    kept, factor = genomic_control(calibrated)
    np.testing.assert_allclose(kept, calibrated, atol=0.02)
    assert factor == pytest.approx(1, abs=0.06)
    deflated, factor = genomic_control(inflated)
    assert factor == pytest.approx(2.25, rel=0.06)
    np.testing.assert_allclose(deflated, calibrated, atol=0.02)
    assert np.isnan(np.diag(deflated)).all()
    conservative = np.sqrt(calibrated)
    np.testing.assert_array_equal(genomic_control(conservative)[0], conservative)


def test_genomic_control_is_not_led_by_pairs_that_could_not_be_tested(rng):
    inflated = 2 * stats.norm.sf(np.abs(1.5 * rng.standard_normal((60, 60))))
    inflated[:40] = 1
    result, factor = genomic_control(inflated)
    assert factor == pytest.approx(2.25, rel=0.2)
    np.testing.assert_array_equal(result[:40], 1)
    assert genomic_control(np.ones((3, 3)))[1] == 1


def permuted(matrix):
    return by_central_spread(ConnectivityMap(name="x", matrix=matrix))


def test_a_map_without_structure_gets_uniform_p_values(rng):
    matrix = rng.standard_normal((60, 60)) + 3 * rng.standard_normal(60) + 5 * rng.standard_normal((60, 1))
    p = permuted(matrix).p_values
    assert np.isnan(np.diag(p)).all()
    for level in (0.05, 0.25, 0.5):  # two quantiles are matched, and that is not exact at the third
        assert (off_diagonal(p) < level).mean() == pytest.approx(level, abs=0.02)
    assert permuted(matrix).called(0.05).sum() <= 2


def test_what_a_unit_does_to_all_or_gets_from_all_is_no_edge(rng):
    matrix = rng.standard_normal((60, 60))
    hub = matrix + 40 * (np.arange(60) == 4)[:, None] + 25 * (np.arange(60) == 7)
    assert hub[4].min() > hub.max() / 2
    assert permuted(hub).called(0.05).sum() <= 2
    both = np.corrcoef(off_diagonal(permuted(hub).p_values), off_diagonal(permuted(matrix).p_values))
    assert both[0, 1] > 0.95
    matrix[3, 9] = -12
    assert permuted(matrix).called(0.05)[3, 9]
    assert np.nanargmin(permuted(matrix).p_values) == 3 * 60 + 9


def test_heavy_tails_of_a_map_are_no_edges(rng):
    """Most weights of a shrunk map are tiny and a few are not, whether or not there is a connection."""
    matrix = rng.standard_t(2, (60, 60))
    assert (np.abs(matrix) > 4.5 * 1.4826 * np.median(np.abs(matrix))).mean() > 0.01  # edges to a normal null
    assert permuted(matrix).called(0.05).sum() <= 2
    p = off_diagonal(permuted(matrix).p_values)
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.02)
    assert (p < 0.001).mean() < 0.003


def test_p_values_of_a_map_go_with_its_units_and_not_with_its_scale_sign_or_diagonal(rng):
    matrix, order = rng.standard_normal((20, 20)), rng.permutation(20)
    matrix[rng.random((20, 20)) < 0.1] += 6
    p = permuted(matrix).p_values
    np.testing.assert_allclose(permuted(-1000 * matrix).p_values, p, atol=1e-9)
    np.testing.assert_allclose(
        permuted(matrix[np.ix_(order, order)]).p_values, p[np.ix_(order, order)], atol=1e-9
    )
    np.testing.assert_allclose(permuted(matrix + 99 * np.eye(20)).p_values, p, atol=1e-9)
    kept = permuted(matrix)
    np.testing.assert_array_equal(kept.matrix, matrix)
    assert kept.name == "x"


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_map_of_few_units_or_without_differences_bears_it(n):
    for matrix in (np.zeros((n, n)), np.ones((n, n))):
        estimate = permuted(matrix)
        assert ((off_diagonal(estimate.p_values) >= 0) & (off_diagonal(estimate.p_values) <= 1)).all()
    assert (off_diagonal(permuted(np.zeros((n, n))).p_values) == 1).all()
    assert permuted(np.zeros((n, n))).called(0.05).sum() == 0
