import json

import numpy as np
import pytest

from neuroformer.cli import connectivity
from neuroformer.cli.command import run_command
from neuroformer.cli.connectivity import COMMAND
from neuroformer.connectivity import read_connectivity
from neuroformer.session import Events, SessionData, Truth, write_session
from neuroformer.settings.connectivity import CLASSICAL_ESTIMATORS, GLM_ESTIMATORS

QUICK = "estimators=[cross_correlation,jittered_ccg]"


@pytest.fixture
def circuits(tmp_path):
    """Three recordings of 0 → 1 after 2 bins of 5 ms; the wiring is known, unknown, and said to be absent."""
    files = []
    for session_id in ("known", "unknown", "unconnected"):
        rng = np.random.default_rng(0)
        counts = rng.random((4_000, 3)) < 0.1
        counts[2:, 1] |= counts[:-2, 0]
        bins, units = np.nonzero(counts)
        weights = np.zeros((3, 3), np.float32)
        weights[0, 1] = session_id == "known"
        truth = Truth(
            weights=weights,
            delays=weights * np.float32(0.01),
            log_likelihood=np.zeros((1, 3)),
            block_starts=np.zeros(1),
            block_s=20.0,
            dt=0.005,
            emission="bernoulli",
        )
        data = SessionData(
            session_id=session_id,
            subject_id="simulated",
            start=0.0,
            stop=20.0,
            n_units=3,
            events=Events(times=bins * 0.005, units=units.astype(np.int32)),
            units={"id": np.array(["a", "b", "c"])},
            truth=None if session_id == "unknown" else truth,
        )
        files.append(write_session(tmp_path / f"{session_id}.h5", data))
    return files


@pytest.fixture
def no_figures(monkeypatch):
    """Drawing takes most of the time."""
    monkeypatch.setattr(connectivity, "session_figures", lambda session, **settings: iter(()))


def test_session_files_alone_give_scores_matrices_and_figures(circuits, tmp_path, capsys):
    out = tmp_path / "connectivity"
    assert run_command(COMMAND, [*map(str, circuits), f"out={out}", "lags=5", QUICK]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    scores = metrics["connectivity"]["cross_correlation"]
    assert scores["average_precision"] == scores["auroc"] == scores["direction_accuracy"] == 1
    assert scores["average_precision_inhibitory"] is None
    assert metrics["sessions"] == {"known": metrics["connectivity"]}
    stored = read_connectivity(out / "connectivity.h5")
    assert stored["known"].unit_ids.tolist() == ["a", "b", "c"]
    assert stored["known"].weights[0, 1] == 1
    assert stored["unknown"].weights is None
    figures = {file.name for file in (out / "figures").iterdir()}
    names = ("known", "unknown", "unconnected")
    every = {f"{kind}_{name}.png" for kind in ("matrices", "lag_profiles", "graph") for name in names}
    assert figures == {*every, "precision_recall_known.png"}
    table = capsys.readouterr().out
    assert "1 of 3 sessions with known wiring" in table
    assert "cross_correlation" in table
    assert "unconnected: pairs called at q = 0.05 of 6 that are not connected" in table
    assert metrics["calls"]["unknown"]["cross_correlation"]["strongest"][0]["source"] == "a"
    assert set(metrics["calls"]) == set(metrics["seconds"]) == set(names)
    for by_method in (*metrics["calls"].values(), *metrics["seconds"].values()):
        assert set(by_method) == {"cross_correlation", "jittered_ccg"}
    assert all(taken > 0 for by_method in metrics["seconds"].values() for taken in by_method.values())


def test_without_a_run_come_all_glms_and_classical_methods(circuits, tmp_path, capsys):
    """Nothing is scored where no wiring is known; what is called is said, and what cannot be known."""
    out = tmp_path / "connectivity"
    settings = ["lags=4", "surrogates=4", "glm.strengths=[0.1]", "glm.first_passes=4", "glm.passes=2"]
    assert run_command(COMMAND, [str(circuits[1]), f"out={out}", *settings]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["connectivity"] == metrics["sessions"] == {}
    every = {*GLM_ESTIMATORS, *CLASSICAL_ESTIMATORS}
    assert set(metrics["calls"]["unknown"]) == set(metrics["seconds"]["unknown"]) == every
    for name, found in metrics["calls"]["unknown"].items():
        assert found["n_pairs"] == 6
        assert 0 <= found["n_called"] <= 6
        strongest = found["strongest"][0]
        if name != "partial_correlation":
            assert (strongest["source"], strongest["target"]) == ("a", "b"), name
    printed = capsys.readouterr().out
    assert "nothing is scored" in printed
    assert "unknown: pairs called at q = 0.05 of 6\n" in printed
    assert "The true wiring is not known here" in printed
    assert all(name in printed for name in every)
    figures = {file.name for file in (out / "figures").iterdir()}
    assert figures == {f"{kind}_unknown.png" for kind in ("matrices", "lag_profiles", "graph")}


def test_what_cannot_be_known_is_not_said_of_known_wiring(circuits, tmp_path, capsys, no_figures):
    assert run_command(COMMAND, [str(circuits[0]), f"out={tmp_path / 'known'}", QUICK]) == 0
    assert run_command(COMMAND, [str(circuits[2]), f"out={tmp_path / 'none'}", QUICK]) == 0
    assert "The true wiring is not known" not in capsys.readouterr().out


def test_the_same_session_twice_is_refused(circuits, tmp_path, capsys):
    assert run_command(COMMAND, [str(circuits[0]), str(circuits[0]), f"out={tmp_path / 'out'}"]) == 1
    assert "known.h5: holds session 'known', and so does" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_finished_results_are_replaced_only_on_request(circuits, tmp_path, capsys, no_figures):
    arguments = [str(circuits[0]), f"out={tmp_path / 'out'}", QUICK]
    assert run_command(COMMAND, arguments) == 0
    assert run_command(COMMAND, arguments) == 1
    assert "overwrite=true" in capsys.readouterr().err
    assert run_command(COMMAND, [*arguments, "overwrite=true"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "run, data: both empty"),
        (["data=[a.h5]"], "out: empty"),
        (["data=[a.h5]", "out=o", "estimators=[coupling]"], "coupling reads a trained model"),
        (
            ["data=[a.h5]", "out=o", "estimators=[adjusted_coupling]"],
            "adjusted_coupling reads a trained model",
        ),
        (["data=[a.h5]", "out=o", "estimators=[granger,silencing]"], "silencing reads a trained model"),
        (["data=[a.h5]", "out=o", "estimators=[attention_rollout]"], "add run=FOLDER of a pretrain run"),
        (
            ["data=[a.h5]", "out=o", "estimators=[grangr]"],
            "unknown 'grangr'; expected any of adjusted_coupling",
        ),
        (["data=[a.h5]", "out=o", "surrogates=1"], "surrogates=1: expected 2 or more"),
        (["data=[a.h5]", "out=o", "q=0"], "q=0: expected a false-discovery rate"),
        (["data=[a.h5]", "out=o", "lags=0"], "lags=0: expected 1 or more bins"),
    ],
)
def test_settings_that_do_not_fit_are_refused(arguments, message, capsys):
    assert run_command(COMMAND, arguments) == 2
    assert message in capsys.readouterr().err
