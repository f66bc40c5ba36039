"""Fine-tuning in stages on a new animal: what learns, what stays, and what comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neuroformer.cli.config import build_config
from neuroformer.data import RecordingsModule
from neuroformer.data.grid import make_grid
from neuroformer.data.motion import make_motion, with_unknown
from neuroformer.decoding.predict import predict
from neuroformer.errors import UserError
from neuroformer.inversion.filtering import smooth
from neuroformer.inversion.summary import posterior_median
from neuroformer.settings.finetune import FinetuneConfig
from neuroformer.training.checkpoint import TrainedModel, data_config, load_checkpoint
from neuroformer.training.finetune import finetune


def tune(run: Path, session: Path, out: Path, *words: str) -> TrainedModel:
    fixed = [f"run={run}", f"sessions=[{session}]", f"out={out}", "optim.steps=4", "val_every=2",
             "trainer.accelerator=cpu", "trainer.enable_progress_bar=false", *words]  # fmt: skip
    finetune(build_config(FinetuneConfig, words=fixed))
    return load_checkpoint(out / "checkpoints" / "last.ckpt")


def error(trained: TrainedModel) -> float:
    """Mean error of the position in the test part of the run's sessions, cm."""
    settings = data_config(trained.settings["data"])
    data = RecordingsModule(
        config=settings, context_bins=trained.model.context, vocabulary=trained.vocabulary, grow=False
    )
    grid, knowledge = make_grid(trained.vocabulary), trained.knowledge
    assert grid is not None
    assert knowledge is not None
    chain = make_motion(grid, knowledge.motion)
    recording = data.recordings[0]
    found = []
    for stretch in predict(trained.model, data, recording, recording.part("test"), grid):
        said = posterior_median(grid.axes[0], grid.marginal(smooth(stretch.log_likelihood, chain), 0))
        found.append(np.abs(said - stretch.truth["position"].values[:, 0]))
    return float(np.concatenate(found).mean())


def old_rows(a: TrainedModel, b: TrainedModel) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Parameters of the first model beside their part of the second's."""
    pairs: list[Any] = []
    other = dict(b.model.named_parameters())
    for name, value in a.model.named_parameters():
        pairs.append((value, other[name][tuple(slice(n) for n in value.shape)]))
    return pairs


def test_bayes_decodes_a_new_animal_and_leaves_the_rest_bit_by_bit(
    place_run: Path, place_animals: list[Path], tmp_path: Path
) -> None:
    before = load_checkpoint(place_run / "checkpoints" / "best.ckpt")
    after = tune(
        place_run, place_animals[2], tmp_path / "bayes", "mode=bayes", "labels.minutes=0.5", "self_training=2"
    )
    assert all(torch.equal(a, b) for a, b in old_rows(before, after))
    assert len(after.vocabulary) == 3
    assert error(after) < 12


def test_stages_follow_one_another(place_run: Path, place_animals: list[Path], tmp_path: Path) -> None:
    after = tune(
        place_run, place_animals[2], tmp_path / "staged", "stages=[bayes,units,heads,full]", "self_training=1"
    )
    before = load_checkpoint(place_run / "checkpoints" / "best.ckpt")
    assert any(not torch.equal(a, b) for a, b in old_rows(before, after))
    assert error(after) < 15


def test_heads_move_the_readout_and_not_the_encoder(
    place_run: Path, place_animals: list[Path], tmp_path: Path
) -> None:
    before = load_checkpoint(place_run / "checkpoints" / "best.ckpt")
    after = tune(place_run, place_animals[2], tmp_path / "heads", "mode=heads")
    assert before.model.readout is not None
    assert after.model.readout is not None
    head = before.model.readout.heads["v_position"].weight
    assert not torch.equal(head, after.model.readout.heads["v_position"].weight)
    assert before.model.context_path is not None
    assert after.model.context_path is not None
    assert torch.equal(before.model.context_path.project.weight, after.model.context_path.project.weight)


def test_a_new_variable_is_added_without_changing_what_was_known(
    place_run: Path, place_animals: list[Path], tmp_path: Path
) -> None:
    after = tune(
        place_run, place_animals[2], tmp_path / "variable", "mode=heads", "variables.velocity.grid=0"
    )
    assert "velocity" in after.vocabulary.variables
    assert set(after.model.variables) == {"position", "motion", "velocity"}
    with pytest.raises(UserError, match=r"position: the model of .* knows it already"):
        tune(place_run, place_animals[2], tmp_path / "again", "mode=full", "variables.position.grid=12")


def test_knowledge_travels_and_the_chain_is_one(place_run: Path) -> None:
    knowledge = load_checkpoint(place_run / "checkpoints" / "best.ckpt").knowledge
    assert knowledge is not None
    assert knowledge.prior is not None
    assert 0 < knowledge.evidence <= 1
    grid = make_grid(load_checkpoint(place_run / "checkpoints" / "best.ckpt").vocabulary)
    assert grid is not None
    chain = with_unknown(make_motion(grid, knowledge.motion), knowledge.motion)
    np.testing.assert_allclose(chain.step.sum(1), 1)
    assert knowledge.from_state(knowledge.state()).state() == knowledge.state()


def test_faults(place_run: Path, place_animals: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="mode=bayes: session 'animal_0' is in the model"):
        tune(place_run, place_animals[0], tmp_path / "old", "mode=bayes")
    with pytest.raises(ValueError, match="can only come first"):
        tune(place_run, place_animals[2], tmp_path / "order", "stages=[units,bayes]")
