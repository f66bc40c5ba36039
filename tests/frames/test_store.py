"""Fitted decoders that are kept come back as they were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from neuroformer.errors import UserError
from neuroformer.frames.fitted import WindowRegression
from neuroformer.frames.methods import Method
from neuroformer.frames.run import Cell, Experiment
from neuroformer.frames.session import FrameSession
from neuroformer.frames.store import load, model_path
from neuroformer.settings.backbones import BackboneConfig, BackbonesConfig

Settings = Callable[..., BackbonesConfig]
KINDS = {
    "ridge": BackboneConfig(kind="ridge"),
    "ridge_centered": BackboneConfig(kind="ridge", causal=False),
    "reservoir": BackboneConfig(kind="reservoir", width=12),
    "lstm": BackboneConfig(kind="lstm", width=8),
}


def fit(
    animal: Path, out: Path, settings: Settings, method: Method, **more: object
) -> tuple[Experiment, dict]:
    config = settings(
        sessions=[str(animal)], out=str(out), keep_models=True, steps=15, backbones=["ridge"], **more
    )
    experiment = Experiment(config)
    return experiment, experiment.run(Cell(file=str(animal), method=method, seed=3))


@pytest.mark.parametrize("name", KINDS)
def test_it_predicts_what_it_predicted(
    name: str, animal: Path, frames: FrameSession, settings: Settings, tmp_path: Path
) -> None:
    experiment, found = fit(animal, tmp_path, settings, Method(name=name, config=KINDS[name]))
    kept = load(model_path(tmp_path, "worm", name, 3), session=frames, config=experiment.config)
    assert kept.causal == found["causal"]
    (test,) = frames.parts["test"]
    said = kept.predict(test) * frames.scale + frames.mean
    for target, at in frames.columns.items():
        np.testing.assert_allclose(said[:, at], found["targets"][target]["mean"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("weights", ["pretrained", "untrained", "shuffled"])
@pytest.mark.parametrize("tuning", ["frozen", "lora"])
def test_language_models_come_back(
    weights: str, tuning: str, tiny: Callable[[str], Path], animal: Path, frames: FrameSession, settings: Settings,
    tmp_path: Path,
) -> None:  # fmt: skip
    if tuning == "lora":
        pytest.importorskip("peft")
    backbone = BackboneConfig(path=str(tiny("llama")), weights=weights, tuning=tuning, lora_rank=2)  # type: ignore[arg-type]
    experiment, found = fit(animal, tmp_path, settings, Method(name="m", config=backbone, language_model="m"))
    path = model_path(tmp_path, "worm", "m", 3)
    kept = load(path, session=frames, config=experiment.config)
    said = kept.predict(frames.parts["test"][0]) * frames.scale + frames.mean
    np.testing.assert_allclose(said[:, :1], found["targets"]["speed"]["mean"], rtol=1e-4, atol=1e-4)
    content = torch.load(path, weights_only=True)
    assert not any("embed_tokens" in n for n in content["trained"])
    content["fingerprint"][0] *= 1.1  # another checkpoint lies there now
    torch.save(content, path)
    with pytest.raises(UserError, match="are not those of the fit"):
        load(path, session=frames, config=experiment.config)


def test_files_that_are_not_there_or_not_it(frames: FrameSession, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="keep_models=true"):
        load(tmp_path / "none.pt", session=frames, config=settings())
    (tmp_path / "a.pt").write_text("no")
    with pytest.raises(UserError, match="not a model"):
        load(tmp_path / "a.pt", session=frames, config=settings())


def test_a_window_regression_is_a_sum_over_frames() -> None:
    rng = np.random.default_rng(0)
    weights, intercept = rng.normal(size=(3, 4, 2)), rng.normal(size=2)
    x = torch.from_numpy(rng.normal(size=(1, 6, 4))).float()
    found = WindowRegression(weights, intercept, before=1)(x, torch.ones(1, 6))[0][0]
    for t in range(6):
        there = [(k, t + k - 1) for k in range(3) if 0 <= t + k - 1 < 6]
        wanted = intercept + sum(x[0, s].numpy() @ weights[k] for k, s in there)
        np.testing.assert_allclose(found[t], wanted, rtol=1e-4, atol=1e-5)
