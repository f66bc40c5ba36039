"""Losses that are no numbers, or far off: the run stops and says where, or drops the step and counts it."""

import csv
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from neuroformer.errors import UserError
from neuroformer.model import Neuroformer
from neuroformer.model.loss import LossSums
from neuroformer.settings.training import OptimConfig
from neuroformer.training.bad_loss import FEWEST, LossGuard
from neuroformer.training.checkpoint import read_checkpoint
from neuroformer.training.module import PretrainModule

Train = Callable[..., dict[str, Any]]


def judge(guard: LossGuard, loss: float, norm: float = 1.0, step: int = 7) -> bool:
    return guard.judge(loss=loss, norm=norm, step=step, sessions=lambda: ["a", "b"])


def spoil(patch: pytest.MonkeyPatch, steps: set[int], factor: float) -> None:
    """Multiply the loss of some steps."""
    step, loss = [0], Neuroformer.loss_sums
    begin = PretrainModule.on_train_batch_start

    def note(module: PretrainModule, batch: Any, batch_idx: int) -> None:
        begin(module, batch, batch_idx)
        step[0] = module.global_step

    def bad(model: Neuroformer, *args: Any, **settings: Any) -> LossSums:
        sums = loss(model, *args, **settings)
        return replace(sums, cells=sums.cells * factor) if step[0] in steps else sums

    patch.setattr(PretrainModule, "on_train_batch_start", note)
    patch.setattr(Neuroformer, "loss_sums", bad)


@pytest.mark.parametrize(
    ("loss", "norm"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan), (1.0, math.inf)]
)
def test_a_step_that_is_no_number_stops_or_is_dropped(loss: float, norm: float) -> None:
    with pytest.raises(
        UserError, match=r"loss at step 7 is no good: .* not a finite number; sessions .*: a, b; .*lr"
    ):
        judge(LossGuard(OptimConfig()), loss, norm)
    guard = LossGuard(OptimConfig(on_bad_loss="skip", bad_in_a_row=2))
    assert [judge(guard, 1.0), judge(guard, loss, norm), judge(guard, 1.0)] == [True, False, True]
    assert [judge(guard, loss, norm), judge(guard, loss, norm)] == [False, False]
    with pytest.raises(UserError, match=r"more than optim\.bad_in_a_row=2 steps in a row"):
        judge(guard, loss, norm)


def test_far_is_measured_by_what_losses_were() -> None:
    guard = LossGuard(OptimConfig(far_loss=20))
    assert all(judge(guard, 3 + 0.1 * (-1) ** k) for k in range(FEWEST))  # median 3, deviation 0.1
    assert judge(guard, 4.9)
    with pytest.raises(UserError, match=r"the loss is 7\.5, far above its median 3\.1 .*optim\.far_loss=20"):
        judge(guard, 7.5)  # now the deviation is 0.2
    assert all(
        judge(LossGuard(OptimConfig(far_loss=20)), 10.0**k) for k in range(FEWEST)
    )  # too few to compare with
    assert judge(LossGuard(OptimConfig()), 1e30)


def test_the_guard_goes_on_as_it_was() -> None:
    guard = LossGuard(OptimConfig(on_bad_loss="skip"))
    for loss in (1.0, math.nan, 2.0, math.nan):
        judge(guard, loss)
    again = LossGuard(OptimConfig(on_bad_loss="skip"))
    again.load(guard.state())
    assert (again.skipped, again.in_a_row, again.recent) == (2, 1, [1.0, 2.0])


def test_a_run_stops_with_its_checkpoint_whole(
    circuit: Callable[..., Path], train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, {3}, math.nan)
    with pytest.raises(
        UserError, match=r"loss at step 3 is no good: the loss is nan.*sessions of the batch: a;"
    ):
        train(tmp_path, circuit())
    content = read_checkpoint(tmp_path / "checkpoints/last.ckpt")
    assert content["global_step"] == 2
    assert all(value.isfinite().all() for value in content["state_dict"].values())


def test_a_dropped_step_changes_nothing_and_is_reported(
    circuit: Callable[..., Path], train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    end = PretrainModule.configure_gradient_clipping

    def look(module: PretrainModule, *args: Any, **settings: Any) -> None:
        seen.append({name: value.clone() for name, value in module.model.state_dict().items()})
        end(module, *args, **settings)

    monkeypatch.setattr(PretrainModule, "configure_gradient_clipping", look)
    spoil(monkeypatch, {3}, math.inf)
    metrics = train(tmp_path, circuit(), "optim.on_bad_loss=skip", "optim.weight_decay=0.5")
    assert metrics["skipped_steps"] == 1
    assert all(torch.equal(seen[3][name], seen[4][name]) for name in seen[3])  # before step 3 and after it
    assert any(not torch.equal(seen[2][name], seen[3][name]) for name in seen[3])
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["skipped"] == "0"
    assert rows[-1]["skipped"] == "1"
    assert all(math.isfinite(float(row["train_loss"])) for row in rows if row["train_loss"])
