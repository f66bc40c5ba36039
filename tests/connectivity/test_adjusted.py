import dataclasses

import numpy as np
import pytest
from scipy import stats

from neuroformer.connectivity.adjusted import (
    adjusted_map,
    calibrate,
    control_windows,
    one_step,
    robust_prediction,
    skewness_factor,
    standardized_controls,
    tail_p_values,
)
from neuroformer.connectivity.moments import pair_moments
from simulate import CircuitConfig, simulate_circuit
from simulate.config import DriveConfig, WiringConfig

HISTORY = 10


def off_diagonal(values):
    return values[~np.eye(len(values), dtype=bool)]


@pytest.fixture
def read_out(tiles, constant_rates):
    """`read_out(counts, …)`: the map of a model that knows the rates and nothing else."""

    def run(counts, *, rows=4, **settings):
        batches = tiles(counts, history=HISTORY, piece=200, rows=rows)
        settings = {"surrogates": 4} | settings
        return adjusted_map(constant_rates(counts), batches, name="adjusted", **settings)

    return run


@pytest.fixture
def pair_of_edges(rng):
    """0 excites 1 after 3 bins and 2 inhibits 3 after 4 to 6 bins; unit 5 never fires."""
    counts, chance = np.zeros((12_000, 12), int), rng.random((12_000, 12))
    for t in range(6, len(counts)):
        rate = np.full(12, 0.05)
        rate[1] *= np.exp(1.2 * counts[t - 3, 0])
        rate[3] = 0.08 * np.exp(-1.5 * counts[t - 6 : t - 3, 2].sum())
        rate[5] = 0
        counts[t] = chance[t] < rate
    return counts


def test_units_that_are_independent_are_not_connected(read_out):
    p_values, with_calls = [], 0
    for seed in range(6):
        estimate = read_out(np.random.default_rng(seed).poisson(0.05, (10_000, 10)))
        p_values.append(off_diagonal(estimate.p_values))
        with_calls += estimate.called(0.05).any()
    p_values = np.concatenate(p_values)
    for level in (0.05, 0.2):  # calibration never lowers a p-value: the lower side is looser
        low, high = stats.binom.interval(0.999, len(p_values), level)
        assert 0.6 * low <= (p_values <= level).sum() <= high
    assert np.median(p_values) == pytest.approx(0.55, abs=0.06)
    assert with_calls <= 1


def test_p_values_without_calibration_by_the_pairs_are_uniform(read_out):
    found = [
        off_diagonal(
            read_out(np.random.default_rng(seed).poisson(0.05, (10_000, 10)), control=False).p_values
        )
        for seed in range(4)
    ]
    assert stats.kstest(np.concatenate(found), "uniform").pvalue > 0.01


def test_known_edges_are_found_with_sign_delay_and_direction(read_out, pair_of_edges):
    estimate = read_out(pair_of_edges, rows=2, surrogates=None)
    order = np.argsort(-np.abs(estimate.matrix), axis=None)
    assert {divmod(int(k), 12) for k in order[:2]} == {(0, 1), (2, 3)}
    called = np.argwhere(estimate.called(0.05)).tolist()
    assert called == [[0, 1], [2, 3]]
    assert estimate.matrix[0, 1] > 5  # as a z-score
    assert estimate.matrix[2, 3] < -5
    assert estimate.p_values[1, 0] > 0.05
    assert estimate.p_values[3, 2] > 0.05
    assert estimate.delays_s()[0, 1] == pytest.approx(0.015)
    assert estimate.delays_s()[2, 3] == pytest.approx(0.025, abs=0.006)
    # The log-gain itself, not only its order.
    assert estimate.lag_profile[0, 1, 2] == pytest.approx(1.2, abs=0.6)
    assert np.abs(estimate.lag_profile[0, 1, [0, 1, 6, 7]]).max() < 0.5


