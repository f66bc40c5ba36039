"""Run folders as they are found and read."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from neuroformer.errors import UserError
from neuroformer.report.collect import Run, find_runs

FakeRun = Callable[..., Path]


def touch(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_run_and_those_below_it_by_name(tmp_path: Path) -> None:
    for name in (
        "log.csv",
        "b/evaluate/metrics.json",
        "a/log.csv",
        "simulate/metrics.json",
        "c/notes.txt",
        "evaluate/x",
    ):
        touch(tmp_path / name)
    assert [run.name for run in find_runs(tmp_path)] == [tmp_path.name, "a", "b"]


@pytest.mark.parametrize("inner", ["", "notes.txt", "deep/er/log.csv"])
def test_no_run_says_what_to_type(tmp_path: Path, inner: str) -> None:
    if inner:
        touch(tmp_path / inner)
    with pytest.raises(UserError, match=rf"{tmp_path}: found no run.*neuroformer pretrain .*out={tmp_path}"):
        find_runs(tmp_path)


def test_a_part_of_a_run_points_to_the_run(tmp_path: Path) -> None:
    touch(tmp_path / "log.csv")
    part = touch(tmp_path / "evaluate" / "metrics.json").parent
    with pytest.raises(UserError, match=rf"part of a run.*neuroformer report {tmp_path}$"):
        find_runs(part)


@pytest.mark.parametrize(("name", "says"), [("missing", "no such folder"), ("file.txt", "is a file")])
def test_what_is_no_folder_is_said(tmp_path: Path, name: str, says: str) -> None:
    touch(tmp_path / "file.txt")
    with pytest.raises(UserError, match=says):
        find_runs(tmp_path / name)


def test_empty_cells_are_nan_and_words_stay_words(tmp_path: Path) -> None:
    touch(tmp_path / "log.csv", "step,val,name\n1,,a\n2,0.5,b\n3\n")
    log = Run(tmp_path, "run").table("log.csv")
    assert log is not None
    np.testing.assert_array_equal(log["step"], [1, 2, 3])
    np.testing.assert_array_equal(log["val"], [np.nan, 0.5, np.nan])
    assert list(log["name"]) == ["a", "b", ""]


def test_an_unfinished_run_has_no_numbers(tmp_path: Path) -> None:
    run = Run(tmp_path, "run")
    assert (
        run.metrics()
        is run.config()
        is run.raster()
        is run.couplings()
        is run.gain()
        is run.attained()
        is None
    )
    assert run.likelihoods() == run.wiring_scores() == {}


def test_shapes_that_do_not_fit_are_refused(fake_run: FakeRun, tmp_path: Path) -> None:
    run = Run(fake_run(tmp_path / "run", n_units=5), "run")
    path = run.path / "evaluate" / "raster.npz"
    content = dict(np.load(path))
    np.savez(path, **content | {"intensity": content["intensity"][:-1]})
    with pytest.raises(
        UserError, match=r"raster\.npz: intensity has shape \(1999, 5\), expected \(2000, 5\)"
    ):
        run.raster()


def test_difference_without_its_own_interval_is_that_of_the_scores(tmp_path: Path) -> None:
    touch(
        tmp_path / "evaluate" / "metrics.json",
        '{"bits_per_spike": {"model": 0.5, "poisson_glm": 0.25, "gru": null}}',
    )
    gain = Run(tmp_path, "run").gain()
    assert gain is not None
    assert (gain.value, gain.bounds) == (0.25, None)


def test_wiring_intervals_and_calls_are_read_where_they_are(fake_run: FakeRun, tmp_path: Path) -> None:
    run = Run(fake_run(tmp_path / "run", n_units=6), "run")
    assert run.wiring_intervals() == {}
    assert run.wiring_calls("circuit-0") == {}
    file = run.path / "connectivity" / "metrics.json"
    metrics = json.loads(file.read_text())
    metrics["connectivity"]["coupling"]["intervals"] = {"average_precision": [0.9, 0.99], "mcc": [None, None]}
    metrics["calls"] = {"circuit-0": {"coupling": {"n_called": 3.0}, "broken": None}}
    file.write_text(json.dumps(metrics))
    assert run.wiring_intervals() == {"coupling": {"average_precision": (0.9, 0.99)}}
    assert run.wiring_calls("circuit-0") == {"coupling": {"n_called": 3.0}}
    assert "intervals" not in run.wiring_scores()["coupling"]
