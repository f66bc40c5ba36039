import dataclasses

import numpy as np
import pytest

from neuroformer.connectivity import (
    ConnectivityMap,
    SessionConnectivity,
    from_lag_profile,
    score_connectivity,
)
from neuroformer.connectivity.table import WIDTH, calls, render_calls, render_summary, strongest_pairs

NAMES = ("partial_correlation", "coupling", "attention_gradient", "no_null")


def session(*, truth: bool = True, n: int = 12) -> SessionConnectivity:
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((n, n)) * (rng.random((n, n)) < 0.2)
    np.fill_diagonal(weights, 0)
    maps = []
    for spread, name in enumerate(NAMES):
        profile = np.zeros((n, n, 5))
        profile[..., 1] = weights + 0.2 * spread * rng.standard_normal((n, n))
        estimate = from_lag_profile(name, profile, 0.005)
        p_values = np.where(np.abs(estimate.matrix) > 0.8, 1e-8, 1.0)
        np.fill_diagonal(p_values, np.nan)
        maps.append(dataclasses.replace(estimate, p_values=None if name == "no_null" else p_values))
    return SessionConnectivity(
        session_id="mouse",
        unit_ids=np.array([f"unit-{i}" for i in range(n)]),
        maps=tuple(maps),
        weights=weights if truth else None,
        delays=0.008 * (weights != 0) if truth else None,
    )


def test_a_line_per_method_the_best_first_in_120_columns():
    one = session()
    scores = {
        estimate.name: score_connectivity(estimate, one.weights, one.delays, rng=np.random.default_rng(1))
        for estimate in reversed(one.maps)
    }
    text = render_summary(scores, n_scored=1, n_sessions=2)
    lines = text.splitlines()
    assert lines[0] == "1 of 2 sessions with known wiring"
    assert max(map(len, lines)) <= WIDTH
    assert [line.split()[0] for line in lines[3:8]] == [*NAMES, "chance"]
    first = lines[3].split()
    assert first[1:4] == ["1.000", "[1.00,", "1.00]"]
    assert first[-2] == "2.0"  # |10 ms − 8 ms|
    assert first[-1] == f"{100 * scores[NAMES[0]].called_share:.2f}"
    assert lines[6].split()[-1] == "-"  # no null, no graph


def test_without_any_score_it_says_so():
    assert "nothing is scored" in render_summary({}, n_scored=0, n_sessions=1)


def test_a_circuit_without_edges_shows_what_is_called():
    one = session()
    empty = np.zeros((12, 12))
    scores = {e.name: score_connectivity(e, empty, rng=np.random.default_rng(1)) for e in one.maps}
    line = render_summary(scores, n_scored=1, n_sessions=1).splitlines()[3].split()
    assert line[0] == "partial_correlation"
    assert line[1] == "-"
    assert float(line[-1]) > 0


def test_calls_of_a_session_without_truth():
    one = session(truth=False)
    found = calls([one], q=0.05)["mouse"]
    assert found["coupling"]["n_called"] == one.maps[1].called(0.05).sum()
    assert found["coupling"]["called_share"] == pytest.approx(found["coupling"]["n_called"] / 132)
    assert np.isnan(found["no_null"]["n_called"])
    best = found["coupling"]["strongest"][0]
    i, j = (int(best[end].removeprefix("unit-")) for end in ("source", "target"))
    off = ~np.eye(12, dtype=bool)
    assert abs(one.maps[1].matrix[i, j]) == np.abs(one.maps[1].matrix[off]).max()
    text = render_calls([one], q=0.05)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert f"{best['source']}→{best['target']} {best['strength']:+.2g}" in text
    assert "not recorded" in text


def test_the_strongest_pairs_are_called_ones_first():
    matrix = np.array([[9.0, 1.0, -5.0], [2.0, 9.0, 0.0], [3.0, 4.0, 9.0]])
    p_values = np.array([[np.nan, 1e-9, 1.0], [1e-9, np.nan, 1.0], [1.0, 1.0, np.nan]])
    estimate = ConnectivityMap(name="m", matrix=matrix, p_values=p_values)
    assert strongest_pairs(estimate, q=0.05, most=9).tolist() == [[1, 0], [0, 1], [0, 2], [2, 1], [2, 0]]
    bare = ConnectivityMap(name="m", matrix=matrix)
    assert strongest_pairs(bare, q=0.05, most=2).tolist() == [[0, 2], [2, 1]]
