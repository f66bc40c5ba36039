import itertools

import numpy as np
import pytest

from neuroformer.identity.matching import assign, capacities, graph_match, label_graph


def test_the_assignment_is_the_best_of_all(rng: np.random.Generator) -> None:
    scores = rng.normal(size=(4, 5))
    found = assign(scores, np.ones(5, int))
    best = max(itertools.permutations(range(5), 4), key=lambda p: scores[range(4), p].sum())
    assert tuple(found) == best


def test_no_label_is_given_out_too_often(rng: np.random.Generator) -> None:
    scores = np.tile([5.0, 0.0, -1.0], (6, 1)) + rng.normal(0, 0.1, (6, 3))
    capacity = np.array([2, 3, 1])
    assert np.bincount(assign(scores, capacity), minlength=3).tolist() == [2, 3, 1]
    assert set(assign(scores, np.array([1, 1, 0]))) == {0, 1}


def test_impossible_labels_are_not_given(rng: np.random.Generator) -> None:
    scores = rng.normal(size=(3, 4))
    scores[:, 3] = -np.inf
    assert 3 not in assign(scores, np.ones(4, int))


def test_capacity_is_the_most_that_a_session_has() -> None:
    assert capacities([np.array([0, 0, 1, -1]), np.array([0, 1, 1, 1])], 3).tolist() == [2, 3, 0]


def test_the_graph_tells_units_that_look_the_same(rng: np.random.Generator) -> None:
    # Labels 0 and 1 belong to one clique, 2 and 3 to another; features tell 0 and 2 alone.
    truth = np.array([0, 1, 2, 3])
    clique = np.kron(np.eye(2), np.ones((2, 2)))
    graphs = []
    for _ in range(4):
        noise = rng.normal(0, 0.05, (4, 4))
        graphs.append(0.8 * clique + noise + noise.T)
    for graph in graphs:
        np.fill_diagonal(graph, 0)
    reference = label_graph(graphs[:3], [truth] * 3, 4)
    assert reference.mean[0, 1] > 0.6
    assert abs(reference.mean[0, 2]) < 0.2
    order = np.array([3, 0, 2, 1])
    evidence = np.full((4, 4), -1.0)
    evidence[order == 0, 0] = evidence[order == 2, 2] = 2.0
    evidence[order == 1] = evidence[order == 3] = [-9.0, 0.0, -9.0, 0.0]
    found = graph_match(evidence, graphs[3][np.ix_(order, order)], reference, np.ones(4), strength=0.3)
    assert (assign(found, np.ones(4, int)) == order).all()
    np.testing.assert_allclose(np.exp(found).sum(1), 1)


def test_without_weight_the_graph_changes_nothing(rng: np.random.Generator) -> None:
    evidence = rng.normal(size=(4, 4))
    reference = label_graph([rng.normal(size=(4, 4))], [np.arange(4)], 4)
    found = graph_match(evidence, rng.normal(size=(4, 4)), reference, np.ones(4), strength=0.0)
    expected = evidence - np.log(np.exp(evidence).sum(1, keepdims=True))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_pairs_are_pooled_over_sessions() -> None:
    a = np.array([[0.0, 0.4], [0.4, 0.0]])
    found = label_graph(
        [a, 2 * a, np.zeros((2, 2))], [np.array([0, 1]), np.array([0, 1]), np.array([0, -1])], 2
    )
    assert found.mean[0, 1] == pytest.approx(found.mean[1, 0])
    assert found.mean[0, 1] == pytest.approx(0.6, abs=0.02)
    assert (found.variance > 0).all()
