"""The whole comparison on animals made by hand."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroformer.cli.command import run_command
from neuroformer.cli.identity import COMMAND
from neuroformer.files import read_json
from neuroformer.identity import read_embeddings

QUICK = ("permutations=99", "bootstrap=100")


def test_statistics_tell_bursts_in_an_animal_never_seen(
    identity_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(COMMAND, [f"run={identity_run}", "label=cell_type", f"out={tmp_path}", *QUICK]) == 0
    printed = capsys.readouterr().out
    metrics = read_json(tmp_path / "metrics.json")
    found = {(r["features"], r["probe"]): r for r in metrics["results"]}
    assert found["autocorrelogram", "linear"]["scores"]["macro_f1"] == 1
    assert found["statistics", "neighbours"]["scores"]["accuracy"] == 1
    assert found["statistics", "linear"]["p"] < 0.1
    assert 0.3 < found["chance", ""]["scores"]["macro_f1"] < 0.6
    assert ("embedding:readout", "linear") in found
    assert metrics["n_asked"] == 30
    assert metrics["animals"] == ["a0", "a1", "a2"]
    for text in ("embedding+statistics", "chance", metrics["sentence"]):
        assert text in printed
    assert "cell_type of a held-out animal is told best by" in metrics["sentence"]
    assert (tmp_path / "figures" / "identity.png").stat().st_size > 10_000
    embeddings = read_embeddings(tmp_path / "embeddings.npz")
    assert embeddings.units.session.tolist() == ["a0"] * 10 + ["a1"] * 10 + ["a2"] * 10
    with (tmp_path / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(metrics["results"])
    with (tmp_path / "predictions.csv").open() as file:
        named = [
            r for r in csv.DictReader(file) if (r["features"], r["probe"]) == ("autocorrelogram", "linear")
        ]
    assert len(named) == 30
    assert all(r["label"] == r["named"] for r in named)


def test_names_are_given_out_once(
    animal: Callable[..., Path], tmp_path: Path, train: Callable[..., Any]
) -> None:
    names = np.array([f"n{k}" for k in range(4)])
    for k in range(3):
        animal(f"w{k}", seed=k, kinds=("bursty", "regular") * 2, traces=True, label=names)
    train(tmp_path / "run", Path(f"{tmp_path}/w*.h5"), "data.bin_s=0.01", "optim.steps=2", "val_every=1")
    words = [f"run={tmp_path / 'run'}", "label=label", "features=[rates]", "by_part=false", *QUICK]
    assert run_command(COMMAND, words) == 0
    with (tmp_path / "run" / "identity_label" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {r["probe"] for r in rows} == {"linear", "neighbours", "matching", "graph_matching"}
    for probe in ("matching", "graph_matching"):
        for animal in ("w0", "w1", "w2"):
            named = [r["named"] for r in rows if r["probe"] == probe and r["subject_id"] == animal]
            assert sorted(named) == names.tolist()


def test_the_same_seed_gives_the_same_numbers(identity_run: Path, tmp_path: Path) -> None:
    words = [f"run={identity_run}", "label=cell_type", "features=[embedding,rates]", "by_part=false", *QUICK]
    for name in ("one", "two"):
        assert run_command(COMMAND, [*words, f"out={tmp_path / name}"]) == 0
    assert (tmp_path / "one" / "table.csv").read_text() == (tmp_path / "two" / "table.csv").read_text()
