"""`finetune mode=encode`: a new session without a label and without a gradient step."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neuroformer.cli.config import build_config
from neuroformer.errors import UserError
from neuroformer.evaluation.run import evaluate
from neuroformer.evaluation.trained_run import load_run
from neuroformer.files import read_json
from neuroformer.session import Events, Session, SessionData, write_session
from neuroformer.settings.evaluation import EvaluateConfig
from neuroformer.settings.finetune import FinetuneConfig
from neuroformer.training.checkpoint import TrainedModel, load_checkpoint, read_checkpoint
from neuroformer.training.finetune import finetune, validate
from neuroformer.training.unit_encoder import UnitEncoder


def tune(run: Path, session: Path, out: Path, *words: str) -> dict[str, Any]:
    trainer = ("trainer.accelerator=cpu", "trainer.enable_progress_bar=false")
    fixed = [f"run={run}", f"sessions=[{session}]", f"out={out}", "overwrite=true", *trainer]
    return finetune(build_config(FinetuneConfig, words=[*fixed, *words]))


def load(run: Path) -> TrainedModel:
    return load_checkpoint(run / "checkpoints" / "last.ckpt")


def changed(folder: Path, out: Path, change: Callable[[SessionData], SessionData]) -> Path:
    return write_session(out / "new.h5", change(Session(folder / "new.h5").load()))


def same(one: TrainedModel, other: TrainedModel) -> bool:
    a, b = one.model.state_dict(), other.model.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def encoded(run: Path, folder: Path) -> Path:
    tune(run, folder / "new.h5", folder / "encoded", "mode=encode")
    return folder / "encoded"


def test_what_was_known_stays_bit_by_bit(run: Path, encoded: Path) -> None:
    before, after = load(run), load(encoded)
    grown = after.model.state_dict()
    assert [entry.session_id for entry in after.vocabulary] == ["old_0", "old_1", "new"]
    for name, value in before.model.state_dict().items():
        assert torch.equal(grown[name][tuple(slice(size) for size in value.shape)], value), name


def test_it_beats_the_homogeneous_poisson_process(encoded: Path) -> None:
    metrics = read_json(encoded / "metrics.json")
    assert metrics["steps"] == 0
    assert metrics["seconds"] > 0
    assert metrics["val_bits_per_spike"] > 0.02
    assert set(metrics["encoded"]) == {"new"}


def test_the_validation_score_is_that_of_evaluate(encoded: Path, tmp_path: Path) -> None:
    scores = evaluate(EvaluateConfig(run=str(encoded), part="val", glm=False, out=str(tmp_path / "scores")))
    assert read_json(encoded / "metrics.json")["val_bits_per_spike"] == pytest.approx(
        scores["bits_per_spike"]["model"], abs=1e-5
    )


def test_labels_move_nothing(run: Path, folder: Path, encoded: Path, tmp_path: Path) -> None:
    def relabel(data: SessionData) -> SessionData:
        x = data.behavior["x"]
        return dataclasses.replace(data, behavior={"x": dataclasses.replace(x, values=100 - x.values[::-1])})

    tune(run, changed(folder, tmp_path, relabel), tmp_path / "out", "mode=encode")
    assert same(load(encoded), load(tmp_path / "out"))
    a, b = (
        read_checkpoint(p / "checkpoints" / "last.ckpt")["neuroformer"] for p in (encoded, tmp_path / "out")
    )
    assert a["knowledge"] == b["knowledge"]


def test_validation_and_test_move_nothing(run: Path, folder: Path, encoded: Path, tmp_path: Path) -> None:
    parts = load_run(encoded).data.recordings[0]

    def silence(data: SessionData) -> SessionData:
        times, out = data.events.times, np.zeros(len(data.events.times), bool)
        for span in [*parts.part("val"), *parts.part("test")]:
            epoch = parts.epochs[span.epoch]
            out |= (times >= epoch.time_of(span.start)) & (times < epoch.time_of(span.stop))
        out &= np.arange(len(out)) % 2 == 0
        assert out.any()
        return dataclasses.replace(data, events=Events(times=times[~out], units=data.events.units[~out]))

    tune(run, changed(folder, tmp_path, silence), tmp_path / "out", "mode=encode")
    assert same(load(encoded), load(tmp_path / "out"))


def test_only_unlabelled_events_decide(run: Path, folder: Path, encoded: Path, tmp_path: Path) -> None:
    def without_behaviour(data: SessionData) -> SessionData:
        return dataclasses.replace(data, behavior={})

    tune(run, changed(folder, tmp_path, without_behaviour), tmp_path / "out", "mode=encode")
    assert same(load(encoded), load(tmp_path / "out"))


def test_stages_go_on_from_the_encoded_units(run: Path, folder: Path, encoded: Path, tmp_path: Path) -> None:
    metrics = tune(
        run, folder / "new.h5", tmp_path / "out", "stages=[encode,units]", "optim.steps=2", "optim.lr=1e-9"
    )
    assert metrics["steps"] == 2
    assert set(metrics["encoded"]) == {"new"}
    start, end = load(encoded).model.state_dict(), load(tmp_path / "out").model.state_dict()
    assert all(torch.allclose(start[name], end[name], atol=1e-5) for name in start)
    assert load(tmp_path / "out").unit_encoder is not None


def test_full_fine_tuning_drops_the_encoder(run: Path, folder: Path, tmp_path: Path) -> None:
    tune(run, folder / "new.h5", tmp_path / "out", "mode=full", "optim.steps=1")
    with pytest.raises(UserError, match="holds no unit encoder"):
        tune(tmp_path / "out", folder / "new.h5", tmp_path / "again", "mode=encode")


def test_bayes_after_encode_adds_tuning_and_explains_more(
    run: Path, folder: Path, encoded: Path, tmp_path: Path
) -> None:
    metrics = tune(run, folder / "new.h5", tmp_path / "out", "stages=[encode,bayes]")
    assert metrics["val_bits_per_spike"] > read_json(encoded / "metrics.json")["val_bits_per_spike"] + 0.01
    one, other = load(encoded).model, load(tmp_path / "out").model
    assert torch.equal(one.history.own.mean, other.history.own.mean)
    assert one.context_path is not None
    assert other.context_path is not None
    assert not torch.equal(one.context_path.tuning.mean[20:], other.context_path.tuning.mean[20:])
    assert torch.equal(one.context_path.tuning.mean[:20], other.context_path.tuning.mean[:20])


def test_low_rank_couplings_are_encoded_too(low_rank: Path, folder: Path, tmp_path: Path) -> None:
    metrics = tune(low_rank, folder / "new.h5", tmp_path / "out", "mode=encode")
    assert metrics["val_bits_per_spike"] > 0.02
    assert bool(load(tmp_path / "out").model.coupling.target.mean[20:].any())


def test_the_encoder_is_builtins_and_back(run: Path) -> None:
    encoder = load(run).unit_encoder
    assert encoder is not None
    state = json.loads(json.dumps(encoder.state()))
    assert UnitEncoder.from_state(state).state() == encoder.state()


def test_a_session_that_is_known_is_refused(run: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="mode=encode: session 'old_0' is in the model"):
        tune(run, folder / "old_0.h5", tmp_path / "out", "mode=encode")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["stages=[units,encode]"], "encode starts from nothing and can only come first"),
        (["stages=[encode,units,bayes]"], "right after encode"),
        (["stages=[units,bayes]"], "right after encode"),
        (["stages=[encode,bayes]", "self_training=2"], "nothing uses it"),
    ],
)
def test_orders_that_make_no_sense_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_config(FinetuneConfig, words=["run=r", "sessions=[s]", "out=o", *words])


def test_a_validation_part_without_events_has_no_score(run: Path) -> None:
    read = load_run(run)
    read.data.recordings = []
    assert validate(read.trained.model, read.data) == {}
