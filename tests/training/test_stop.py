"""SIGTERM and SIGUSR1: the step ends, last.ckpt is written, the exit code says why."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.kill_resume import ending, same
from neuroformer.cli.command import run_command
from neuroformer.cli.pretrain import COMMAND
from neuroformer.training.checkpoint import read_checkpoint
from neuroformer.training.module import PretrainModule
from neuroformer.training.stop import StopSignals

Forked = Callable[..., tuple[int, str]]


def signal_at(patch: pytest.MonkeyPatch, step: int, signum: int) -> None:
    begin = PretrainModule.on_train_batch_start

    def press(module: PretrainModule, batch: Any, batch_idx: int) -> None:
        begin(module, batch, batch_idx)
        if module.global_step == step:
            os.kill(os.getpid(), signum)

    patch.setattr(PretrainModule, "on_train_batch_start", press)


def test_a_signal_ends_the_run_where_it_can_go_on(
    circuit: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    forked: Forked,
    tiny_words: tuple[str, ...],
) -> None:
    words = [f"data.sessions=[{circuit()}]", "out=run", "resume=auto", *tiny_words]

    def command() -> int:
        return run_command(COMMAND, words)

    for name in ("straight", "stopped"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "straight")
    assert forked(command, tmp_path / "log.txt")[0] == 0
    monkeypatch.chdir(tmp_path / "stopped")
    with monkeypatch.context() as patch:
        signal_at(patch, 4, signal.SIGTERM)  # the first of the second epoch
        found, log = forked(command, tmp_path / "log.txt")
    assert found == 143
    assert "stopped at step 5, as SIGTERM asked; the same command with resume=auto goes on" in log
    assert "Traceback" not in log
    assert read_checkpoint(tmp_path / "stopped/run/checkpoints/last.ckpt")["global_step"] == 5
    assert not (tmp_path / "stopped/run/metrics.json").exists()
    assert forked(command, tmp_path / "log.txt")[0] == 0
    one, other = (ending(tmp_path / name / "run") for name in ("straight", "stopped"))
    assert [name for name in one.keys() | other.keys() if not same(one.get(name), other.get(name))] == []


def test_a_signal_within_the_last_step_of_an_epoch_waits_for_its_validation(
    circuit: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    forked: Forked,
    tiny_words: tuple[str, ...],
) -> None:
    words = [f"data.sessions=[{circuit()}]", f"out={tmp_path}/run", *tiny_words]
    signal_at(monkeypatch, 3, signal.SIGUSR1)
    code, log = forked(lambda: run_command(COMMAND, words), tmp_path / "log.txt")
    assert code == 138
    assert "stopped at step 4, as SIGUSR1 asked" in log
    about = read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["neuroformer"]
    assert "bits_per_spike" in about["validation"]


def test_signals_are_given_back() -> None:
    before = [signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGUSR1)]
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert signals.received == signal.SIGUSR1
    assert [signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGUSR1)] == before
