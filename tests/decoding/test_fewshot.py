"""`neuroformer fewshot`: a new animal from few labels."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from neuroformer.cli.command import run_command
from neuroformer.cli.fewshot import COMMAND
from neuroformer.decoding.learning_curve import sentence
from neuroformer.files import read_json


def words(run: Path, session: Path, out: Path, *more: str) -> list[str]:
    return [
        f"run={run}", f"sessions=[{session}]", f"out={out}", "minutes=[0.2,1]", "targets=[position]",
        "methods=[pretrained,pretrained_labels_only,scratch,null,naive_bayes]", "rounds=2", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def done(place_run: Path, place_animals: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fewshot") / "out"
    assert run_command(COMMAND, words(place_run, place_animals[2], out)) == 0
    return out


def test_the_pretrained_model_decodes_a_new_animal(done: Path) -> None:
    rows = read_json(done / "metrics.json")["rows"]
    error = {(r["method"], r["amount"]): r["mean"] for r in rows if r["metric"] == "mean_error"}
    assert error["pretrained", 0.2] < 0.4 * error["null", 0.2]
    assert error["pretrained", 1.0] < 10  # cm of 100, fields of 8
    assert all(r["label_s"] == pytest.approx(12) for r in rows if r["amount"] == 0.2)


def test_what_is_written(done: Path) -> None:
    metrics = read_json(done / "metrics.json")
    assert metrics["cells"] == 10
    assert "position, mean error: at 0.2 minutes the pretrained model" in metrics["sentence"]
    assert (done / "figures" / "fewshot.png").stat().st_size > 10_000
    with (done / "table.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(metrics["rows"])


def test_a_stopped_run_goes_on_where_it_was(
    done: Path, place_run: Path, place_animals: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_json(done / "metrics.json")["rows"]
    removed = sorted((done / "cells").glob("*.json"))[0]
    removed.unlink()
    assert run_command(COMMAND, words(place_run, place_animals[2], done)) == 0
    assert capsys.readouterr().out.count("seed 0") == 1
    assert read_json(done / "metrics.json")["rows"] == before


def test_faults(
    place_run: Path, place_animals: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(COMMAND, words(place_run, place_animals[0], tmp_path / "a")) == 1
    assert "'animal_0' was in the training" in capsys.readouterr().err
    assert run_command(COMMAND, words(place_run, place_animals[2], tmp_path / "b", "targets=[speed]")) == 1
    assert "'speed' is not decoded" in capsys.readouterr().err
    assert run_command(COMMAND, words(place_run, place_animals[2], tmp_path / "c", "methods=[magic]")) == 2
    assert "unknown 'magic'" in capsys.readouterr().err


def test_the_sentence_names_winner_and_loser() -> None:
    def row(method: str, mean: float, low: float, high: float) -> dict:
        return {"target": "x", "metric": "mean_error", "amount": 1.0, "method": method, "mean": mean,
                "difference": {"mean": 0.0, "interval": [low, high]}}  # fmt: skip

    said = sentence([row("pretrained", 1, 0, 0), row("ridge", 2, -1.5, -0.5)], unit=" cm", amounts="minutes")
    assert "(1 cm) beats the best other method, ridge (2 cm)" in said
    said = sentence([row("pretrained", 3, 0, 0), row("ridge", 2, 0.5, 1.5)], unit="", amounts="minutes")
    assert "loses to" in said
    said = sentence([row("pretrained", 2, 0, 0), row("ridge", 2, -0.5, 0.5)], unit="", amounts="minutes")
    assert "is not told apart from" in said
