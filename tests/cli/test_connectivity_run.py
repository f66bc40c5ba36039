"""`neuroformer connectivity run=…`: what is read out of a trained model."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroformer.cli.command import run_command
from neuroformer.cli.connectivity import COMMAND
from neuroformer.connectivity import from_lag_profile, read_connectivity
from neuroformer.evaluation.trained_run import load_run
from neuroformer.files import read_json
from neuroformer.session import Session

ESTIMATORS = {"coupling", "self_attention", "poisson_glm", "cross_correlation"}


@pytest.fixture(scope="module")
def run(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = shutil.copytree(trained, tmp_path_factory.mktemp("connectivity") / "run")
    assert run_command(COMMAND, [f"run={folder}"]) == 0
    return folder


def test_every_estimator_is_scored_and_kept(run: Path, circuit: Callable[..., Path]) -> None:
    metrics = read_json(run / "connectivity/metrics.json")
    assert set(metrics["connectivity"]) == ESTIMATORS
    assert metrics["sessions"] == {"a": metrics["connectivity"]}
    for scores in metrics["connectivity"].values():
        assert 0 <= scores["auroc"] <= 1
        assert 0 < scores["average_precision"] <= 1
    kept = read_connectivity(run / "connectivity/connectivity.h5")["a"]
    truth = Session(circuit()).truth
    assert truth is not None
    assert {estimate.name for estimate in kept.maps} == ESTIMATORS
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


def test_a_model_without_blocks_has_no_self_attention(
    circuit: Callable[..., Path],
    train: Callable[..., Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train(tmp_path, circuit(), "optim.steps=2", "model.trunk.layers=0")
    wanted = "estimators=[coupling,self_attention]"
    assert run_command(COMMAND, [f"run={tmp_path}", wanted]) == 1
    assert "self_attention, but the model of" in capsys.readouterr().err
    assert run_command(COMMAND, [f"run={tmp_path}", "estimators=[coupling,cross_correlation]"]) == 0
    assert set(read_json(tmp_path / "connectivity/metrics.json")["connectivity"]) == {
        "coupling",
        "cross_correlation",
    }


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["estimators=[cuopling]"], 2, "unknown 'cuopling'; expected any of coupling, self_attention"),
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