def test_the_gain_is_that_of_the_circuit_within_its_error(read_out, pair_of_edges):
    estimate = read_out(pair_of_edges, rows=2, surrogates=None)
    np.testing.assert_allclose(estimate.gain, estimate.lag_profile.sum(-1), rtol=1e-4, atol=1e-5)
    z = off_diagonal(estimate.gain / estimate.gain_error)
    others = np.ones(12 * 11, bool)
    others[[0, 2 * 11 + 2]] = False  # 0 → 1 and 2 → 3
    assert np.std(z[others & (z != 0)]) == pytest.approx(1, abs=0.2)
    assert (np.abs(z[~others]) > 2.5).all()  # a sum over all lags is less sure than the peak
    assert abs(estimate.gain[0, 1] - 1.2) < 3 * estimate.gain_error[0, 1]
    assert np.isinf(estimate.gain_error[5]).all()  # never fires
    assert (estimate.gain[5] == 0).all()


def test_many_edges_teach_the_form_of_an_edge(read_out, rng):
    """With edges enough to learn from, pairs are ranked by a mixture, and no weaker ones are lost."""
    edges = [(0, 6), (1, 7), (2, 8), (3, 9), (4, 10), (5, 11), (0, 7), (1, 8)]
    counts, chance = np.zeros((10_000, 12), int), rng.random((10_000, 12))
    effect = np.zeros((12, 12))
    effect[tuple(zip(*edges, strict=True))] = 1.0
    for t in range(2, len(counts)):
        counts[t] = chance[t] < 0.05 * np.exp(counts[t - 2] @ effect)
    estimate = read_out(counts)
    order = np.argsort(-np.abs(estimate.matrix), axis=None)[: len(edges)]
    assert {divmod(int(k), 12) for k in order} == set(edges)
    called = estimate.called(0.05)
    assert called[effect > 0].all()
    assert called.sum() <= len(edges) + 1
    assert (estimate.matrix[effect > 0] > 0).all()
    assert np.abs(estimate.matrix[effect == 0]).max() < estimate.matrix[effect > 0].min()


def test_in_wide_bins_the_same_bin_ranks_pairs_and_leaves_the_graph_to_the_lags(tiles, constant_rates, rng):
    pairs = [(0, 6), (1, 7), (2, 8), (3, 9), (4, 10), (5, 11)]
    counts, chance = np.zeros((6_000, 12), int), rng.random((6_000, 12))
    for t in range(1, len(counts)):
        counts[t, :6] = chance[t, :6] < 0.1
        effect = np.concatenate(
            [counts[t, :5], -3.0 * counts[t, 5:6]]
        )  # in the same bin; the last one inhibits
        counts[t, 6:] = chance[t, 6:] < 0.12 * np.exp(effect + 0.3 * counts[t - 1, :6])
    batches = tiles(counts, history=HISTORY, piece=200, rows=4)
    narrow = constant_rates(counts)
    wide = dataclasses.replace(narrow, bin_s=0.1)
    estimate = adjusted_map(wide, batches, name="adjusted")
    plain = adjusted_map(narrow, batches, name="adjusted", control=False)  # the lags alone
    order = np.argsort(-np.abs(estimate.matrix), axis=None)[:12]
    found = {tuple(sorted(divmod(int(k), 12))) for k in order}
    assert found == set(pairs)
    sources, targets = np.array(pairs).T
    np.testing.assert_array_equal(np.sign(estimate.matrix[sources, targets]), [1, 1, 1, 1, 1, -1])
    assert (np.abs(estimate.matrix[sources, targets]) > np.abs(plain.matrix[sources, targets])).all()
    # What the same bin says has no direction, so it neither calls a pair nor counts as gain.
    np.testing.assert_array_equal(estimate.lag_profile, plain.lag_profile)
    np.testing.assert_array_equal(estimate.gain, plain.gain)
    assert (off_diagonal(estimate.p_values) >= off_diagonal(plain.p_values)).all()
    assert not estimate.called(0.05)[targets, sources].any()


