import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torchmetrics.functional.classification import binary_auroc, binary_average_precision

from neuroformer.connectivity.ranking import (
    auroc,
    average_precision,
    off_diagonal,
    precision_recall_curve,
    rank,
    weighted_auroc,
    weighted_average_precision,
)

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


def test_off_diagonal_goes_row_by_row():
    assert off_diagonal(np.arange(9).reshape(3, 3)).tolist() == [1, 2, 3, 5, 6, 7]


@given(rankings(), st.integers(0, 2**32 - 1))
def test_a_weighting_is_the_same_as_repeating_pairs(ranking, seed):
    score, positive = ranking
    weight = np.random.default_rng(seed).integers(0, 4, size=(5, len(score)))
    ranked = rank(score, positive, weight.astype(float))
    for row, precision, area in zip(
        weight, weighted_average_precision(ranked), weighted_auroc(ranked), strict=True
    ):
        repeated = np.repeat(score, row), np.repeat(positive, row)
        if not repeated[1].any():
            assert np.isnan(precision)
            assert np.isnan(area)
            continue
        assert precision == pytest.approx(average_precision(*repeated))
        assert area == pytest.approx(auroc(*repeated), nan_ok=True)


def test_without_positives_there_is_no_score():
    assert np.isnan(average_precision(np.arange(3.0), np.zeros(3, bool)))
    assert np.isnan(auroc(np.arange(3.0), np.zeros(3, bool)))
    assert np.isnan(auroc(np.arange(3.0), np.ones(3, bool)))
