"""`neuroformer fewshot`: a new animal from few labels."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from neuroformer.cli.command import run_command
from neuroformer.cli.fewshot import COMMAND
from neuroformer.decoding.learning_curve import sentences, summarise
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
    assert "position, mean error: the pretrained model" in metrics["sentence"]
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


def test_the_sentence_names_winner_and_loser_and_from_where_on() -> None:
    def row(amount: float, method: str, mean: float, low: float = 0, high: float = 0) -> dict:
        return {"target": "x", "metric": "mean_error", "amount": amount, "method": method, "mean": mean,
                "difference": {"mean": 0.0, "interval": [low, high]}}  # fmt: skip

    def said(*rivals: tuple[float, float, float]) -> str:
        rows = [row(k + 1, "pretrained", 1.0) for k in range(len(rivals))]
        rows += [row(k + 1, "ridge", *numbers) for k, numbers in enumerate(rivals)]
        return sentences(rows, units={"x": "cm"}, amounts="minutes")["x"]

    win, tie, loss = (2.0, -1.5, -0.5), (1.0, -0.5, 0.5), (0.5, 0.2, 0.8)
    start = "x, mean error: the pretrained model "
    assert said(win) == f"{start}beats the best other method at 1 minutes (1 against 2 cm of ridge)."
    assert said(win, win, win) == (
        f"{start}beats the best other method at every amount, 1 minutes to 3 minutes, (1 against 2 cm of ridge at "
        "1 minutes)."
    )
    assert said(tie, win, win) == (
        f"{start}is not told apart from the best other method at 1 minutes (1 against 1 cm of ridge), beats the best "
        "other method from 2 minutes on (1 against 2 cm of ridge at 2 minutes)."
    )
    assert said(win, win, loss).endswith(
        "loses to the best other method at 3 minutes (1 against 0.5 cm of ridge)."
    )


def test_intervals_of_one_session_hold_the_mean_over_seeds() -> None:
    rng = np.random.default_rng(0)
    results = []
    for seed, level in enumerate((1.0, 3.0)):  # two stretches of labels, one good and one bad
        for method, better in (("pretrained", 0.5), ("ridge", 0.0)):
            draws = level - better + 0.1 * rng.normal(size=400)
            score = {"value": level - better, "interval": [level - 0.2, level + 0.2], "draws": draws.tolist()}
            results.append({"session": "a", "amount": 1.0, "seed": seed, "method": method, "label_s": 1.0,
                            "scores": {"x": {"mean_error": score}}})  # fmt: skip
    ours, ridge = summarise(results)
    assert ours["mean"] == pytest.approx(1.5)
    for row in (ours, ridge):
        low, high = row["interval"]
        assert low < row["mean"] < high
        assert high - low == pytest.approx(4 * 0.1 / np.sqrt(2), rel=0.2)
