"""`neuroformer forecast` from arguments to files."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from neuroformer.cli.main import main

SHORT = [
    "bin_s=1", "horizon=3", "draws=100", "head.rounds=2", "head.time_constants_s=[1,4]", "head.strengths=[0.1]",
    "split.val=0.2", "split.test=0.2",
]  # fmt: skip


def walk(rng: np.random.Generator) -> np.ndarray:
    """(T, N) random walks."""
    return np.cumsum(rng.normal(size=(200, 2)), 0)


def test_forecast_of_two_animals(
    make_session: Callable[..., Path],
    tmp_path: Path,
    rng: np.random.Generator,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = [make_session(walk(rng), name=name) for name in ("a", "b")]
    out = tmp_path / "out"
    arguments = ["forecast", f"sessions=[{files[0]},{files[1]}]", f"out={out}", *SHORT]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "mean absolute error, median of 2 sessions" in printed
    assert "Best mean absolute error (median of 2 sessions), by bins ahead:" in printed
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["target"] == "traces"
    assert set(metrics["median"]) == {"direct", "mean", "last", "decay", "autoregression", "linear"}
    median = metrics["median"]["direct"]["mae"]
    each = [metrics["sessions"][name]["direct"]["mae"]["value"] for name in ("a", "b")]
    np.testing.assert_allclose(median, np.median(each, axis=0))
    with (out / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 6 * 4 * 3
    with np.load(out / "forecasts" / "a.npz") as kept:
        assert kept["direct"].shape == kept["truth"].shape == (*kept["origin_s"].shape, 3, 2)
        np.testing.assert_allclose(np.diff(kept["horizon_s"]), 1)
    assert (out / "figures" / "forecast.png").exists()
    assert (out / "figures" / "examples.png").exists()
    # Another animal, by the prior of these two.
    third = make_session(walk(rng), name="c")
    again = ["forecast", f"sessions=[{third}]", f"out={tmp_path / 'c'}", f"prior={out / 'head.npz'}", *SHORT]
    assert main(again) == 0
    assert "[95 % interval]" in capsys.readouterr().out
    assert main(arguments) == 1  # finished results are kept
    assert "overwrite=true" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "bin_s: expected the width of a bin"),
        (("bin_s=1", "methods=[rollout]"), "rollout: needs run=DIR"),
        (("bin_s=1", "baselines=[glm_rollout]"), "glm_rollout: forecasts counts"),
        (("bin_s=1", "baselines=[conditioned_mean]"), "conditioned_mean: needs trials"),
        (("bin_s=1", "condition=light"), "condition=light: no such stimulus"),
        (("bin_s=1", "horizon=50"), "as long as horizon=50"),
        (("bin_s=1", "prior=none.npz"), "none.npz: not the prior of a direct head"),
    ],
)
def test_faults_are_one_line(
    words: tuple[str, ...],
    message: str,
    make_session: Callable[..., Path],
    tmp_path: Path,
    rng: np.random.Generator,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = make_session(walk(rng))
    assert main(["forecast", f"sessions=[{path}]", f"out={tmp_path / 'out'}", *words]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_no_folder_for_results(
    make_session: Callable[..., Path], rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["forecast", f"sessions=[{make_session(walk(rng))}]", "bin_s=1"]) == 2
    assert "out: empty" in capsys.readouterr().err


def test_levels_without_amplitudes(
    make_session: Callable[..., Path], rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["levels", f"sessions=[{make_session(walk(rng))}]", "bin_s=1"]) == 1
    assert "no amplitudes" in capsys.readouterr().err
