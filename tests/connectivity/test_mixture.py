import numpy as np
import pytest

from neuroformer.connectivity.mixture import LEAST_PAIRS, fit_mixture
from neuroformer.connectivity.ranking import average_precision

HEADS = 3
FORM = np.array([1.0, 0.6, -0.2])  # of every exciting connection; inhibiting ones have its mirror image


def draw(rng, *, none=1500, excite=60, inhibit=20, size=4.0):
    """Estimates with known error covariances, the true group of each pair (0, 1, −1), and their χ²."""
    group = np.repeat([0, 1, -1], [none, excite, inhibit])
    root = 0.3 * rng.normal(size=(len(group), HEADS, HEADS)) + np.eye(HEADS)
    error = root @ root.transpose(0, 2, 1)
    true = group[:, None] * (size * FORM + 0.3 * rng.normal(size=(len(group), HEADS)))
    estimate = true + np.einsum("pab,pb->pa", root, rng.normal(size=(len(group), HEADS)))
    chi2 = np.einsum("pa,pab,pb->p", estimate, np.linalg.inv(error), estimate)
    return estimate, error, group, chi2


def fit(estimate, error, chi2, *, above=25.0):
    return fit_mixture(estimate, error, np.sign(estimate @ FORM), chi2 > above)


def test_groups_are_recovered(rng):
    estimate, error, group, chi2 = draw(rng)
    mixture = fit(estimate, error, chi2)
    assert mixture.share.sum() == pytest.approx(1)
    np.testing.assert_allclose(mixture.share, [1500 / 1580, 60 / 1580, 20 / 1580], atol=0.012)
    # Local false-discovery rate: among pairs with evidence it is the share of unconnected ones.
    rate = np.exp(-mixture.evidence)
    likely = rate < 0.5
    assert rate[likely].mean() == pytest.approx((group[likely] == 0).mean(), abs=0.06)
    assert average_precision(mixture.evidence, group != 0) > 0.9


@pytest.mark.parametrize("seed", range(3))
def test_evidence_ranks_better_than_chi2_where_connections_have_a_common_form(seed):
    estimate, error, group, chi2 = draw(np.random.default_rng(seed), size=2.6)
    mixture = fit(estimate, error, chi2, above=18.0)
    of_chi2 = average_precision(chi2, group != 0)
    assert of_chi2 < 0.9
    assert average_precision(mixture.evidence, group != 0) > of_chi2 + 0.05


def test_a_departure_of_another_form_counts_less(rng):
    estimate, error, _, _ = draw(rng, size=5.0)
    odd = np.array([0.0, 0.0, 5.0])
    right = 5 * FORM / np.linalg.norm(FORM)
    estimate, error = np.vstack([estimate, odd, right]), np.concatenate([error, [np.eye(HEADS)] * 2])
    chi2 = np.einsum("pa,pab,pb->p", estimate, np.linalg.inv(error), estimate)
    assert chi2[-2] == pytest.approx(chi2[-1])
    evidence = fit(estimate, error, chi2).evidence
    assert evidence[-1] > evidence[-2] + 3


def test_few_inhibiting_pairs_start_as_the_mirror_image_of_the_exciting_ones(rng):
    estimate, error, group, chi2 = draw(rng, inhibit=8, size=5.0)
    called = (chi2 > 30) & (group >= 0)  # none of the inhibiting pairs was called
    mixture = fit_mixture(estimate, error, np.sign(estimate @ FORM), called)
    assert mixture.share[2] == pytest.approx(8 / len(group), abs=0.006)
    assert np.median(mixture.evidence[group < 0]) > 5


def test_signs_are_treated_alike(rng):
    estimate, error, _, chi2 = draw(rng)
    plain, mirrored = fit(estimate, error, chi2), fit(-estimate, error, chi2)
    np.testing.assert_allclose(mirrored.evidence, plain.evidence, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(mirrored.share[[0, 2, 1]], plain.share, rtol=1e-6)


def test_without_called_pairs_there_is_no_form_to_learn(rng):
    estimate, error, group, _ = draw(rng)
    sign = np.sign(estimate @ FORM)
    called = np.zeros(len(group), bool)
    assert fit_mixture(estimate, error, sign, called) is None
    called[np.flatnonzero(sign > 0)[: LEAST_PAIRS - 1]] = True
    called[np.flatnonzero(sign < 0)[: LEAST_PAIRS - 1]] = True
    assert fit_mixture(estimate, error, sign, called) is None
    called[np.flatnonzero(sign > 0)[:LEAST_PAIRS]] = True
    assert fit_mixture(estimate, error, sign, called) is not None


@pytest.mark.parametrize("size", [0.0, 2.0, 300.0])
def test_evidence_is_finite_and_never_negative(rng, size):
    estimate, error, _, chi2 = draw(rng, none=300, excite=30, inhibit=4, size=size)
    mixture = fit(estimate, error, chi2, above=np.sort(chi2)[-10])
    assert np.isfinite(mixture.evidence).all()
    assert (mixture.evidence >= 0).all()
    assert (mixture.share > 0).all()


def test_pairs_that_are_all_called_or_all_alike_are_no_fault(rng):
    estimate = np.tile(2 * FORM, (6, 1))
    mixture = fit_mixture(estimate, np.tile(np.eye(HEADS), (6, 1, 1)), np.ones(6), np.ones(6, bool))
    assert np.isfinite(mixture.evidence).all()


def test_one_head_is_enough(rng):
    group = np.repeat([0, 1], [400, 40])
    estimate = (5.0 * group + rng.normal(size=440))[:, None]
    called = estimate[:, 0] > 4
    mixture = fit_mixture(estimate, np.ones((440, 1, 1)), np.sign(estimate[:, 0]), called)
    assert average_precision(mixture.evidence, group == 1) > 0.95
