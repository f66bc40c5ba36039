"""Decoders of frames, trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from neuroformer.frames.methods import count_trained, list_methods, match_trunk
from neuroformer.frames.session import FrameSession
from neuroformer.frames.training import build_decoder, train_decoder, validation_loss
from neuroformer.settings.backbones import BackboneConfig, BackbonesConfig

Settings = Callable[..., BackbonesConfig]


@pytest.mark.parametrize("kind", ["trunk", "lstm"])
def test_it_learns_and_does_so_alike_each_time(kind: str, frames: FrameSession, settings: Settings) -> None:
    backbone = BackboneConfig(kind=kind, width=16, heads=2)  # type: ignore[arg-type]
    config = settings(steps=50, lr=1e-2, patience=9)
    fits = [train_decoder(frames, backbone, config, seed=seed) for seed in (3, 3, 4)]
    (test,) = frames.parts["test"]
    said = [fit.predict(test, config) for fit in fits]
    assert (said[0] == said[1]).all()
    assert not np.allclose(said[0], said[2])
    assert fits[0].val_loss < 0.5
    assert validation_loss(fits[0], frames, config) == pytest.approx(
        fits[0].val_loss
    )  # the best is given back


def test_a_gaussian_head_and_regions(frames: FrameSession, settings: Settings) -> None:
    config = settings(loss="gaussian", embedding="regions", region_width=3, steps=60, lr=1e-2)
    backbone = BackboneConfig(kind="trunk", width=16, heads=2)
    fit = train_decoder(frames, backbone, config, seed=0)
    assert fit.model.embedding.out.in_features == 6
    assert fit.model.head.out_features == 6
    assert fit.val_loss < 0.9
    x, seen = torch.randn(3, 5, 8), torch.ones(3, 5, dtype=torch.bool)
    mean, log_spread = fit.model(x, seen)
    y, known = torch.randn(3, 5, 3), torch.rand(3, 5, 3) > 0.3
    normal = torch.distributions.Normal(mean, log_spread.clamp(-4, 4).exp())
    torch.testing.assert_close(fit.model.loss(x, seen, y, known), -normal.log_prob(y)[known].mean())


def test_unknown_targets_and_unseen_frames_do_not_count(frames: FrameSession, settings: Settings) -> None:
    model = build_decoder(frames, BackboneConfig(kind="trunk", width=16, heads=2), settings(), seed=0)
    x, seen = torch.randn(2, 6, 8), torch.ones(2, 6, dtype=torch.bool)
    seen[0, 2] = False
    y, known = torch.randn(2, 6, 3), torch.rand(2, 6, 3) > 0.5
    other_x, other_y = x.clone(), y.clone()
    other_x[0, 2] = 99
    other_y[~known] = 99
    assert model.loss(x, seen, y, known) == model.loss(other_x, seen, other_y, known)
    x.requires_grad_()
    model(x, seen)[0].sum().backward()
    assert x.grad is not None
    assert x.grad[0, 2].abs().max() == 0
    assert x.grad[1].abs().min() > 0


def test_a_frozen_checkpoint_stays_and_controls_differ_in_it_alone(
    frames: FrameSession, settings: Settings, tiny: Callable[[str], Path]
) -> None:
    config = settings(steps=10)
    backbone = BackboneConfig(path=str(tiny("llama")))
    before = build_decoder(frames, backbone, config, seed=0)
    after = train_decoder(frames, backbone, config, seed=0)
    for a, b in zip(before.backbone.parameters(), after.model.backbone.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(before.head.weight, after.model.head.weight)
    shuffled = BackboneConfig(path=str(tiny("llama")), weights="shuffled")
    control = build_decoder(frames, shuffled, config, seed=0)
    assert torch.equal(control.embedding.out.weight, before.embedding.out.weight)
    assert torch.equal(control.head.weight, before.head.weight)
    assert not torch.equal(
        next(p for n, p in control.backbone.named_parameters() if "q_proj" in n),
        next(p for n, p in before.backbone.named_parameters() if "q_proj" in n),
    )


def test_the_matched_trunk_has_as_many_trained_parameters(frames: FrameSession, settings: Settings) -> None:
    for wanted in (3_000, 90_000, 1_500_000):
        config = match_trunk(wanted, n_inputs=150, n_targets=2, causal=True)
        assert count_trained(config, 150, 2) == pytest.approx(wanted, rel=0.2)
    small = match_trunk(5_000, n_inputs=8, n_targets=3, causal=False)
    model = build_decoder(frames, small, settings(), seed=0)
    assert sum(p.numel() for p in model.parameters()) == count_trained(small, 8, 3)
    assert not model.backbone.causal


def test_a_language_model_brings_its_controls(settings: Settings, tiny: Callable[[str], Path]) -> None:
    config = settings(backbones=["tiny"], models={"tiny": BackboneConfig(path=str(tiny("bert")))})
    names = [m.name for m in list_methods(config)]
    assert names == ["tiny", "tiny_untrained", "tiny_shuffled", "tiny_matched", "lstm", "ridge", "mean"]
