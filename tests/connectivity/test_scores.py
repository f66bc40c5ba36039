import json
import math

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import binary_matthews_corrcoef, binary_precision, binary_recall

from neuroformer.connectivity import ConnectivityMap, from_lag_profile
from neuroformer.connectivity.ranking import off_diagonal
from neuroformer.connectivity.scores import ConnectivityScores, mean_scores, score_connectivity
from neuroformer.errors import UserError
from neuroformer.files import write_json

CALLING = ("mcc", "precision", "recall", "called_share", "false_call_share")


def scored(
    matrix: np.ndarray,
    weights: np.ndarray,
    delays: np.ndarray | None = None,
    *,
    p_values: np.ndarray | None = None,
    bootstrap: int = 0,
    seed: int = 0,
) -> ConnectivityScores:
    """Score a bare matrix."""
    estimate = ConnectivityMap(name="method", matrix=matrix, p_values=p_values)
    return score_connectivity(estimate, weights, delays, bootstrap=bootstrap, rng=np.random.default_rng(seed))


def calls(graph: np.ndarray) -> np.ndarray:
    """P-values with which exactly the pairs of a graph are called."""
    p_values = np.where(graph, 1e-9, 1.0)
    np.fill_diagonal(p_values, np.nan)
    return p_values


def wiring(seed: int = 0, n: int = 20) -> np.ndarray:
    rng = np.random.default_rng(seed)
    weights = rng.lognormal(size=(n, n)) * (rng.random((n, n)) < 0.15)
    weights[n // 2 :] *= -1
    np.fill_diagonal(weights, 0)
    return weights


def test_the_truth_itself_scores_one_everywhere():
    weights = wiring()
    shares = scored(weights, weights).as_dict()
    n_edges, n_pairs = shares.pop("n_edges"), shares.pop("n_pairs")
    assert (n_edges, n_pairs) == (np.count_nonzero(weights), 20 * 19)
    chances = {name: shares.pop(name) for name in list(shares) if name.startswith("chance")}
    unknown = {"delay_error_s", "n_called", *CALLING}
    assert all(math.isnan(shares.pop(name)) for name in unknown)
    assert shares.pop("intervals") == {}
    assert set(shares.values()) == {1.0}
    assert chances["chance"] == pytest.approx(n_edges / n_pairs)
    assert chances["chance_excitatory"] + chances["chance_inhibitory"] == pytest.approx(chances["chance"])


@pytest.mark.parametrize("constant", [0.0, 2.5])
def test_a_constant_estimate_is_at_chance(constant):
    scores = scored(np.full((20, 20), constant), wiring())
    assert scores.average_precision == pytest.approx(scores.chance)
    assert scores.average_precision_inhibitory == pytest.approx(scores.chance_inhibitory)
    assert scores.auroc == scores.auroc_excitatory == scores.direction_accuracy == 0.5


def test_the_diagonal_is_ignored_even_if_it_is_nan():
    weights, estimate = wiring(), wiring(seed=1)
    expected = scored(estimate, weights).as_dict()
    np.fill_diagonal(estimate, np.nan)
    np.fill_diagonal(weights, 7)
    np.testing.assert_equal(scored(estimate, weights).as_dict(), expected)


def test_transposed_truth_points_every_one_way_pair_the_wrong_way():
    weights = wiring()
    assert scored(weights.T, weights).direction_accuracy == 0
    assert scored(weights + weights.T, weights).direction_accuracy == 0.5
    assert math.isnan(scored(weights, np.abs(weights + weights.T)).direction_accuracy)


def test_direction_accuracy_counts_one_way_pairs_only():
    weights = np.zeros((4, 4))
    weights[0, 1] = weights[2, 3] = weights[3, 2] = weights[0, 2] = weights[3, 0] = 1
    estimate = np.zeros((4, 4))
    estimate[0, 1] = -2  # right, sign does not matter
    estimate[2, 0] = 1  # wrong
    estimate[3, 2] = 5  # an edge both ways: no direction to tell
    assert scored(estimate, weights).direction_accuracy == pytest.approx(
        (1 + 0 + 0.5) / 3
    )  # 3 → 0 is tied at 0


def test_flipped_signs_cost_the_signed_scores_only():
    weights = wiring()
    scores = scored(-weights, weights)
    assert scores.average_precision == scores.direction_accuracy == 1
    assert scores.sign_accuracy == 0
    assert scores.auroc_excitatory < 0.5
    assert scores.auroc_inhibitory < 0.5


def test_kinds_that_the_truth_lacks_are_nan_and_left_out_of_the_mean():
    only_excitatory, both = np.abs(wiring(seed=2)), wiring(seed=3)
    one, two = scored(both, only_excitatory), scored(both, both)
    assert math.isnan(one.average_precision_inhibitory)
    assert math.isnan(one.auroc_inhibitory)
    mean = mean_scores([one, two], rng=np.random.default_rng(0))
    assert mean.average_precision_inhibitory == two.average_precision_inhibitory
    assert mean.auroc == pytest.approx((one.auroc + two.auroc) / 2)
    assert mean.n_edges == one.n_edges + two.n_edges
    assert math.isnan(mean_scores([one], rng=np.random.default_rng(0)).auroc_inhibitory)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_estimates_that_are_not_finite_are_refused(broken):
    estimate = wiring()
    estimate[3, 4] = broken
    with pytest.raises(UserError, match="estimate: 1 entries are NaN or infinite"):
        scored(estimate, wiring())


def test_truth_without_gaps_is_refused():
    with pytest.raises(UserError, match="380 of 380 pairs"):
        scored(wiring(), np.ones((20, 20)))


def test_p_values_that_are_not_finite_are_refused():
    p_values = np.full((20, 20), 0.5)
    p_values[0, 1] = np.nan
    with pytest.raises(UserError, match="p-values of the estimate: 1 entries are NaN"):
        scored(wiring(), wiring(), p_values=p_values)


def test_estimate_of_other_units_is_refused():
    with pytest.raises(UserError, match=r"\(5, 5\).*\(20, 20\)"):
        scored(np.zeros((5, 5)), wiring())
    with pytest.raises(UserError, match=r"truth/delays: found shape \(5, 5\)"):
        scored(wiring(), wiring(), np.zeros((5, 5)))


def test_the_graph_is_scored_as_torchmetrics_does():
    rng = np.random.default_rng(4)
    weights, graph = wiring(), rng.random((20, 20)) < 0.3
    np.fill_diagonal(graph, False)
    scores = scored(weights, weights, p_values=calls(graph))
    prediction, target = (torch.from_numpy(off_diagonal(m).astype(np.int64)) for m in (graph, weights != 0))
    assert scores.mcc == pytest.approx(binary_matthews_corrcoef(prediction, target).item(), abs=1e-6)
    assert scores.precision == pytest.approx(binary_precision(prediction, target).item(), abs=1e-6)
    assert scores.recall == pytest.approx(binary_recall(prediction, target).item(), abs=1e-6)
    assert scores.n_called == graph.sum()
    assert scores.called_share == pytest.approx(graph.sum() / 380)
    assert scores.false_call_share == pytest.approx(off_diagonal(graph)[off_diagonal(weights) == 0].mean())


def test_a_graph_without_calls_has_recall_0_and_no_precision():
    scores = scored(wiring(), wiring(), p_values=calls(np.zeros((20, 20), bool)))
    assert scores.recall == scores.called_share == scores.n_called == scores.mcc == 0
    assert math.isnan(scores.precision)
    assert math.isnan(scores.sign_accuracy_recovered)


def test_a_circuit_without_edges_is_scored_by_what_is_called():
    graph = np.zeros((20, 20), bool)
    graph[0, 1:5] = True
    scores = scored(wiring(), np.eye(20), p_values=calls(graph), bootstrap=50)
    known = {
        name: value
        for name, value in scores.as_dict().items()
        if name != "intervals" and not math.isnan(value)
    }
    share = pytest.approx(4 / 380)
    expected = {"n_called": 4, "n_pairs": 380, "n_edges": 0, "called_share": share, "false_call_share": share}
    assert known == expected
    assert set(scores.intervals) == {"called_share", "false_call_share"}
    assert math.isnan(scored(wiring(), np.eye(20)).called_share)


def test_recovered_pairs_are_the_called_edges_or_else_the_strongest():
    weights = np.zeros((5, 5))
    weights[0, 1], weights[1, 2], weights[2, 3], weights[3, 4] = 1, -1, 1, 1
    estimate = np.zeros((5, 5))
    estimate[0, 1], estimate[1, 2], estimate[2, 3], estimate[3, 4] = (
        5,
        -4,
        -1,
        0.5,
    )  # the third has the wrong sign
    estimate[3, 2], estimate[4, 3] = 2, 0.1  # and the wrong direction
    strongest = scored(estimate, weights)  # 5, 4, 2 (false) and 1
    assert strongest.sign_accuracy == 3 / 4
    assert strongest.sign_accuracy_recovered == strongest.direction_accuracy_recovered == pytest.approx(2 / 3)
    called = scored(estimate, weights, p_values=calls(np.abs(estimate) >= 2))
    assert called.sign_accuracy_recovered == called.direction_accuracy_recovered == 1
    assert called.direction_accuracy == strongest.direction_accuracy == 3 / 4


def test_delay_error_is_the_median_over_recovered_edges():
    weights, delays = np.zeros((2, 5, 5))
    profile = np.zeros((5, 5, 4))
    true_and_found = [(0, 1, 0.004, 0), (1, 2, 0.010, 1), (2, 3, 0.010, 3), (3, 4, 0.020, 0)]
    for source, target, delay, lag in true_and_found:
        weights[source, target], delays[source, target] = 1, delay
        profile[source, target, lag] = 1
    estimate = from_lag_profile("coupling", profile, 0.005)  # errors 1, 0, 10 and 15 ms
    rng = np.random.default_rng(0)
    scores = score_connectivity(estimate, weights, delays, rng=rng, bootstrap=50)
    assert scores.delay_error_s == pytest.approx(0.0055)
    low, high = scores.intervals["delay_error_s"]
    assert -1e-9 <= low <= scores.delay_error_s <= high <= 0.015 + 1e-9
    assert math.isnan(score_connectivity(estimate, weights, rng=rng, bootstrap=0).delay_error_s)
    assert math.isnan(scored(weights, weights, delays).delay_error_s)


def test_draws_equal_the_scores_of_the_drawn_network():
    """Brute force: build the drawn pairs one by one and score them."""
    weights, noise = wiring(n=8), np.random.default_rng(5).standard_normal((8, 8))
    scores = scored(weights + noise, weights, bootstrap=6, seed=3)
    units = np.random.default_rng(3).multinomial(8, np.full(8, 1 / 8), size=6)
    edge, strength = off_diagonal(weights) != 0, np.abs(off_diagonal(weights + noise))
    for draw, counts in enumerate(units):
        times = off_diagonal(np.outer(counts, counts))
        drawn, wanted = np.repeat(strength, times), np.repeat(edge, times)
        precisions = [wanted[drawn >= level].mean() for level in drawn[wanted]]
        assert scores.draws["average_precision"][draw] == pytest.approx(np.mean(precisions))


def test_intervals_hold_the_score_and_go_to_json(tmp_path):
    weights = wiring()
    noisy = weights + 0.5 * np.random.default_rng(6).standard_normal((20, 20))
    scores = scored(noisy, weights, p_values=calls(np.abs(noisy) > 1), bootstrap=100)
    for name, (low, high) in scores.intervals.items():
        assert low <= high
        assert name in CALLING or low - 0.1 <= getattr(scores, name) <= high + 0.1
    write_json(tmp_path / "metrics.json", scores.as_dict())
    read = json.loads((tmp_path / "metrics.json").read_text())
    assert read["average_precision"] == scores.average_precision
    assert read["intervals"]["average_precision"] == list(scores.intervals["average_precision"])
    assert read["delay_error_s"] is None
    assert "draws" not in read


def test_the_mean_over_sessions_has_an_interval_over_sessions():
    rng = np.random.default_rng(7)
    each = []
    for seed in range(4):
        weights = wiring(seed)
        each.append(scored(weights + rng.standard_normal((20, 20)), weights, bootstrap=60, seed=seed))
    values = [score.average_precision for score in each]
    pooled = mean_scores(each, rng=rng)
    assert pooled.average_precision == pytest.approx(np.mean(values))
    low, high = pooled.intervals["average_precision"]
    assert min(values) <= low < pooled.average_precision < high <= max(values)
    two = mean_scores(each[:2], rng=rng)
    drawn = (each[0].draws["average_precision"] + each[1].draws["average_precision"]) / 2
    assert two.intervals["average_precision"] == pytest.approx(np.quantile(drawn, [0.025, 0.975]))
    assert not any(name.startswith(("chance", "n_")) for name in pooled.intervals)
    assert "mcc" not in pooled.intervals