def test_kernels_that_are_alike_are_no_fault(tiles, constant_rates, pair_of_edges):
    fitted = constant_rates(pair_of_edges)
    same = dataclasses.replace(fitted, kernels=fitted.kernels[:1].expand(2, -1).clone())
    batches = tiles(pair_of_edges[:4000], history=HISTORY, piece=200, rows=2)
    estimate = adjusted_map(same, batches, name="adjusted", functions=None)
    one = dataclasses.replace(fitted, kernels=fitted.kernels[:1], weights=fitted.weights[:1])
    single = adjusted_map(one, batches, name="adjusted", functions=None)
    np.testing.assert_allclose(estimate.lag_profile, single.lag_profile, rtol=0.05, atol=0.05)
    assert np.isfinite(off_diagonal(estimate.p_values)).all()


def test_the_kernels_of_the_model_can_be_kept(read_out, pair_of_edges):
    estimate = read_out(pair_of_edges, rows=2, functions=None)
    lag = np.arange(1, HISTORY + 1)
    kernels = np.stack([np.exp(-lag / 2), np.exp(-lag / 6)])
    profile = estimate.lag_profile.reshape(-1, HISTORY).T
    fit = kernels.T @ np.linalg.lstsq(kernels.T, profile, rcond=None)[0]
    np.testing.assert_allclose(fit, profile, atol=1e-5)
    np.testing.assert_allclose(estimate.lags_s, 0.005 * lag)


def test_a_unit_that_never_fires_is_connected_to_nothing(read_out, pair_of_edges):
    silent = 5
    estimate = read_out(pair_of_edges, rows=2, surrogates=None)
    others = np.arange(12) != silent
    assert (estimate.p_values[silent, others] == 1).all()
    assert (estimate.matrix[silent] == 0).all()
    assert (estimate.p_values[others, silent] > 0.99).all()
    np.testing.assert_allclose(estimate.matrix[:, silent], 0, atol=0.05)
    assert np.isfinite(estimate.matrix).all()
    assert np.isfinite(estimate.lag_profile).all()
    assert np.isfinite(off_diagonal(estimate.p_values)).all()


def test_a_recording_without_events_has_no_edges(read_out):
    estimate = read_out(np.zeros((2_000, 4), int))
    assert (estimate.matrix == 0).all()
    assert (off_diagonal(estimate.p_values) > 0.99).all()


def test_one_batch_is_enough_for_an_estimate(read_out, rng):
    estimate = read_out(rng.poisson(0.1, (800, 4)), rows=99)
    assert np.isfinite(off_diagonal(estimate.p_values)).all()


@pytest.mark.parametrize("time_constant_s", [0.05, 0.5])
def test_negative_controls_take_shared_drive_away(read_out, time_constant_s):
    config = CircuitConfig(
        units=20,
        duration_s=120.0,
        wiring=WiringConfig(density=0.0),
        drive=DriveConfig(n=2, time_constant_s=time_constant_s),
    )
    activity = simulate_circuit(config).activity
    counts = np.zeros((24_000, 20), int)
    counts[activity.steps, activity.neurons] = activity.counts
    n_pairs = 20 * 19
    assert read_out(counts).called(0.05).sum() <= 0.01 * n_pairs
    assert read_out(counts, control=False).called(0.05).sum() > 0.3 * n_pairs


def test_the_result_is_the_same_each_time(read_out, pair_of_edges):
    one, other = (read_out(pair_of_edges[:4000], rows=2) for _ in range(2))
    np.testing.assert_array_equal(one.matrix, other.matrix)
    np.testing.assert_array_equal(one.p_values, other.p_values)
    np.testing.assert_array_equal(one.lag_profile, other.lag_profile)


