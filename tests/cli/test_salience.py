"""`neuroformer salience` from its words to its files."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from neuroformer.cli import backbones
from neuroformer.cli.command import run_command
from neuroformer.cli.salience import COMMAND
from neuroformer.session import write_session
from neuroformer.session.types import Events, SessionData, TimeSeries

UNITS, TRUE, BINS = 24, 4, 500


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on an animal whose speed is the sum of the first units' traces."""
    folder = tmp_path_factory.mktemp("salience")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BINS, UNITS))
    speed = x[:, :TRUE].sum(1) + 0.3 * rng.normal(size=BINS)
    at = np.arange(BINS) + 0.5
    write_session(
        folder / "a.h5",
        SessionData(
            session_id="a", subject_id="a", start=0.0, stop=float(BINS), n_units=UNITS,
            events=Events(times=np.arange(1.0, UNITS + 1), units=np.arange(UNITS, dtype=np.int32)),
            units={"drives": (np.arange(UNITS) < TRUE).astype(int), "position": rng.random((UNITS, 3))},
            traces=TimeSeries(timestamps=at, values=x.astype(np.float32), kind="continuous"),
            behavior={"speed": TimeSeries(timestamps=at, values=speed[:, None], kind="continuous", unit="mm/s")},
        ),
    )  # fmt: skip
    words = [
        f"sessions=[{folder / 'a.h5'}]", "targets=[speed]", "bin_s=1", "window=4", "split.val=0.15", "split.test=0.3",
        "models.small.kind=trunk", "models.small.width=16", "models.small.heads=2", "models.small.layers=1",
        "backbones=[small,reservoir,ridge_centered]", "steps=80", "lr=0.02", "dropout=0", "seeds=[0,1]",
        "device=cpu", "keep_models=true", f"out={folder / 'run'}",
    ]  # fmt: skip
    assert run_command(backbones.COMMAND, words) == 0
    return folder


def words(folder: Path, out: Path, *more: str) -> list[str]:
    return [
        f"run={folder / 'run'}",
        f"out={out}",
        "random=6",
        "highlight=4",
        "counts=[1,4,10]",
        "device=cpu",
        *more,
    ]


def test_it_finds_what_drives_and_deletion_shows_it(
    fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = words(
        fitted,
        tmp_path,
        "models=[small,reservoir,ridge,ridge_centered]",
        "truth=drives",
        "retrain=true",
        "steps=16",
        "windows=24",
    )
    assert run_command(COMMAND, given) == 0
    printed = capsys.readouterr().out
    assert "ridge, speed: deleting the 4 most salient units by occlusion changes RMSE by +" in printed
    told = json.loads((tmp_path / "metrics.json").read_text())
    rows = {(r["model"], r["salience"]): r for r in told["rows"]}
    models = {"small", "reservoir", "ridge", "ridge_centered"}
    assert {m for m, _ in rows} == models
    for model in models:
        for salience in ("gradient", "integrated", "occlusion"):
            row = rows[model, salience]
            assert row["average_precision"] > 0.9, row
            assert row["rise"] > 1 > 4 * abs(row["random_rise"]) / 3
            assert row["minus_random_interval"][0] > 0
            assert row["random_that_hurt_as_much"] == 0
            assert row["deletion_area"] > 0
            assert row["insertion_area"] > 0
    assert ("ridge", "attention") not in rows
    assert rows["small", "attention"]["random_orders"] == 6
    assert rows["small", "integrated"]["completeness_error"] < 0.05
    assert abs(rows["small", "gradient"]["shuffled_weights_rank_correlation"]) < 0.7
    assert (
        rows["ridge", "gradient"]["retrained_rise"] > 2 * rows["ridge", "gradient"]["retrained_random_rise"]
    )
    assert rows["small", "integrated"]["seed_agreement"]["overlap"] == 1
    assert rows["small", "integrated"]["seed_agreement"]["chance"] == pytest.approx(4 / 24)
    assert rows["ridge", "gradient"]["seed_agreement"] is None
    with (tmp_path / "table.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(rows)
    with (tmp_path / "units.csv").open() as file:
        values = [r for r in csv.DictReader(file) if (r["model"], r["salience"]) == ("ridge", "gradient")]
    assert len(values) == UNITS
    assert (tmp_path / "figures" / "salience_speed.png").stat().st_size > 10_000

    capsys.readouterr()
    assert run_command(COMMAND, given) == 0  # nothing is computed twice
    assert not re.search(r"^\d+/\d+ ", capsys.readouterr().out, re.MULTILINE)


def test_faults(fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fault(*more: str) -> str:
        assert run_command(COMMAND, words(fitted, tmp_path / "o", *more)) in (1, 2)
        return capsys.readouterr().err

    assert "has no 'gpt'; it has small" in fault("models=[gpt]")
    assert "have no such column" in fault("truth=none", "models=[ridge]")
    assert "unknown 'shap'" in fault("saliences=[shap]")
    assert "no such file" in fault(f"run={tmp_path}")
    (tmp_path / "metrics.json").write_text('{"command": "neuroformer pretrain"}')
    assert "expected one of neuroformer backbones" in fault(f"run={tmp_path}")
