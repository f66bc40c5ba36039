"""Going on with a run: from within an epoch, after training, automatically; and what is refused."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.kill_resume import Config, ending, measure, same
from neuroformer.errors import UsageError, UserError
from neuroformer.training import fit
from neuroformer.training.checkpoint import read_checkpoint
from neuroformer.training.module import PretrainModule

Train = Callable[..., dict[str, Any]]
WORDS = ("model.trunk.dropout=0.3", "out=run", "resume=auto", "optim.steps=12", "val_every=6")


class Killed(BaseException):
    """Instead of a real kill: nothing in between catches it."""


def kill_at(patch: pytest.MonkeyPatch, step: int) -> None:
    begin = PretrainModule.on_train_batch_start

    def press(module: PretrainModule, batch: Any, batch_idx: int) -> None:
        begin(module, batch, batch_idx)
        if module.global_step == step:
            raise Killed

    patch.setattr(PretrainModule, "on_train_batch_start", press)


def unlike(a: Path, b: Path) -> list[str]:
    first, second = ending(a), ending(b)
    return [name for name in first.keys() | second.keys() if not same(first.get(name), second.get(name))]


def folder(path: Path, patch: pytest.MonkeyPatch) -> Path:
    path.mkdir()
    patch.chdir(path)  # settings, which checkpoints hold, name the folder of the run
    return path / "run"


@pytest.fixture(scope="module")
def straight(circuit: Callable[..., Path], train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        run = folder(tmp_path_factory.mktemp("straight") / "a", patch)
        train(Path("run"), circuit(), *WORDS, "checkpoint_every=2")
    return run


@pytest.mark.parametrize("step", [1, 8])  # before any checkpoint, and within the second epoch
def test_resume_goes_on_within_an_epoch(
    straight: Path,
    circuit: Callable[..., Path],
    train: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
) -> None:
    run = folder(tmp_path / "a", monkeypatch)
    with monkeypatch.context() as patch, pytest.raises(Killed):  # noqa: PT012
        kill_at(patch, step)
        train(Path("run"), circuit(), *WORDS, "checkpoint_every=2")
    if step > 2:
        assert read_checkpoint(run / "checkpoints/last.ckpt")["global_step"] == step // 2 * 2
    train(Path("run"), circuit(), *WORDS, "checkpoint_every=2")
    assert unlike(run, straight) == []


@pytest.mark.slow  # two workers to start, twice
def test_batches_that_a_worker_read_ahead_do_not_count_as_trained(
    straight: Path,
    circuit: Callable[..., Path],
    train: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = folder(tmp_path / "a", monkeypatch)
    words = (*WORDS, "checkpoint_every=2", "data.workers=1")
    with monkeypatch.context() as patch, pytest.raises(Killed):  # noqa: PT012
        kill_at(patch, 9)  # the third step of the second epoch trains; the fourth and fifth were read ahead
        train(Path("run"), circuit(), *words)
    assert read_checkpoint(run / "checkpoints/last.ckpt")["global_step"] == 8
    train(Path("run"), circuit(), *words)
    assert {name for name in unlike(run, straight) if "data.workers" not in name} == set()


def test_a_run_that_was_killed_after_training_is_brought_to_its_end(
    straight: Path,
    circuit: Callable[..., Path],
    train: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = folder(tmp_path / "a", monkeypatch)
    with monkeypatch.context() as patch, pytest.raises(Killed):  # noqa: PT012
        patch.setattr(fit, "learn_readouts", lambda *_: (_ for _ in ()).throw(Killed))
        train(Path("run"), circuit(), *WORDS, "checkpoint_every=2")
    assert not (run / "metrics.json").exists()
    (run / "checkpoints" / ".last.0123abcd.partial.ckpt").write_bytes(b"half")
    train(Path("run"), circuit(), *WORDS, "checkpoint_every=2")
    assert unlike(run, straight) == []
    assert {file.name for file in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


def test_early_stopping_holds_after_training(
    circuit: Callable[..., Path], train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("optim.lr=0.3", "optim.steps=60", "val_every=3", "patience=1", "out=run", "resume=auto")
    whole = folder(tmp_path / "a", monkeypatch)
    steps = train(Path("run"), circuit(), *words)["steps"]
    assert steps < 60
    run = folder(tmp_path / "b", monkeypatch)
    with monkeypatch.context() as patch, pytest.raises(Killed):  # noqa: PT012
        patch.setattr(fit, "learn_readouts", lambda *_: (_ for _ in ()).throw(Killed))
        train(Path("run"), circuit(), *words)
    assert train(Path("run"), circuit(), *words)["steps"] == steps
    assert unlike(run, whole) == []


def test_a_finished_run_is_left_as_it_is(straight: Path, circuit: Callable[..., Path], train: Train) -> None:
    before = {file: file.stat().st_mtime_ns for file in straight.rglob("*")}
    assert train(straight, circuit(), "resume=auto")["steps"] == 12
    assert {file: file.stat().st_mtime_ns for file in straight.rglob("*")} == before


def test_an_unfinished_run_is_not_lost_by_accident(
    circuit: Callable[..., Path], train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(Killed):  # noqa: PT012
        kill_at(patch, 3)
        train(tmp_path, circuit())
    with pytest.raises(UserError, match=r"interrupted after step 2; add resume=auto .* overwrite=true"):
        train(tmp_path, circuit())
    with monkeypatch.context() as patch, pytest.raises(Killed):  # noqa: PT012
        kill_at(patch, 1)
        train(tmp_path, circuit(), "overwrite=true")
    assert not list(
        (tmp_path / "checkpoints").glob("*.ckpt")
    )  # or resume=auto would take the run before for this
    with pytest.raises(UsageError, match="give one of the two"):
        train(tmp_path, circuit(), "overwrite=true", "resume=auto")


@pytest.mark.parametrize("word", ["resume=auto", "resume=out/checkpoints/last.ckpt"])
def test_a_checkpoint_with_code_is_not_gone_on_with(
    straight: Path,
    circuit: Callable[..., Path],
    train: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    word: str,
) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "executed"),)

    monkeypatch.chdir(tmp_path)
    path = tmp_path / "out" / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    torch.save({**read_checkpoint(straight / "checkpoints/last.ckpt"), "callbacks": Trap()}, path)
    with pytest.raises(UserError, match="holds code"):
        train(Path("out"), circuit(), word)
    assert not (tmp_path / "executed").exists()


def without_guard(content: dict[str, Any]) -> None:
    del content["neuroformer"]["guard"]


def without_training(content: dict[str, Any]) -> None:
    for name in ("callbacks", "loops", "optimizer_states"):
        del content[name]


@pytest.mark.parametrize("change", [without_guard, without_training])
def test_a_checkpoint_of_before_says_which_version_wrote_it(
    straight: Path,
    circuit: Callable[..., Path],
    train: Train,
    tmp_path: Path,
    change: Callable[[dict[str, Any]], None],
) -> None:
    content = read_checkpoint(straight / "checkpoints/last.ckpt")
    content["neuroformer"]["version"] = "0.0.7"
    change(content)
    torch.save(content, tmp_path / "old.ckpt")
    with pytest.raises(UserError, match=r"written by neuroformer 0\.0\.7 and holds too little to go on from"):
        train(tmp_path / "run", circuit(), "model.trunk.dropout=0.3", f"resume={tmp_path}/old.ckpt")
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_shortened_by_resuming(
    straight: Path, circuit: Callable[..., Path], train: Train, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"12 steps into its run, more than optim\.steps=8"):
        train(
            tmp_path / "run",
            circuit(),
            "model.trunk.dropout=0.3",
            f"resume={straight}/checkpoints/last.ckpt",
        )


@pytest.mark.parametrize("kills", [2, pytest.param(16, marks=pytest.mark.slow)])
def test_killed_for_good_and_gone_on_with(tmp_path: Path, kills: int) -> None:
    result = measure(Config(kills=kills), tmp_path, say=lambda _: None)
    assert result.differences == []
    assert result.identical == result.runs > 0
    assert result.kills.total() >= kills
