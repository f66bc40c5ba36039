"""Runs with stimulus and behaviour: continued bit by bit, and rebuilt from a checkpoint."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neuroformer.cli.config import build_config
from neuroformer.errors import UserError
from neuroformer.evaluation.trained_run import load_run
from neuroformer.session import Events, SessionData, TimeSeries, write_session
from neuroformer.settings.training import PretrainConfig
from neuroformer.training.checkpoint import load_checkpoint, read_checkpoint
from neuroformer.training.module import PretrainModule
from neuroformer.training.run import pretrain

Train = Callable[..., dict[str, Any]]

WORDS = (
    "data.bin_s=0.05",
    "data.variables.x.when='abs(x) < 3'",
    "data.variables.turn.role=target",
    "data.variables.film.source=stimulus",
    "data.variables.film.role=context",
    "data.variables.side.source=trials",
    "data.labels.minutes=0.2",
    "model.context.width=8",
    "model.context.features=4",
    "model.context.dropout=0.2",
    "model.readout.width=8",
    "model.trunk.layers=0",
)


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two sessions of 40 s; the second has neither film nor trials."""
    folder = tmp_path_factory.mktemp("sessions")
    for k, name in enumerate("ab"):
        rng = np.random.default_rng(k)
        times = np.arange(0, 40, 0.1)
        x = np.cumsum(rng.normal(0, 0.2, 400))
        x[100:120] = np.nan
        behavior = {
            "x": TimeSeries(timestamps=times, values=x.astype(np.float32), kind="continuous"),
            "turn": TimeSeries(
                timestamps=times, values=rng.uniform(0, 360, 400), kind="continuous", period=360.0
            ),
        }
        frames = TimeSeries(timestamps=times[::10], values=rng.integers(0, 9, (40, 4, 4)), kind="frames")
        trials = {
            "start": np.arange(0, 40, 2.0),
            "stop": np.arange(1, 41, 2.0),
            "side": np.array(["l", "r"] * 10),
        }
        data = SessionData(
            session_id=name, subject_id=name, start=0.0, stop=40.0, n_units=3 + k,
            events=Events(times=np.sort(rng.uniform(0, 40, 400)), units=rng.integers(0, 3 + k, 400).astype(np.int32)),
            behavior=behavior, stimulus={} if k else {"film": frames}, trials={} if k else trials,
        )  # fmt: skip
        write_session(folder / f"{name}.h5", data)
    return f"{folder}/a.h5,{folder}/b.h5"


@pytest.fixture(scope="module")
def straight(sessions: str, train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("straight") / "run"
    train(out, sessions, *WORDS)  # type: ignore[arg-type]
    return out


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def test_an_interrupted_and_resumed_run_ends_as_an_uninterrupted_one(
    straight: Path, sessions: str, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = PretrainModule.on_train_batch_start

    def press(module: PretrainModule, batch: Any, batch_idx: int) -> None:
        begin(module, batch, batch_idx)
        if module.global_step == 5:
            os.kill(os.getpid(), signal.SIGINT)

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(PretrainModule, "on_train_batch_start", press)
        with pytest.raises(UserError, match="interrupted at step 5"):
            train(out, sessions, *WORDS)  # type: ignore[arg-type]
    resume = f"resume={out}/checkpoints/last.ckpt"
    pretrain(build_config(PretrainConfig, [out / "config.yaml"], [resume]))
    one, other = (read_checkpoint(run / "checkpoints/last.ckpt") for run in (out, straight))
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step"):
        assert same(one[key], other[key]), key
    assert same(one["neuroformer"]["vocabulary"], other["neuroformer"]["vocabulary"])
    assert one["neuroformer"]["validation"] == other["neuroformer"]["validation"]
    assert "decode_nll" in one["neuroformer"]["validation"]


def test_resume_with_other_variables_or_labels_is_refused(
    straight: Path, sessions: str, train: Train, tmp_path: Path
) -> None:
    resume = f"resume={straight}/checkpoints/last.ckpt"
    for word in ("data.variables.x.grid=10", "data.labels.minutes=0.4"):
        with pytest.raises(UserError, match=r"other data\.variables or data\.labels"):
            train(tmp_path / "other", sessions, *WORDS, word, resume)  # type: ignore[arg-type]


def test_a_checkpoint_decodes_as_the_model_that_was_trained(straight: Path) -> None:
    run = load_run(straight, checkpoint="last")
    again = load_checkpoint(straight / "checkpoints/last.ckpt")
    assert again.vocabulary.variables == run.trained.vocabulary.variables
    assert set(again.model.variables) == {"x", "turn", "film", "side"}
    data = run.data
    assert data.context_bins == again.model.context
    assert data.vocabulary.variables["film"].interval_s == pytest.approx(1.0)
    nats, counted = 0.0, 0
    with torch.no_grad():
        for _, batch in data.in_order("val"):
            said = again.model.decode(batch)
            assert said.keys() == {"x", "turn", "side"}
            assert all(v.mean is None or bool(v.mean.isfinite().all()) for v in said.values())
            assert again.model.readout is not None
            for score, there in again.model.readout.log_likelihood(
                again.model.readout_outputs(batch), batch
            ).values():
                nats, counted = nats - float(score.double().sum()), counted + int(there.sum())
    known = read_checkpoint(straight / "checkpoints/last.ckpt")["neuroformer"]["validation"]["decode_nll"]
    # Validation hides context at random in no row, so that this is the same number.
    assert nats / counted == pytest.approx(known, rel=1e-4)


def test_splits_of_training_and_of_what_comes_after_are_the_same(straight: Path, sessions: str) -> None:
    """A film of a frame a second is looked back at for longer than anything else."""
    run = load_run(straight, checkpoint="last")
    horizon = run.trained.model.variables["film"].horizon
    assert horizon == 30
    for recording in run.data.recordings:
        train, val = recording.part("train")[-1], recording.part("val")[0]
        assert val.start - train.stop == run.data.context_bins >= horizon
        entry = run.trained.vocabulary[recording.session_id]
        assert entry.train_bins == sum(len(span) for span in recording.part("train"))
