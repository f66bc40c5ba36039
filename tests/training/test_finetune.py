"""Fine-tuning: a new session in a pretrained model."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neuroformer.cli.config import build_config
from neuroformer.data import RecordingsModule
from neuroformer.errors import UserError
from neuroformer.evaluation.blocks import log_likelihood
from neuroformer.evaluation.trained_run import load_run
from neuroformer.files import read_json
from neuroformer.session import Session, write_session
from neuroformer.settings.finetune import FinetuneConfig
from neuroformer.training.checkpoint import TrainedModel, data_config, load_checkpoint
from neuroformer.training.finetune import finetune
from simulate import CircuitConfig, simulate_circuit, to_session

Circuit = Callable[..., Path]
N_OLD = 6


def tune(out: Path, run: Path, sessions: str | Path, *words: str) -> dict[str, Any]:
    trainer = ("trainer.accelerator=cpu", "trainer.enable_progress_bar=false")
    fixed = [f"run={run}", f"sessions=[{sessions}]", f"out={out}", *trainer]
    return finetune(build_config(FinetuneConfig, words=[*fixed, *words]))


def load(run: Path, name: str = "last") -> TrainedModel:
    return load_checkpoint(run / "checkpoints" / f"{name}.ckpt")


def held_out(trained: TrainedModel, session: Path, part: Any = "test") -> float:
    """Log-likelihood of a part of one session."""
    settings = data_config({**trained.settings["data"], "sessions": [str(session)]})
    data = RecordingsModule(
        config=settings, context_bins=trained.model.context, vocabulary=trained.vocabulary, grow=False
    )
    recording = data.recordings[0]
    return sum(
        log_likelihood(data, recording, lambda batch: trained.model(batch)[0], span)
        for span in recording.part(part)
    )


def old_part(parameter: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    """What a grown parameter has of its former self."""
    return parameter[tuple(slice(size) for size in old.shape)]


@pytest.fixture(scope="module")
def new(circuit: Circuit) -> Path:
    return circuit("new", units=7, seed=5)


@pytest.fixture(scope="module")
def units(trained: Path, new: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("units") / "run"
    tune(out, trained, new, "optim.steps=40", "val_every=10")
    return out


def test_mode_units_leaves_what_was_there_bit_by_bit(
    trained: Path, units: Path, circuit: Circuit, new: Path
) -> None:
    before, after = load(trained, "best"), load(units)
    assert [entry.session_id for entry in after.vocabulary] == ["a", "new"]
    grown = dict(after.model.named_parameters())
    for name, parameter in before.model.named_parameters():
        assert torch.equal(old_part(grown[name], parameter), parameter), name
    assert held_out(before, circuit()) == held_out(after, circuit())


def test_mode_units_learns_the_new_session(units: Path) -> None:
    scores = read_json(units / "metrics.json")
    assert scores["val_bits_per_spike"] > 0.01  # the homogeneous Poisson process, where it starts, has 0
    assert scores["command"] == "finetune.py"
    assert [session["session_id"] for session in scores["sessions"]] == ["new"]


def test_a_tuned_run_is_read_like_a_pretrained_one(units: Path) -> None:
    run = load_run(units)
    assert [recording.session_id for recording in run.data.recordings] == ["new"]
    recording = run.data.recordings[0]
    assert run.session_index(recording) == 1


def test_low_rank_coupling_keeps_its_old_rows_too(
    trained: Path, circuit: Circuit, new: Path, train: Callable[..., Any], tmp_path: Path
) -> None:
    run = tmp_path / "low_rank"
    train(run, circuit(), "model.coupling.rank=2")
    tune(tmp_path / "tuned", run, new, "optim.steps=6", "val_every=3")
    before, after = load(run, "best"), load(tmp_path / "tuned")
    grown = dict(after.model.named_parameters())
    for name, parameter in before.model.named_parameters():
        assert torch.equal(old_part(grown[name], parameter), parameter), name
    assert held_out(before, circuit()) == held_out(after, circuit())
    assert not torch.equal(after.model.coupling.target.mean[N_OLD:], torch.zeros(7, 4))


def test_mode_full_changes_what_is_shared(trained: Path, new: Path, circuit: Circuit, tmp_path: Path) -> None:
    tune(tmp_path, trained, new, "mode=full", "optim.steps=6", "val_every=3")
    before, after = load(trained, "best"), load(tmp_path)
    grown = dict(after.model.named_parameters())
    for name in ("coupling.kernels.logits", "trunk.pool.0.weight", "trunk.blocks.0.qkv.weight"):
        assert not torch.equal(grown[name], before.model.get_parameter(name)), name
    assert held_out(before, circuit()) != held_out(after, circuit())


def test_mode_full_goes_on_with_a_known_session(trained: Path, circuit: Circuit, tmp_path: Path) -> None:
    tune(tmp_path, trained, circuit(), "mode=full", "optim.steps=4", "val_every=2")
    assert [entry.session_id for entry in load(tmp_path).vocabulary] == ["a"]


def test_the_seed_decides_the_new_rows(trained: Path, units: Path, new: Path, tmp_path: Path) -> None:
    for seed in (0, 0, 1):
        name = str(len(list(tmp_path.iterdir())))
        tune(tmp_path / name, trained, new, "optim.steps=4", "val_every=2", f"seed={seed}")
    first, again, other = (load(tmp_path / name).model.state_dict() for name in "012")
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_a_session_that_the_model_knows_is_refused_in_mode_units(
    trained: Path, circuit: Circuit, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"mode=units: session 'a' is in the model .*mode=full"):
        tune(tmp_path / "run", trained, circuit())
    assert not (tmp_path / "run").exists()


def test_a_known_name_with_other_units_is_refused(trained: Path, tmp_path: Path) -> None:
    made = simulate_circuit(CircuitConfig(units=9, duration_s=10.0))
    path = write_session(tmp_path / "other.h5", to_session(made, session_id="a"))
    with pytest.raises(UserError, match=r"other\.h5: 9 units, but the model knows session 'a' with 6"):
        tune(tmp_path / "run", trained, path)


def test_amplitudes_that_the_model_cannot_hold_are_refused(trained: Path, new: Path, tmp_path: Path) -> None:
    data = Session(new).load()
    amplitudes = np.random.default_rng(0).gamma(2.0, size=len(data.events.times)).astype(np.float32)
    events = dataclasses.replace(data.events, amplitudes=amplitudes)
    path = write_session(tmp_path / "calcium.h5", dataclasses.replace(data, events=events))
    with pytest.raises(UserError, match=r"amplitude levels, the model of .* has 1"):
        tune(tmp_path / "run", trained, path)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_no_run_is_refused(new: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        tune(tmp_path / "run", tmp_path / "nothing", new)


def test_the_folder_of_the_pretrained_run_is_not_overwritten(trained: Path, new: Path) -> None:
    with pytest.raises(UserError, match="overwrite=true"):
        tune(trained, trained, new)
    assert len(load(trained).vocabulary) == 1
