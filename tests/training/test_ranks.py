"""Two processes train as one does with the same batches: losses, weights, validation, checkpoints."""

import csv
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.kill_resume import SETTINGS, write_recording
from neuroformer.cli.command import run_command
from neuroformer.cli.pretrain import COMMAND
from neuroformer.errors import UserError
from neuroformer.files import read_json
from neuroformer.model import neuroformer
from neuroformer.settings.training import PretrainConfig
from neuroformer.training.checkpoint import load_checkpoint, read_checkpoint
from neuroformer.training.module import PretrainModule
from neuroformer.training.ranks import starts_first, step_seed
from neuroformer.training.resume import open_folder

# Dropout is drawn in each process for its own rows; without it the two must agree.
PLAIN = (
    "model.trunk.dropout=0", "model.context.dropout=0", "model.readout.dropout=0", "model.readout.unit_dropout=0",
    "optim.steps=12", "data.batch_size=2",  # one chunk each, seldom of one session
)  # fmt: skip


def losses(run: Path) -> list[dict[str, float]]:
    with (run / "log.csv").open(newline="") as file:
        return [
            {k: float(v) for k, v in row.items() if v and k not in ("seconds", "events_per_s")}
            for row in csv.DictReader(file)
        ]


def assert_alike(one: Path, two: Path) -> None:
    """Equal up to the order of sums."""
    first, second = losses(one), losses(two)
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a == pytest.approx(b, rel=2e-5, abs=2e-6)
    a, b = (read_checkpoint(run / "checkpoints/last.ckpt") for run in (one, two))
    torch.testing.assert_close(b["state_dict"], a["state_dict"], rtol=1e-4, atol=2e-6)
    torch.testing.assert_close(b["optimizer_states"], a["optimizer_states"], rtol=1e-3, atol=2e-6)
    metrics = [read_json(run / "metrics.json") for run in (one, two)]
    for name in ("val_bits_per_spike", "val_decode_nll"):
        assert metrics[0][name] == pytest.approx(metrics[1][name], rel=1e-5)
    assert metrics[0]["events_trained"] == metrics[1]["events_trained"]
    assert metrics[1]["processes"] == 2


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("sessions")
    for seed, name in enumerate("abc"):
        write_recording(folder / f"{name}.h5", seed=seed)
    return [f"data.sessions=[{folder}/*.h5]", *SETTINGS, *PLAIN]


@pytest.fixture(scope="module")
def one(
    words: list[str], tmp_path_factory: pytest.TempPathFactory, forked: Callable[..., tuple[int, str]]
) -> Path:
    folder = tmp_path_factory.mktemp("one")

    def action() -> int:
        os.chdir(folder)
        # One process trains the rows of a batch alone, as in a large vocabulary; several exchange whole tables.
        neuroformer._FEW_ROWS = neuroformer._WORTH = 0
        return run_command(COMMAND, words)

    code, log = forked(action, folder / "log.txt")
    assert code == 0, log
    return folder / "run"


@pytest.mark.parametrize("strategy", ["ddp", pytest.param("fsdp", marks=pytest.mark.slow)])
def test_two_processes_do_what_one_does_also_when_stopped_in_between(
    words: list[str],
    one: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    forked_pair: Callable[..., list[tuple[int, str]]],
    strategy: str,
) -> None:
    def action() -> int:
        os.chdir(tmp_path)
        neuroformer._FEW_ROWS = 0
        return run_command(COMMAND, [*words, "trainer.devices=2", f"trainer.strategy={strategy}"])

    begin = PretrainModule.on_train_batch_start

    def press(module: PretrainModule, batch: Any, batch_idx: int) -> None:
        begin(module, batch, batch_idx)
        if module.global_step == 7 and module.global_rank == 1:  # a signal to one of them stops both
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(PretrainModule, "on_train_batch_start", press)
        found = forked_pair(action, tmp_path)
    assert [code for code, _ in found] == [143, 143], found
    assert read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["global_step"] == 8
    found = forked_pair(action, tmp_path)
    assert [code for code, _ in found] == [0, 0], found
    assert "results:" in found[0][1]
    assert "results:" not in found[1][1]
    assert_alike(one, tmp_path / "run")
    load_checkpoint(tmp_path / "run/checkpoints/best.ckpt")


@pytest.mark.parametrize(
    ("environment", "first"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"RANK": "2", "LOCAL_RANK": "0", "NODE_RANK": "0"}, False),
        ({"SLURM_PROCID": "1"}, False),
        ({"LOCAL_RANK": "1"}, False),
        ({"NODE_RANK": "1", "LOCAL_RANK": "0"}, False),
    ],
)
def test_further_processes_leave_the_folder_alone(
    environment: dict[str, str], first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert starts_first() == first
    half = tmp_path / ".config.0123abcd.partial.yaml"  # of the first process, which is about to rename it
    half.touch()
    config = PretrainConfig(out=str(tmp_path))
    open_folder(tmp_path, overwrite=False, command="x", config=config, begins=True, first=first)
    assert half.exists() != first
    (tmp_path / "metrics.json").touch()
    with pytest.raises(UserError, match="holds a finished run"):
        open_folder(tmp_path, overwrite=False, command="x", config=config, begins=True, first=first)


def test_seeds_of_steps_are_what_they_always_were() -> None:
    # Of CPython's hash of tuples (xxHash): the same on every machine and in every process.
    found = [step_seed(0, 0), step_seed(0, 1), step_seed(3, 7, 1)]
    assert found == [3010437511937009226, 7619408953831620358, 4478143394439589982]
