"""`neuroformer connectivity run=…`: what is read out of a trained model."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroformer.cli import connectivity
from neuroformer.cli.command import run_command
from neuroformer.cli.connectivity import COMMAND
from neuroformer.connectivity import from_lag_profile, methods, read_connectivity
from neuroformer.evaluation.trained_run import load_run
from neuroformer.files import read_json
from neuroformer.session import Session
from neuroformer.settings.connectivity import BLOCK_ESTIMATORS, ESTIMATORS

SETTINGS = ("surrogates=4", "glm.strengths=[0.1]", "glm.first_passes=4", "glm.passes=2")


@pytest.fixture(scope="module")
def run(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = shutil.copytree(trained, tmp_path_factory.mktemp("connectivity") / "run")
    assert run_command(COMMAND, [f"run={folder}", *SETTINGS]) == 0
    return folder


def test_every_estimator_is_scored_and_kept(run: Path, circuit: Callable[..., Path]) -> None:
    metrics = read_json(run / "connectivity/metrics.json")
    assert set(metrics["connectivity"]) == set(ESTIMATORS)
    assert metrics["sessions"] == {"a": metrics["connectivity"]}
    for scores in metrics["connectivity"].values():
        assert 0 <= scores["auroc"] <= 1
        assert 0 < scores["average_precision"] <= 1
        assert 0 <= scores["called_share"] <= 1
    assert set(metrics["calls"]["a"]) == set(metrics["seconds"]["a"]) == set(ESTIMATORS)
    assert all(taken > 0 for taken in metrics["seconds"]["a"].values())
    for name, scores in metrics["connectivity"].items():
        assert metrics["calls"]["a"][name]["called_share"] == pytest.approx(scores["called_share"])
    kept = read_connectivity(run / "connectivity/connectivity.h5")["a"]
    truth = Session(circuit()).truth
    assert truth is not None
    assert [estimate.name for estimate in kept.maps] == list(ESTIMATORS)
    assert all(estimate.p_values is not None for estimate in kept.maps)
    assert all(estimate.matrix.shape == (6, 6) for estimate in kept.maps)
    assert kept.unit_ids.tolist() == list(range(6))
    np.testing.assert_array_equal(kept.weights, truth.weights)
    np.testing.assert_array_equal(kept.delays, truth.delays)
    assert {file.name for file in (run / "connectivity/figures").iterdir()} == {
        "matrices_a.png",
        "precision_recall_a.png",
        "lag_profiles_a.png",
        "graph_a.png",
    }


def test_the_coupling_is_that_of_the_model(run: Path) -> None:
    kept = read_connectivity(run / "connectivity/connectivity.h5")["a"]
    estimate = next(found for found in kept.maps if found.name == "coupling")
    mean, _ = load_run(run).trained.model.coupling_map(0)
    np.testing.assert_allclose(estimate.lag_profile, mean.numpy(), rtol=1e-6)
    expected = from_lag_profile("coupling", mean.double().numpy(), 0.005).matrix
    np.testing.assert_allclose(estimate.matrix, expected, rtol=1e-6)
    np.testing.assert_allclose(estimate.lags_s, 0.005 * np.arange(1, 21))
    assert not estimate.matrix.diagonal().any()


def test_a_model_without_blocks_has_no_attention_to_read(
    circuit: Callable[..., Path],
    train: Callable[..., Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train(tmp_path, circuit(), "optim.steps=2", "model.trunk.layers=0")
    for name in BLOCK_ESTIMATORS:
        assert run_command(COMMAND, [f"run={tmp_path}", f"estimators=[coupling,{name}]"]) == 1
        assert f"{name}, but the model of" in capsys.readouterr().err
    assert not (tmp_path / "connectivity").exists()
    assert run_command(COMMAND, [f"run={tmp_path}", "estimators=[coupling,cross_correlation]"]) == 0
    assert set(read_json(tmp_path / "connectivity/metrics.json")["connectivity"]) == {
        "coupling",
        "cross_correlation",
    }
    coupling_map = read_connectivity(tmp_path / "connectivity/connectivity.h5")["a"].maps[0]
    # Asked for nothing, it gives what there is. What each finds does not matter here.
    maps = {name: replace(coupling_map, name=name) for name in ESTIMATORS}
    monkeypatch.setattr(methods, "METHODS", {name: lambda s, name=name: maps[name] for name in ESTIMATORS})
    monkeypatch.setattr(connectivity, "session_figures", lambda session, **settings: iter(()))
    assert run_command(COMMAND, [f"run={tmp_path}", f"out={tmp_path / 'all'}"]) == 0
    found = set(read_json(tmp_path / "all/metrics.json")["connectivity"])
    assert found == set(ESTIMATORS) - set(BLOCK_ESTIMATORS)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["estimators=[cuopling]"], 2, f"unknown 'cuopling'; expected any of {', '.join(ESTIMATORS)}"),
        (["estimator=[coupling]"], 2, "did you mean estimators?"),
        (["checkpoint=first"], 1, "first: does not exist"),
        (["data=[nowhere.h5]"], 1, "nowhere.h5"),
        (["data=[nowhere_*.h5]"], 1, "no file matches"),
    ],
)
def test_wrong_names_are_refused(
    run: Path, words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(COMMAND, [f"run={run}", "out=never", *words]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not Path("never").exists()


def test_a_session_that_the_model_does_not_know_is_refused(
    run: Path, circuit: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(COMMAND, [f"run={run}", f"data=[{circuit('b', seed=1)}]", "out=never"]) == 1
    assert "session 'b' is not in the model's vocabulary (it knows a)" in capsys.readouterr().err
