"""Parts of a batch on threads of their own: the same loss, gradients and weights as the whole batch on one."""

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.kill_resume import SETTINGS, write_recording
from neuroformer.cli.command import run_command
from neuroformer.cli.pretrain import COMMAND
from neuroformer.model.dropout import Dropout
from neuroformer.model.randomness import generator
from neuroformer.training.checkpoint import read_checkpoint
from neuroformer.training.side_by_side import side_by_side

NO_DROPOUT = (
    "model.trunk.dropout=0", "model.context.dropout=0", "model.readout.dropout=0", "model.readout.unit_dropout=0",
)  # fmt: skip


@contextmanager
def threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
        assert torch.get_num_threads() == number  # training left them as they were
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("sessions")
    for seed, name in enumerate("abc"):
        write_recording(folder / f"{name}.h5", seed=seed)
    return [f"data.sessions=[{folder}/*.h5]", *SETTINGS, "data.batch_size=5", "optim.steps=8"]


def run(words: list[str], out: Path, *more: str) -> tuple[dict[str, Any], list[dict[str, str]]]:
    assert run_command(COMMAND, [*words, *more, f"out={out}"]) == 0
    with (out / "log.csv").open(newline="") as file:
        return read_checkpoint(out / "checkpoints/last.ckpt"), list(csv.DictReader(file))


def test_parts_of_a_batch_train_the_same_model(words: list[str], tmp_path: Path) -> None:
    found = []
    for number in (1, 2, 4):
        with threads(number):
            found.append(run(words, tmp_path / f"{number}", *NO_DROPOUT))
    (whole, log), *others = found
    for parts, its_log in others:
        torch.testing.assert_close(parts["state_dict"], whole["state_dict"], rtol=1e-4, atol=2e-6)
        for a, b in zip(log, its_log, strict=True):
            for name in set(a) - {"seconds", "events_per_s"}:
                assert (float(a[name] or 0), bool(a[name])) == (
                    pytest.approx(float(b[name] or 0), rel=2e-5),
                    bool(b[name]),
                ), name


def test_parts_train_the_rows_of_their_sessions_alone(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [*words, *NO_DROPOUT, "data.batch_size=2"]
    with threads(1):
        whole, _ = run(few, tmp_path / "whole")
    for name in ("_FEW_ROWS", "_WORTH"):  # tables of any size get sparse gradients
        monkeypatch.setattr(f"neuroformer.model.neuroformer.{name}", 0)
    with threads(2):
        parts, _ = run(few, tmp_path / "parts")
    torch.testing.assert_close(parts["state_dict"], whole["state_dict"], rtol=1e-4, atol=2e-6)


def test_a_run_in_parts_is_the_same_each_time(words: list[str], tmp_path: Path) -> None:
    with threads(2):
        (first, _), (second, _) = (run(words, tmp_path / name) for name in "ab")
    assert all(torch.equal(first["state_dict"][k], second["state_dict"][k]) for k in first["state_dict"])


def weighted(x: Tensor, by: float, *used: Tensor) -> Callable[[], tuple[Tensor, dict[str, Tensor]]]:
    def loss() -> tuple[Tensor, dict[str, Tensor]]:
        found = by * sum(((x * p).sum() for p in used), start=torch.zeros(()))
        return found, {"sum": found, **({"odd": found} if by > 1 else {})}

    return loss


def test_gradients_add_up_and_what_is_not_used_has_none() -> None:
    a, b, c = (torch.ones(3, requires_grad=True) for _ in range(3))
    x = torch.tensor([1.0, 2.0, 3.0])
    loss, parts = side_by_side([weighted(x, 1.0, a), weighted(x, 2.0, a, b)], [a, b, c], [0, 1])
    assert loss.item() == 6 + 2 * 12
    assert {name: float(part) for name, part in parts.items()} == {"sum": 30.0, "odd": 24.0}
    (10 * loss).backward()
    assert a.grad is not None
    assert b.grad is not None
    assert torch.equal(a.grad, 30 * x)
    assert torch.equal(b.grad, 20 * x)
    assert c.grad is None


def test_an_error_in_a_part_is_the_callers() -> None:
    def bad() -> tuple[Tensor, dict[str, Tensor]]:
        raise ValueError("here")

    x = torch.ones(3, requires_grad=True)
    with pytest.raises(ValueError, match="here"):
        side_by_side([weighted(torch.ones(3), 1.0, x), bad], [x], [0, 1])
    assert generator() is None


def test_every_part_draws_from_its_own_generator() -> None:
    dropout, x = Dropout(0.25), torch.ones(20_000, requires_grad=True)

    def loss() -> tuple[Tensor, dict[str, Tensor]]:
        dropped = dropout(x)
        return dropped.sum(), {"dropped": dropped}

    (_, one), (_, other), (_, again) = (side_by_side([loss], [x], [seed]) for seed in (1, 2, 1))
    assert torch.equal(one["dropped"], again["dropped"])
    assert not torch.equal(one["dropped"], other["dropped"])
    kept = one["dropped"] != 0
    assert float(kept.float().mean()) == pytest.approx(0.75, abs=0.015)
    assert torch.equal(one["dropped"][kept], torch.full((int(kept.sum()),), 1 / 0.75))  # exact in 16 bits
