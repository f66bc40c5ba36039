"""`neuroformer fewshot` with linear readouts: traces, a run that is not inverted, and trials."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neuroformer.cli.command import run_command
from neuroformer.cli.fewshot import COMMAND
from neuroformer.cli.pretrain import COMMAND as PRETRAIN
from neuroformer.files import read_json
from neuroformer.session import Events, SessionData, TimeSeries, write_session
from neuroformer.training.checkpoint import load_checkpoint

BIN_S = 0.5
NAMES = np.array(["AVA", "AVB", "AIB", "RIM", "", ""])
WEIGHTS = np.array([1.0, -0.8, 0.6, 0.7, 0.0, 0.0])


def worm(path: Path, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    n, order = 400, rng.permutation(len(NAMES))
    x = rng.normal(size=(n, len(NAMES)))
    drive = x @ WEIGHTS[order]
    time = np.arange(n) * BIN_S + 0.1
    start = np.arange(0, n * BIN_S, 2.0)
    velocity = 2 * drive + 0.5 * rng.normal(size=n)
    side = np.where(drive.reshape(-1, 4).mean(1) > 0, "right", "left").astype(object)
    bins, units = np.nonzero(rng.poisson(np.exp(0.5 * x - 1)))
    write_session(path, SessionData(
        session_id=path.stem, subject_id=path.stem, start=0.0, stop=n * BIN_S, n_units=len(NAMES),
        events=Events(times=bins * BIN_S + 0.1, units=units.astype(np.int32)), units={"label": NAMES[order]},
        behavior={"velocity": TimeSeries(timestamps=time, values=velocity, kind="continuous", unit="mm/s")},
        traces=TimeSeries(timestamps=time, values=x.astype(np.float32), kind="continuous"),
        trials={"start": start, "stop": start + 2.0, "side": side},
    ))  # fmt: skip
    return path


@pytest.fixture(scope="module")
def worms(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("worms")
    return [worm(folder / f"w{k}.h5", k) for k in range(4)]


@pytest.fixture(scope="module")
def run(worms: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    words = [
        f"data.sessions=[{','.join(map(str, worms[:3]))}]", f"out={out}", f"data.bin_s={BIN_S}", "data.chunk_s=20",
        "data.warmup_s=1", "data.batch_size=4", "data.variables.velocity.role=target",
        "data.variables.side.source=trials", "data.variables.side.role=target", "data.split.test=0.2",
        "model.coupling.window_s=0.5", "model.history.window_s=0.5", "model.history.functions=1",
        "model.trunk.layers=0",
        "model.trunk.width=8", "model.trunk.heads=2", "model.trunk.state=4", "model.trunk.time_constants_s=[0.5]",
        "model.readout.width=8", "model.readout.heads=2", "model.readout.time_constants_s=[0.5]", "optim.steps=2",
        "val_every=1", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false", "linear_readout.enabled=true",
        "linear_readout.before_s=0.5", "linear_readout.after_s=0.5", "linear_readout.functions=3",
        "linear_readout.rounds=3", "linear_readout.windows=2", "linear_readout.correlations=[0]",
    ]  # fmt: skip
    assert run_command(PRETRAIN, words) == 0
    return out


def words(run: Path, session: Path, out: Path, *more: str) -> list[str]:
    return [f"run={run}", f"sessions=[{session}]", f"out={out}", "minutes=[0,0.1]", *more]


@pytest.fixture(scope="module")
def done(run: Path, worms: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fewshot") / "out"
    assert run_command(COMMAND, words(run, worms[3], out)) == 0
    return out


def test_names_beat_labels(done: Path) -> None:
    rows = read_json(done / "metrics.json")["rows"]
    found = {(r["target"], r["metric"], r["method"], r["amount"]): r["mean"] for r in rows}
    error = {key[2:]: value for key, value in found.items() if key[:2] == ("velocity", "mean_error")}
    assert error["readout", 0] < 0.6 * error["null", 0.1]
    assert error["readout", 0.1] < 0.8 * error["ridge", 0.1]
    assert {method for method, amount in error if amount == 0} == {"readout", "readout_causal"}
    assert {method for method, _ in error} == {
        "readout", "readout_causal", "readout_scratch", "null", "ridge", "ridge_centered", "naive_bayes",
        "naive_bayes_motion", "logistic",
    }  # fmt: skip
    hits = {key[2:]: value for key, value in found.items() if key[:2] == ("side", "accuracy")}
    assert hits["readout", 0.1] > 0.75
    assert {method for method, _ in hits} == {
        "readout", "readout_scratch", "null", "naive_bayes", "naive_bayes_motion", "logistic"
    }  # fmt: skip


def test_trials_are_scored_one_by_one(done: Path) -> None:
    cells = [read_json(path) for path in (done / "cells").glob("*.json")]
    assert {cell["scores"]["side"]["trials"]["value"] for cell in cells if "side" in cell["scores"]} == {20}
    assert {
        cell["scores"]["velocity"]["bins"]["value"] for cell in cells if "velocity" in cell["scores"]
    } == {80}
    assert all(cell["label_s"] == pytest.approx(6) for cell in cells if cell["amount"])


def test_what_is_said_and_drawn(done: Path) -> None:
    said = read_json(done / "metrics.json")["sentence"]
    assert said.startswith("velocity, mean error: the readout that knows other animals beats")
    assert (done / "figures" / "fewshot.png").stat().st_size > 10_000


def test_the_readouts_travel_in_the_checkpoint(run: Path) -> None:
    knowledge = load_checkpoint(run / "checkpoints" / "best.ckpt").knowledge
    assert knowledge is not None
    assert set(knowledge.readouts) == {"velocity", "side"}
    assert knowledge.readouts["velocity"].kind == "traces"
    assert knowledge.readouts["side"].per_trial
    assert knowledge.from_state(knowledge.state()).state() == knowledge.state()


def test_methods_that_the_run_cannot_do(
    run: Path, worms: list[Path], place_run: Path, place_animals: list[Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert run_command(COMMAND, words(run, worms[3], tmp_path / "a", "methods=[pretrained]")) == 1
    assert "cannot be inverted; pretrain with data.variables.NAME.role=both" in capsys.readouterr().err
    assert run_command(COMMAND, words(place_run, place_animals[2], tmp_path / "b", "methods=[readout]")) == 1
    assert "pretrain with linear_readout.enabled=true" in capsys.readouterr().err


def test_baselines_on_events_where_asked(run: Path, worms: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "events"
    more = ("methods=[ridge]", "input=events", "targets=[velocity]", "minutes=[1]")
    assert run_command(COMMAND, words(run, worms[3], out)[:3] + list(more)) == 0
    other = tmp_path / "traces"
    assert run_command(COMMAND, words(run, worms[3], other)[:3] + [m for m in more if "input" not in m]) == 0
    events, traces = (
        next(r["mean"] for r in read_json(folder / "metrics.json")["rows"] if r["metric"] == "mean_error")
        for folder in (out, other)
    )
    assert traces < 0.9 * events
