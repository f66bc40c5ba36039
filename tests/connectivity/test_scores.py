import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torchmetrics.functional.classification import binary_auroc, binary_average_precision

from neuroformer.connectivity.scores import (
    auroc,
    average_precision,
    direction_accuracy,
    mean_scores,
    off_diagonal,
    precision_recall_curve,
    score_connectivity,
)
from neuroformer.errors import UserError

# Scores from a few levels have ties, wide floats have none but all magnitudes.
levels = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 3.0])
wide = st.floats(-1e6, 1e6, allow_subnormal=False)


@st.composite
def rankings(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(2, 40))
    score = draw(hnp.arrays(np.float64, n, elements=draw(st.sampled_from([levels, wide]))))
    positive = draw(hnp.arrays(np.bool_, n))
    positive[:2] = True, False
    return score, positive


@given(rankings())
def test_auroc_is_the_probability_that_a_positive_outranks_a_negative(ranking):
    score, positive = ranking
    difference = score[positive][:, None] - score[~positive][None, :]
    assert auroc(score, positive) == pytest.approx(np.mean((difference > 0) + 0.5 * (difference == 0)))


@given(rankings())
def test_average_precision_sums_precision_over_steps_of_recall(ranking):
    score, positive = ranking
    total, recall_before = 0.0, 0.0
    for threshold in sorted(set(score), reverse=True):
        found = score >= threshold
        recall = positive[found].sum() / positive.sum()
        total += (recall - recall_before) * positive[found].mean()
        recall_before = recall
    assert average_precision(score, positive) == pytest.approx(total)


@given(rankings())
def test_agrees_with_torchmetrics_on_ties(ranking):
    score, positive = ranking
    # torchmetrics squashes what lies outside [0, 1], which would make ties of its own.
    ranks = np.unique(score, return_inverse=True)[1] / len(score)
    prediction, target = torch.from_numpy(ranks), torch.from_numpy(positive.astype(np.int64))
    assert auroc(score, positive) == pytest.approx(binary_auroc(prediction, target).item(), abs=1e-6)
    assert average_precision(score, positive) == pytest.approx(
        binary_average_precision(prediction, target).item(), abs=1e-6
    )


@given(rankings(), st.randoms(use_true_random=False))
def test_order_of_pairs_and_monotone_scaling_do_not_matter(ranking, random):
    score, positive = ranking
    order = random.sample(range(len(score)), len(score))
    shuffled = score[order] * 8, positive[order]  # a power of two keeps ties as they are
    assert average_precision(*shuffled) == pytest.approx(average_precision(score, positive))
    assert auroc(*shuffled) == pytest.approx(auroc(score, positive))


def test_precision_recall_curve_ends_at_full_recall_and_density():
    positive = np.array([True, False, True, False])
    precision, recall = precision_recall_curve(np.array([0.9, 0.8, 0.7, 0.7]), positive)
    np.testing.assert_allclose(precision, [1, 1 / 2, 2 / 4])
    np.testing.assert_allclose(recall, [1 / 2, 1 / 2, 1])


def wiring(seed: int = 0, n: int = 20) -> np.ndarray:
    rng = np.random.default_rng(seed)
    weights = rng.lognormal(size=(n, n)) * (rng.random((n, n)) < 0.15)
    weights[n // 2 :] *= -1
    np.fill_diagonal(weights, 0)
    return weights


def test_the_truth_itself_scores_one_everywhere():
    weights = wiring()
    scores = score_connectivity(weights, weights)
    shares = dataclasses.asdict(scores)
    n_edges, n_pairs = shares.pop("n_edges"), shares.pop("n_pairs")
    assert (n_edges, n_pairs) == (np.count_nonzero(weights), 20 * 19)
    chances = {name: shares.pop(name) for name in list(shares) if name.startswith("chance")}
    assert set(shares.values()) == {1.0}
    assert chances["chance"] == pytest.approx(n_edges / n_pairs)
    assert chances["chance_excitatory"] + chances["chance_inhibitory"] == pytest.approx(chances["chance"])


@pytest.mark.parametrize("constant", [0.0, 2.5])
def test_a_constant_estimate_is_at_chance(constant):
    scores = score_connectivity(np.full((20, 20), constant), wiring())
    assert scores.average_precision == pytest.approx(scores.chance)
    assert scores.average_precision_inhibitory == pytest.approx(scores.chance_inhibitory)
    assert scores.auroc == scores.auroc_excitatory == scores.direction_accuracy == 0.5


def test_the_diagonal_is_ignored_even_if_it_is_nan():
    weights, estimate = wiring(), wiring(seed=1)
    expected = score_connectivity(estimate, weights)
    np.fill_diagonal(estimate, np.nan)
    np.fill_diagonal(weights, 7)
    assert score_connectivity(estimate, weights) == expected


def test_transposed_truth_points_every_one_way_pair_the_wrong_way():
    weights = wiring()
    assert direction_accuracy(weights.T, weights) == 0
    assert direction_accuracy(weights + weights.T, weights) == 0.5
    assert math.isnan(direction_accuracy(weights, weights + weights.T))


def test_direction_accuracy_counts_one_way_pairs_only():
    weights = np.zeros((4, 4))
    weights[0, 1] = weights[2, 3] = weights[3, 2] = weights[0, 2] = weights[3, 0] = 1
    estimate = np.zeros((4, 4))
    estimate[0, 1] = -2  # right, sign does not matter
    estimate[2, 0] = 1  # wrong
    estimate[3, 2] = 5  # an edge both ways: no direction to tell
    assert direction_accuracy(estimate, weights) == pytest.approx((1 + 0 + 0.5) / 3)  # 3 → 0 is tied at 0


def test_flipped_signs_cost_the_signed_scores_only():
    weights = wiring()
    scores = score_connectivity(-weights, weights)
    assert scores.average_precision == scores.direction_accuracy == 1
    assert scores.sign_accuracy == 0
    assert scores.auroc_excitatory < 0.5
    assert scores.auroc_inhibitory < 0.5


def test_kinds_that_the_truth_lacks_are_nan_and_left_out_of_the_mean():
    only_excitatory, both = np.abs(wiring(seed=2)), wiring(seed=3)
    one, two = score_connectivity(both, only_excitatory), score_connectivity(both, both)
    assert math.isnan(one.average_precision_inhibitory)
    assert math.isnan(one.auroc_inhibitory)
    mean = mean_scores([one, two])
    assert mean.average_precision_inhibitory == two.average_precision_inhibitory
    assert mean.auroc == pytest.approx((one.auroc + two.auroc) / 2)
    assert mean.n_edges == one.n_edges + two.n_edges
    assert math.isnan(mean_scores([one]).auroc_inhibitory)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_estimates_that_are_not_finite_are_refused(broken):
    estimate = wiring()
    estimate[3, 4] = broken
    with pytest.raises(UserError, match="estimate: 1 entries are NaN or infinite"):
        score_connectivity(estimate, wiring())


def test_truth_without_edges_or_without_gaps_is_refused():
    with pytest.raises(UserError, match="0 of 380 pairs"):
        score_connectivity(wiring(), np.eye(20))
    with pytest.raises(UserError, match="380 of 380 pairs"):
        score_connectivity(wiring(), np.ones((20, 20)))


def test_estimate_of_other_units_is_refused():
    with pytest.raises(UserError, match=r"\(5, 5\).*\(20, 20\)"):
        score_connectivity(np.zeros((5, 5)), wiring())


def test_off_diagonal_goes_row_by_row():
    assert off_diagonal(np.arange(9).reshape(3, 3)).tolist() == [1, 2, 3, 5, 6, 7]
