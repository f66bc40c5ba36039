"""`neuroformer backbones` from its words to its files."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from neuroformer.cli.backbones import COMMAND
from neuroformer.cli.command import run_command
from neuroformer.files import read_json
from tests.frames.conftest import write_animal

WORDS = (
    "targets=[speed,turn]", "bin_s=0.5", "window=6", "split.val=0.15", "split.test=0.2", "steps=6", "val_every=3",
    "device=cpu",
)  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed: extra llm")
    folder = tmp_path_factory.mktemp("checkpoint")
    shape: dict[str, Any] = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1}
    config = transformers.LlamaConfig(vocab_size=20, num_attention_heads=2, num_key_value_heads=1, **shape)
    transformers.LlamaModel(config).save_pretrained(folder)
    return folder


def words(files: list[Path], out: Path, *more: str) -> list[str]:
    return [f"sessions=[{','.join(map(str, files))}]", f"out={out}", *WORDS, *more]


@pytest.fixture(scope="module")
def done(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    folder = tmp_path_factory.mktemp("backbones")
    files = [write_animal(folder / f"{name}.h5", seed=k) for k, name in enumerate("ab")]
    given = words(
        files, folder / "out", f"models.tiny.path={checkpoint}", "backbones=[tiny,reservoir,ridge_centered]",
    )  # fmt: skip
    assert run_command(COMMAND, given) == 0
    return given, folder / "out"


def test_what_is_written(done: tuple[list[str], Path]) -> None:
    _, out = done
    metrics = read_json(out / "metrics.json")
    assert metrics["sentence"].startswith("Text weights ")
    assert metrics["sessions"] == ["a", "b"]
    methods = ["tiny", "tiny_untrained", "tiny_shuffled", "tiny_matched", "reservoir", "ridge_centered",
               "lstm", "ridge", "mean"]  # fmt: skip
    assert list(metrics["methods"]) == methods
    rows = {(r["target"], r["metric"], r["method"]): r for r in metrics["rows"]}
    assert len(rows) == 2 * 3 * len(methods)
    assert rows["speed", "r2", "ridge"]["mean"] > 0.8  # it is linear in the window
    assert abs(rows["speed", "r2", "mean"]["mean"]) < 0.2
    minus = rows["speed", "r2", "tiny"]["minus"]
    assert set(minus) == set(methods) - {"tiny", "ridge_centered"}
    assert minus["ridge"]["interval"][1] < 0
    assert "where it does not beat" in metrics["sentence"]
    with (out / "table.csv").open(newline="") as file:
        assert len(list(csv.reader(file))) == 1 + len(rows) + sum(
            len(r.get("minus", {})) for r in rows.values()
        )
    assert (out / "figures" / "backbones.png").stat().st_size > 10_000
    assert len(list((out / "cells").glob("*.json"))) == 2 * len(methods)


def test_a_stopped_run_goes_on_where_it_was(
    done: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    given, out = done
    before = read_json(out / "metrics.json")["rows"]
    sorted((out / "cells").glob("*.json"))[0].unlink()
    assert run_command(COMMAND, given) == 0
    assert capsys.readouterr().out.count(" seed ") == 1
    assert read_json(out / "metrics.json")["rows"] == before


def test_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_animal(tmp_path / "a.h5", n=200)
    assert run_command(COMMAND, words([file], tmp_path / "o", "targets=[sped]", "backbones=[ridge]")) == 1
    assert "has no behaviour 'sped'; it has" in capsys.readouterr().err
    assert run_command(COMMAND, words([file], tmp_path / "o", "backbones=[gpt9]")) == 2
    assert "unknown 'gpt9'" in capsys.readouterr().err
    if importlib.util.find_spec("transformers") is not None:
        given = words([file], tmp_path / "o", "backbones=[x]", f"models.x.path={tmp_path / 'none'}")
        assert run_command(COMMAND, given) == 1
        assert "transformers cannot load it" in capsys.readouterr().err
    assert not (tmp_path / "o" / "metrics.json").exists()
