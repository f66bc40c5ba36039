import dataclasses

import numpy as np
import pytest

from neuroformer.connectivity import ConnectivityMap, SessionConnectivity
from neuroformer.connectivity.graph_figure import draw_graph, edges_of
from neuroformer.plotting import save_figure


def session(n: int = 10, *, truth: bool = True, p_values: bool = True, seed: int = 0) -> SessionConnectivity:
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((n, n)) * (rng.random((n, n)) < 0.3)
    np.fill_diagonal(weights, 0)
    matrix = weights + 0.3 * rng.standard_normal((n, n))
    p = np.where(np.abs(matrix) > 0.6, 1e-9, 1.0)
    np.fill_diagonal(p, np.nan)
    estimate = ConnectivityMap(name="coupling", matrix=matrix, p_values=p if p_values else None)
    weights = weights if truth else None
    return SessionConnectivity(session_id="c", unit_ids=np.arange(n), maps=(estimate,), weights=weights)


def test_found_false_and_missed_edges_partition_graph_and_truth():
    one = session()
    (estimate,) = one.maps
    edges = edges_of(one, estimate, q=0.05, most=500)
    graph, truth = estimate.called(0.05), one.weights != 0
    assert {*map(tuple, edges.drawn)} == {*zip(*np.nonzero(graph), strict=True)}
    assert {*map(tuple, edges.missed)} == {*zip(*np.nonzero(truth & ~graph), strict=True)}
    assert (edges.n_found, edges.n_true) == (graph.sum(), (graph & truth).sum())
    strength = [abs(estimate.matrix[i, j]) for i, j in edges.drawn]
    assert strength == sorted(strength, reverse=True)


def test_no_more_arrows_than_asked_for():
    one = session(30)
    (estimate,) = one.maps
    edges = edges_of(one, estimate, q=0.05, most=30)
    assert len(edges.drawn) + len(edges.missed) == 30
    assert len(edges.missed) == 10
    figure = draw_graph(one, most=30)
    assert len(figure.axes[0].patches) == 30
    assert f"the 20 strongest of {edges.n_found} pairs" in figure.get_supxlabel()


def test_without_a_null_the_strongest_pairs_stand_in():
    one = session(p_values=False)
    (estimate,) = one.maps
    edges = edges_of(one, estimate, q=0.05, most=500)
    assert edges.n_found == np.count_nonzero(one.weights)
    assert len(edges.missed) == edges.n_found - edges.n_true
    assert "no null" in edges.meaning
    unknown = session(truth=False, p_values=False)
    assert edges_of(unknown, unknown.maps[0], q=0.05, most=500).n_found == 20


@pytest.mark.parametrize("n", [2, 10, 100])
@pytest.mark.parametrize("truth", [True, False])
@pytest.mark.parametrize("spatial", [True, False])
def test_any_size_can_be_saved(tmp_path, n, truth, spatial):
    positions = np.random.default_rng(0).uniform(0, 300, (n, 3)) if spatial else None
    figure = draw_graph(session(n, truth=truth), positions=positions, most=20)
    assert save_figure(figure, tmp_path / "graph.png", dpi=40).stat().st_size > 1000


def test_an_empty_graph_and_units_in_one_place_can_be_drawn(tmp_path):
    empty = ConnectivityMap(name="coupling", matrix=np.zeros((3, 3)), p_values=np.ones((3, 3)))
    one = SessionConnectivity(session_id="c", unit_ids=np.arange(3), maps=(empty,))
    figure = draw_graph(one, positions=np.zeros((3, 2)))
    assert save_figure(figure, tmp_path / "graph.png", dpi=40).stat().st_size > 1000
    assert draw_graph(one, name="other") is None


def test_names_of_units_are_text_and_no_formula(tmp_path):
    one = dataclasses.replace(session(3), unit_ids=np.array(["$\\x$", "$a", "b$"]))
    for positions in (None, np.eye(3)):
        save_figure(draw_graph(one, positions=positions), tmp_path / "graph.png", dpi=40)
