"""What the report says of connectivity, with and without truth."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

from neuroformer.report.blocks import Paragraph, Table
from neuroformer.report.collect import Run
from neuroformer.report.sections import wiring

FakeRun = Callable[..., Path]


def update(folder: Path, change: Callable[[dict[str, Any]], None]) -> Run:
    file = folder / "connectivity" / "metrics.json"
    metrics = json.loads(file.read_text())
    change(metrics)
    file.write_text(json.dumps(metrics))
    return Run(folder, "run")


def calls(session_id: str) -> dict[str, Any]:
    pair = {"source": "AVAL", "target": "AVAR", "strength": -0.5, "p_value": 1e-4}
    entry = {"n_called": 12.0, "called_share": 0.0034, "n_pairs": 3540, "q": 0.05, "strongest": [pair]}
    bare = entry | {"n_called": None, "called_share": None}
    return {session_id: {"coupling": entry, "self_attention": bare}}


def test_scores_have_an_interval_and_the_graph(fake_run: FakeRun, tmp_path: Path) -> None:
    def add(metrics: dict[str, Any]) -> None:
        metrics["connectivity"]["coupling"] |= {
            "intervals": {"average_precision": [0.95, 0.99]},
            "mcc": 0.91,
            "called_share": 0.098,
        }

    run = update(fake_run(tmp_path / "run", n_units=8), add)
    table = next(block for block in wiring.blocks(run) if isinstance(block, Table))
    assert table.columns[:6] == ("estimator", "average precision", "95 % interval", "AUROC", "MCC", "called")
    by_name = {row[0]: row for row in table.rows}
    assert by_name["Coupling attention"][2] == "0.950 to 0.990"
    assert by_name["Coupling attention"][4:6] == ("0.910", "9.8\N{NARROW NO-BREAK SPACE}%")
    assert by_name["Poisson GLM"][2] == by_name["Poisson GLM"][4] == by_name["Poisson GLM"][5] == "–"
    assert "Intervals:" in table.caption
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_without_truth_it_says_what_is_called_and_what_cannot_be_known(
    fake_run: FakeRun, tmp_path: Path
) -> None:
    folder = fake_run(tmp_path / "worm", has_truth=False, n_units=8, sessions=["worm"])
    run = update(folder, lambda metrics: metrics.update(calls=calls("worm")))
    blocks = list(wiring.blocks(run))
    table = next(block for block in blocks if isinstance(block, Table))
    share = "0.3\N{NARROW NO-BREAK SPACE}%"
    assert tuple(table.rows[0]) == ("Coupling attention", "12", share, "AVAL → AVAR −0.5")
    assert tuple(table.rows[1][1:3]) == ("–", "–")
    (note,) = [block.text for block in blocks if isinstance(block, Paragraph)]
    assert "not recorded" in note
    assert "indicator" in note


def test_a_circuit_without_connections_shows_false_calls(fake_run: FakeRun, tmp_path: Path) -> None:
    folder = fake_run(tmp_path / "run", n_units=8)
    with h5py.File(folder / "connectivity" / "connectivity.h5", "r+") as file:
        file["circuit-0/truth/weights"][:] = 0
    run = update(folder, lambda metrics: metrics.update(calls=calls("circuit-0"), connectivity={}))
    blocks = list(wiring.blocks(run))
    table = next(block for block in blocks if isinstance(block, Table))
    assert "whatever is called is false" in table.caption
    assert not any(isinstance(block, Paragraph) for block in blocks)
