"""Pretraining: what a run leaves, and that it can be repeated and continued bit by bit."""

import csv
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from neuroformer.cli.config import build_config
from neuroformer.errors import UsageError, UserError
from neuroformer.files import read_json
from neuroformer.settings.training import OptimConfig, PretrainConfig
from neuroformer.training.checkpoint import load_checkpoint, read_checkpoint
from neuroformer.training.module import PretrainModule
from neuroformer.training.run import pretrain

Train = Callable[..., dict[str, Any]]


def checkpoint(run: Path, name: str = "last") -> dict[str, Any]:
    return read_checkpoint(run / "checkpoints" / f"{name}.ckpt")


def log(run: Path) -> list[dict[str, str]]:
    with (run / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def validations(run: Path) -> list[tuple[int, float]]:
    return [
        (int(row["step"]), float(row["val_bits_per_spike"])) for row in log(run) if row["val_bits_per_spike"]
    ]


def assert_same(a: Any, b: Any) -> None:
    """Equal to the last bit, however deep."""
    assert type(a) is type(b)
    if isinstance(a, torch.Tensor):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b


def same_weights(a: Path, b: Path) -> bool:
    first, second = checkpoint(a)["state_dict"], checkpoint(b)["state_dict"]
    return all(torch.equal(first[name], second[name]) for name in first)


def interrupt_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Press Ctrl-C when training comes to a step."""
    begin = PretrainModule.on_train_batch_start

    def press(module: PretrainModule, batch: Any, batch_idx: int) -> None:
        begin(module, batch, batch_idx)
        if module.global_step == step:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(PretrainModule, "on_train_batch_start", press)


@pytest.fixture(scope="module")
def straight(circuit: Callable[..., Path], train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four epochs of two steps, with dropout."""
    out = tmp_path_factory.mktemp("straight") / "run"
    train(out, circuit(), "model.trunk.dropout=0.3")
    return out


def test_an_interrupted_and_resumed_run_ends_as_an_uninterrupted_one(
    straight: Path,
    circuit: Callable[..., Path],
    train: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt_at(patch, 5)  # in the middle of the third epoch
        with pytest.raises(UserError, match=r"interrupted at step 5; go on with resume=.*last\.ckpt"):
            train(out, circuit(), "model.trunk.dropout=0.3")
    assert not (out / "metrics.json").exists()
    assert checkpoint(out)["global_step"] == 4
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler  # the next Ctrl-C is heard

    resume = f"resume={out}/checkpoints/last.ckpt"
    metrics = pretrain(build_config(PretrainConfig, [out / "config.yaml"], [resume]))
    assert metrics["steps"] == 8
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch"):
        assert_same(checkpoint(out)[key], checkpoint(straight)[key])
    varying = {"seconds", "events_per_s"}
    assert [{k: v for k, v in row.items() if k not in varying} for row in log(out)] == [
        {k: v for k, v in row.items() if k not in varying} for row in log(straight)
    ]
    one, other = read_json(out / "metrics.json"), read_json(straight / "metrics.json")
    assert one["val_bits_per_spike"] == other["val_bits_per_spike"]
    assert one["events_trained"] == other["events_trained"]


@pytest.mark.parametrize("elsewhere", [None, True])
def test_how_the_optimiser_computes_is_up_to_this_machine(straight: Path, elsewhere: bool | None) -> None:
    trained = load_checkpoint(straight / "checkpoints/last.ckpt")
    module = PretrainModule(
        model=trained.model, vocabulary=trained.vocabulary, optim=OptimConfig(), settings={}, seed=0
    )
    optimizer = module.configure_optimizers()["optimizer"]
    chosen = [group["fused"] for group in optimizer.param_groups]
    assert chosen == [True] * len(chosen)  # on a CPU
    state = checkpoint(straight)["optimizer_states"][0]
    for group in state["param_groups"]:
        group["fused"] = elsewhere
    optimizer.load_state_dict(state)
    assert [group["fused"] for group in optimizer.param_groups] == chosen
    assert_same(optimizer.state_dict()["state"], state["state"])


def test_the_seed_decides_the_weights(
    straight: Path, circuit: Callable[..., Path], train: Train, tmp_path: Path
) -> None:
    torch.manual_seed(123)  # what went on before must not matter
    train(tmp_path / "again", circuit(), "model.trunk.dropout=0.3")
    assert same_weights(straight, tmp_path / "again")
    for key in ("seed", "data.seed"):
        train(tmp_path / key, circuit(), "model.trunk.dropout=0.3", f"{key}=1")
        assert not same_weights(straight, tmp_path / key)


def test_best_and_last_checkpoints_are_those_of_the_log(
    circuit: Callable[..., Path], train: Train, tmp_path: Path
) -> None:
    metrics = train(tmp_path, circuit(), "optim.lr=0.6", "optim.steps=30", "val_every=3")
    scores = validations(tmp_path)
    best_step, best = max(scores, key=lambda pair: pair[1])
    assert best_step < 30, "the learning rate is meant to be too high, so that the last is not the best"
    assert checkpoint(tmp_path, "best")["global_step"] == best_step
    assert checkpoint(tmp_path, "last")["global_step"] == 30 == scores[-1][0]
    assert metrics["val_bits_per_spike"] == pytest.approx(best, rel=1e-5)
    assert {file.name for file in (tmp_path / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


def test_training_stops_early_when_validation_does_not_improve(
    circuit: Callable[..., Path], train: Train, tmp_path: Path
) -> None:
    metrics = train(tmp_path, circuit(), "optim.lr=0.3", "optim.steps=60", "val_every=3", "patience=2")
    scores = [score for _, score in validations(tmp_path)]
    assert metrics["steps"] < 60
    assert max(scores) == scores[-3]
    assert len(scores) == metrics["steps"] / 3


def test_metrics_say_what_was_trained(straight: Path) -> None:
    metrics = read_json(straight / "metrics.json")
    session = metrics["sessions"][0]
    assert metrics["command"] == "pretrain.py"
    assert metrics["steps"] == 8
    assert metrics["device"] == "cpu"
    assert metrics["seed"] == 0
    assert metrics["parameters"] == sum(
        p.numel() for p in load_checkpoint(straight / "checkpoints/best.ckpt").model.parameters()
    )
    assert (session["session_id"], session["units"]) == ("a", 6)
    assert session["train_events"] > 0
    assert 20 < session["train_s"] < 40
    rows = log(straight)
    assert [int(row["step"]) for row in rows] == sorted(int(row["step"]) for row in rows)
    assert float(rows[0]["train_loss"]) == pytest.approx(
        float(rows[0]["train_nll"]) + float(rows[0]["train_kl"]), rel=1e-4
    )


def test_a_run_that_fails_leaves_no_metrics(
    circuit: Callable[..., Path], train: Train, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"loss at step \d+ is .*lower optim\.lr"):
        train(tmp_path, circuit(), "optim.lr=1e30", "optim.warmup=0")
    assert (tmp_path / "config.yaml").exists()
    assert not (tmp_path / "metrics.json").exists()


def test_a_finished_run_is_replaced_only_on_request(
    circuit: Callable[..., Path], train: Train, tmp_path: Path
) -> None:
    train(tmp_path, circuit(), "optim.steps=2")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(UserError, match="overwrite=true"):
        train(tmp_path, circuit(), "optim.steps=2", "seed=1")
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    train(tmp_path, circuit(), "optim.steps=2", "seed=1", "overwrite=true")
    assert read_json(tmp_path / "metrics.json")["seed"] == 1
    assert checkpoint(tmp_path, "best")["neuroformer"]["settings"]["seed"] == 1
    assert {file.name for file in (tmp_path / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("trainer.max_epochs=3", r"trainer\.max_epochs: .*optim\.steps"),
        ("trainer.callbacks=[]", r"trainer\.callbacks: .*patience"),
        ("trainer.gradient_clip_val=1", r"optim\.clip"),
        ("trainer.precison=16", r"did you mean trainer\.precision\?"),
        ("trainer.precision=nonsense", "Lightning refuses these settings: .*nonsense"),
        ("trainer.accelerator=abacus", "Lightning refuses these settings: .*abacus"),
        ("trainer.enable_checkpointing=false", "Lightning refuses these settings"),
    ],
)
def test_settings_that_the_trainer_cannot_have_are_refused(
    circuit: Callable[..., Path], train: Train, tmp_path: Path, word: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as error:
        train(tmp_path / "run", circuit(), word)
    assert "\n" not in str(error.value)


def test_settings_pass_through_to_the_trainer(
    circuit: Callable[..., Path], train: Train, tmp_path: Path
) -> None:
    metrics = train(tmp_path / "timed", circuit(), "optim.steps=100000", "trainer.max_time=00:00:00:01")
    assert 0 < metrics["steps"] < 100_000
    train(tmp_path / "bf16", circuit(), "trainer.precision=bf16-mixed", "optim.steps=2")
    train(tmp_path / "f32", circuit(), "optim.steps=2")
    assert not same_weights(tmp_path / "bf16", tmp_path / "f32")


def test_time_may_run_out_before_the_first_validation(
    circuit: Callable[..., Path], train: Train, tmp_path: Path
) -> None:
    metrics = train(
        tmp_path, circuit(), "optim.steps=100000", "val_every=100000", "trainer.max_time=00:00:00:01"
    )
    assert checkpoint(tmp_path, "last")["global_step"] == metrics["steps"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("model.trunk.width=16",), r"other settings than model\.\*"),
        (("data.bin_s=0.01",), r"another data\.bin_s"),
    ],
)
def test_resume_of_another_run_is_refused(
    straight: Path,
    circuit: Callable[..., Path],
    train: Train,
    tmp_path: Path,
    words: tuple[str, ...],
    message: str,
) -> None:
    with pytest.raises(UserError, match=message):
        train(
            tmp_path / "run",
            circuit(),
            "model.trunk.dropout=0.3",
            f"resume={straight}/checkpoints/last.ckpt",
            *words,
        )
    assert not (tmp_path / "run").exists()


def test_resume_with_other_sessions_is_refused(
    straight: Path, circuit: Callable[..., Path], train: Train, tmp_path: Path
) -> None:
    resume = f"resume={straight}/checkpoints/last.ckpt"
    with pytest.raises(UserError, match="other sessions"):
        train(tmp_path / "run", circuit("b", seed=1), "model.trunk.dropout=0.3", resume)