def test_the_order_of_the_units_does_not_matter(read_out, pair_of_edges):
    order = np.random.default_rng(3).permutation(12)
    plain, shuffled = (read_out(c[:4000], rows=2) for c in (pair_of_edges, pair_of_edges[:, order]))
    evidence = plain.matrix**2 / 2
    np.testing.assert_allclose(shuffled.matrix**2 / 2, evidence[np.ix_(order, order)], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(shuffled.p_values, plain.p_values[np.ix_(order, order)], rtol=1e-3, atol=1e-3)


def test_the_one_step_estimate_solves_for_a_weight(rng, tiles, constant_rates):
    counts = rng.poisson(0.1, (3_000, 3))
    batches = tiles(counts, history=HISTORY, piece=500, rows=3)
    sums = pair_moments(constant_rates(counts), batches, windows=()).real
    step = one_step(sums)
    assert step.shape == (3, 3, 2)
    np.testing.assert_allclose(
        np.einsum("abst,stb->ast", sums.information, step), sums.score, rtol=1e-3, atol=1e-2
    )


@pytest.mark.parametrize(
    ("mean", "count"), [(1.6, 6), (18.0, 3), (18.0, 0), (0.4, 2), (200.0, 230), (5.0, 5)]
)
def test_skewness_is_that_of_a_poisson_count(mean, count):
    # One head and a trace of 1 in bins where `mean` events are expected: second and third moment are the mean.
    estimate = np.array([[(count - mean) / mean]])
    factor = skewness_factor(estimate, np.full((1, 1, 1), mean), mean * estimate[:, 0] ** 3)
    z = factor[0] * estimate[0, 0] * np.sqrt(mean)
    deviance = 2 * (stats.poisson.logpmf(count, count) - stats.poisson.logpmf(count, mean))
    assert z == pytest.approx(np.sign(count - mean) * np.sqrt(deviance), rel=1e-9, abs=1e-9)


def test_skewness_factor_is_continuous_scale_free_and_bounded(rng):
    information = np.full((1, 1, 1), 4.0)

    def factor(s):
        return skewness_factor(np.array([[s]]), information, np.array([4 * s**3]))[0]

    for s in (9.99e-4, 1.001e-3, -9.99e-4, -1.001e-3):
        assert factor(s) == pytest.approx(1 - s / 6, abs=1e-6)
    assert factor(0.0) == 1
    assert factor(-1.0) == pytest.approx(np.sqrt(2))
    # No count is lower than none: the likelihood ratio stays at 2 m, whatever the estimate.
    assert factor(-5.0) * 5 == pytest.approx(np.sqrt(2))
    no_skew = skewness_factor(rng.normal(size=(5, 1)), np.ones((5, 1, 1)), np.zeros(5))
    np.testing.assert_allclose(no_skew, 1)
    # In other coordinates of the same weights it is the same factor.
    x, estimate, change = rng.random((30, 2)), rng.normal(0, 0.2, (1, 2)), np.array([[2.0, 0.3], [-0.5, 0.7]])
    factors = []
    for traces, weights in ((x, estimate), (x @ np.linalg.inv(change), estimate @ change.T)):
        along = (traces @ weights[0]) ** 3
        factors.append(
            skewness_factor(weights, np.einsum("ta,tb->ab", traces, traces)[None], along.sum()[None])
        )
    assert factors[0] == pytest.approx(factors[1])


def test_the_prediction_from_controls_ignores_outliers(rng):
    controls = rng.normal(size=(400, 3))
    z = controls @ [1.0, -0.5, 0.0] + 0.3
    noisy = z + 0.5 * rng.normal(size=400)
    noisy[:30] += 25  # connections
    predicted = robust_prediction(controls, noisy)
    np.testing.assert_allclose(predicted, z, atol=0.25)
    plain = np.column_stack([controls, np.ones(400)])
    least_squares = plain @ np.linalg.lstsq(plain, noisy, rcond=None)[0]
    assert np.abs(least_squares - z).mean() > 5 * np.abs(predicted - z).mean()


def test_the_prediction_bears_controls_that_are_alike_or_too_few_pairs(rng):
    control = rng.normal(size=(200, 1))
    twice = np.hstack([control, control, np.zeros((200, 1))])
    np.testing.assert_allclose(robust_prediction(twice, 2 * control[:, 0]), 2 * control[:, 0], atol=1e-9)
    assert (robust_prediction(rng.normal(size=(9, 1)), np.ones(9)) == 0).all()
    assert robust_prediction(np.zeros((0, 2)), np.zeros(0)).shape == (0,)


def test_controls_are_brought_to_the_scale_of_z_scores():
    found = standardized_controls(np.full((1, 2, 2), 6.0), np.array([4.0, 9.0]))
    np.testing.assert_allclose(found[0], [[6 / 4, 1], [1, 6 / 9]])
    assert (standardized_controls(np.zeros((1, 2, 2)), np.array([0.0, 9.0])) == 0).all()


@pytest.mark.parametrize("n_lags", [1, 2, 3, 7, 20, 41])
def test_control_windows_cover_every_acausal_lag_once(n_lags):
    same, *later = control_windows(n_lags)
    assert same == (0, 0)
    assert [lag for first, last in later for lag in range(first, last + 1)] == list(range(1, n_lags + 1))


def test_calibration_divides_by_the_larger_inflation(rng):
    everything = np.ones(4000, bool)
    null = rng.chisquare(3, 20_000)
    scale, p = calibrate(2 * rng.chisquare(3, 4000), null, 3, everything)
    assert scale == pytest.approx(2, rel=0.08)
    assert stats.kstest(p, "uniform").pvalue > 0.001
    scale, p = calibrate(rng.chisquare(3, 4000), 2 * null, 3, everything)
    assert scale == pytest.approx(2, rel=0.05)
    assert (p <= 0.05).mean() < 0.02  # conservative
    scale, _ = calibrate(2 * rng.chisquare(3, 4000), null, 3, everything, genomic=False)
    assert scale == pytest.approx(1, abs=0.05)


def test_calibration_never_makes_a_p_value_smaller(rng):
    chi2, testable = rng.chisquare(2, 500) * 0.3, np.ones(500, bool)
    for null in (np.zeros(0), 0.3 * rng.chisquare(2, 900)):
        scale, p = calibrate(chi2, null, 2, testable)
        assert scale == 1
        assert (p >= stats.chi2.sf(chi2, 2)).all()


def test_a_heavy_tail_of_the_surrogates_is_heeded(rng):
    chi2 = np.append(rng.chisquare(2, 300), 60.0)
    everything = np.ones(301, bool)
    _, light = calibrate(chi2, rng.chisquare(2, 20_000), 2, everything)
    assert light[-1] < 1e-6
    _, heavy = calibrate(chi2, 2 * rng.standard_t(3, 20_000) ** 2, 2, everything)
    assert heavy[-1] > 1e-4
    _, few = calibrate(
        chi2, rng.chisquare(2, 999), 2, everything
    )  # too few for a tail: the share that reaches it
    assert few[-1] == 1 / 1000


def test_the_tail_goes_on_where_counting_ends(rng):
    null, chi2 = rng.chisquare(3, 50_000), np.linspace(0.1, 40, 400)
    found = tail_p_values(chi2, null)
    assert (np.diff(found) <= 1e-3).all()
    np.testing.assert_allclose(np.log(found[chi2 < 25]), stats.chi2.logsf(chi2[chi2 < 25], 3), atol=0.7)


def test_pairs_that_cannot_be_tested_have_p_1_and_do_not_count(rng):
    chi2, testable = np.append(rng.chisquare(2, 800), np.zeros(4000)), np.arange(4800) < 800
    scale, p = calibrate(3 * chi2, np.zeros(7), 2, testable)
    assert scale == pytest.approx(3, rel=0.15)
    assert (p[800:] == 1).all()
    scale, p = calibrate(chi2, np.zeros(0), 2, np.zeros(4800, bool))
    assert scale == 1
    assert (p == 1).all()
