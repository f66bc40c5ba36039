"""Compiled blocks: the same numbers and gradients, in training alone, and nothing left behind."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from neuroformer.batch import Batch
from neuroformer.data import DataConfig, RecordingsModule
from neuroformer.errors import UserError
from neuroformer.model import Neuroformer
from neuroformer.model.attention import Block
from neuroformer.settings.model import ModelConfig, TrunkConfig
from neuroformer.training import compiled
from neuroformer.training.build import build_model
from neuroformer.training.checkpoint import read_checkpoint
from neuroformer.training.compiled import compiled_blocks
from neuroformer.training.run import context_of

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler here")
CPU = torch.device("cpu")


@pytest.fixture
def model_and_batches(circuit: Callable[..., Path]) -> tuple[Neuroformer, list[Batch]]:
    trunk = TrunkConfig(width=16, layers=2, heads=2, window_s=0.05, dropout=0.0)
    settings = ModelConfig(trunk=trunk)
    config = DataConfig(sessions=[str(circuit())], chunk_s=0.5, warmup_s=0.2, batch_size=4)
    data = RecordingsModule(config=config, context_bins=context_of(settings, config), batches_per_epoch=4)
    torch.manual_seed(0)
    model = build_model(settings, data.vocabulary).train()
    with torch.no_grad():  # blocks start as the identity: give them something to do
        for name, parameter in model.named_parameters():
            if name.endswith(("out.weight", "mlp.2.weight")):
                parameter.normal_(std=0.3)
    return model, list(data.train_dataloader())


def step(model: Neuroformer, batch: Batch) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)  # of dropout
    model.zero_grad()
    loss = model.loss(batch)["loss"]
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return gradients | {"loss": loss.detach()}


@needs_compiler
@pytest.mark.slow  # compiling takes 20 s and more
@pytest.mark.filterwarnings("ignore")  # PyTorch's, of its own parts
def test_compiled_steps_give_the_same_loss_and_gradients(
    model_and_batches: tuple[Neuroformer, list[Batch]],
) -> None:
    model, batches = model_and_batches
    names = list(model.state_dict())
    expected = [step(model, batch) for batch in batches]
    with torch.no_grad():
        plain = model.eval().likelihood(batches[0]).cells
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    with compiled_blocks(model.train(), CPU):
        for batch, wanted in zip(batches, expected, strict=True):
            found = step(model, batch)
            assert found.keys() == wanted.keys()
            for name, value in wanted.items():
                torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6, msg=name)
        assert list(model.state_dict()) == names
        with torch.no_grad():
            assert torch.equal(model.eval().likelihood(batches[0]).cells, plain)
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert 2 <= graphs <= 5  # before and after the attention, for all batches and blocks; and the trial
    assert all("packed" not in vars(m) for m in model.modules())


@needs_compiler
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_run_writes_a_checkpoint_as_any_other(
    circuit: Callable[..., Path], train: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    words = ("model.trunk.layers=1", "model.trunk.dropout=0", "optim.steps=4")
    train(tmp_path / "a", circuit(), *words)
    train(tmp_path / "b", circuit(), *words, "compile=true")
    plain, made = (read_checkpoint(tmp_path / run / "checkpoints/last.ckpt")["state_dict"] for run in "ab")
    assert list(plain) == list(made)
    for name, value in plain.items():
        torch.testing.assert_close(made[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_without_a_compiler_it_says_so(
    circuit: Callable[..., Path],
    train: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("No working C++ compiler found\n  and more")

    monkeypatch.setattr(compiled.torch, "compile", fail)
    words = ("model.trunk.layers=1", "compile=true")
    with pytest.raises(UserError, match=r"cannot compile for cpu here \(No working C\+\+ compiler found\)"):
        train(tmp_path / "a", circuit(), *words)


def test_compiled_only_in_training(
    model_and_batches: tuple[Neuroformer, list[Batch]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batches = model_and_batches
    calls: list[bool] = []

    def spy(function: Any, **_: Any) -> Any:
        def called(*arguments: Any) -> Any:
            calls.append(model.training)
            return function(*arguments)

        return called

    monkeypatch.setattr(compiled.torch, "compile", spy)
    monkeypatch.setattr(compiled, "check_compiler", lambda device: None)
    n_blocks = sum(isinstance(module, Block) for module in model.modules())
    with compiled_blocks(model, CPU):
        model.loss(batches[0])
        assert calls == [True] * n_blocks
        model.eval().likelihood(batches[0])
    model.train().loss(batches[0])
    assert calls == [True] * n_blocks
