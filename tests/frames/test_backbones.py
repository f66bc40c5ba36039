"""Backbones: what they look at, and whether checkpoints are what they say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from neuroformer.errors import UserError
from neuroformer.frames.backbones import build_backbone
from neuroformer.frames.backbones.backbone import looks_ahead
from neuroformer.frames.backbones.checkpoint import locate
from neuroformer.frames.backbones.shuffle import shuffle_weights
from neuroformer.settings.backbones import BackboneConfig

Tiny = Callable[[str], Path]


def tokens(width: int, n: int = 7) -> torch.Tensor:
    return 0.1 * torch.randn(2, n, width, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("kind", ["trunk", "lstm", "reservoir"])
@pytest.mark.parametrize("causal", [True, False])
def test_our_own_look_ahead_only_if_they_say_so(kind: str, causal: bool) -> None:
    torch.manual_seed(0)
    model = build_backbone(BackboneConfig(kind=kind, width=16, heads=2, causal=causal), seed=0)  # type: ignore[arg-type]
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)  # blocks start as the identity, which looks nowhere
    assert model(tokens(16)).shape == (2, 7, 16)
    assert looks_ahead(model) == (not model.causal)
    assert model.causal == (causal or kind == "reservoir")


@pytest.mark.parametrize(("kind", "causal"), [("llama", True), ("mixtral", True), ("bert", False)])
def test_a_checkpoint_gives_what_its_own_model_gives(kind: str, causal: bool, tiny: Tiny) -> None:
    transformers = pytest.importorskip("transformers")
    model = build_backbone(BackboneConfig(path=str(tiny(kind))), seed=0)
    theirs = transformers.AutoModel.from_pretrained(tiny(kind)).eval()
    x = tokens(16)
    torch.testing.assert_close(model(x), theirs(inputs_embeds=x).last_hidden_state)
    assert model.causal == causal
    assert not any(p.requires_grad for p in model.parameters())
    assert not model.train().model.training  # type: ignore[union-attr]
    stored = theirs.get_input_embeddings().weight.std().item()
    assert model.input_scale == pytest.approx(stored, rel=1e-4)


def test_a_mixture_of_experts_has_its_controls(tiny: Tiny) -> None:
    model = build_backbone(BackboneConfig(path=str(tiny("mixtral"))), seed=0)
    for weights in ("untrained", "shuffled"):
        other = build_backbone(BackboneConfig(path=str(tiny("mixtral")), weights=weights), seed=0)  # type: ignore[arg-type]
        assert not torch.allclose(model(tokens(16)), other(tokens(16)), atol=1e-2)
    x = tokens(16).requires_grad_(True)
    model(x)[0, 3].sum().backward()
    assert x.grad is not None
    assert x.grad[0, :4].abs().min() > 0
    assert not x.grad[0, 4:].any()


@pytest.mark.parametrize("kind", ["llama", "mixtral", "bert", "trunk"])
def test_attention_is_what_the_model_does(kind: str, tiny: Tiny) -> None:
    torch.manual_seed(0)
    config = (
        BackboneConfig(kind="trunk", width=16, heads=2)
        if kind == "trunk"
        else BackboneConfig(path=str(tiny(kind)))
    )
    model = build_backbone(config, seed=0).eval()
    x = tokens(16)
    before = model(x)
    weights = model.attention(x)
    assert weights is not None
    assert weights.shape == (2, 2, 7, 7)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 7))
    assert bool(weights.triu(1).any()) == (kind == "bert")
    torch.testing.assert_close(model(x), before)  # asking changes nothing
    assert build_backbone(BackboneConfig(kind="lstm", width=8), seed=0).attention(x) is None


def test_an_encoder_can_be_made_causal(tiny: Tiny) -> None:
    model = build_backbone(BackboneConfig(path=str(tiny("bert")), causal=True), seed=0)
    assert not looks_ahead(model)
    with pytest.raises(UserError, match="does not look ahead"):
        build_backbone(BackboneConfig(path=str(tiny("llama")), causal=False), seed=0)


def test_first_layers_are_kept(tiny: Tiny) -> None:
    transformers = pytest.importorskip("transformers")
    model = build_backbone(BackboneConfig(path=str(tiny("bert")), layers=1), seed=0)
    theirs = transformers.AutoModel.from_pretrained(tiny("bert")).eval()
    x = tokens(16)
    states = theirs(inputs_embeds=x, output_hidden_states=True).hidden_states
    torch.testing.assert_close(model(x), states[1])
    with pytest.raises(UserError, match="layers=5, it has 2"):
        build_backbone(BackboneConfig(path=str(tiny("bert")), layers=5), seed=0)


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_shuffled_keeps_every_matrix_but_for_its_order(kind: str, tiny: Tiny) -> None:
    pretrained = build_backbone(BackboneConfig(path=str(tiny(kind))), seed=0)
    shuffled = build_backbone(BackboneConfig(path=str(tiny(kind)), weights="shuffled"), seed=5)
    again = build_backbone(BackboneConfig(path=str(tiny(kind)), weights="shuffled"), seed=5)
    for (name, a), b, c in zip(
        pretrained.named_parameters(), shuffled.parameters(), again.parameters(), strict=True
    ):
        assert torch.equal(a.flatten().sort().values, b.flatten().sort().values)
        assert torch.equal(b, c)
        if a.ndim >= 2 and len(a) > 1 and a.std() > 0:
            assert not torch.equal(a, b), name
        elif a.ndim < 2:
            assert torch.equal(a, b)
    assert not torch.allclose(pretrained(tokens(16)), shuffled(tokens(16)), atol=1e-2)
    before = [p.clone() for p in pretrained.parameters()]  # the checkpoint in memory is not what was shuffled
    shuffle_weights(build_backbone(BackboneConfig(path=str(tiny(kind))), seed=0), 1)
    assert all(torch.equal(a, b) for a, b in zip(before, pretrained.parameters(), strict=True))


def test_untrained_is_drawn_anew(tiny: Tiny) -> None:
    pretrained = build_backbone(BackboneConfig(path=str(tiny("llama"))), seed=0)
    torch.manual_seed(1)
    fresh = build_backbone(BackboneConfig(path=str(tiny("llama")), weights="untrained"), seed=0)
    other = build_backbone(BackboneConfig(path=str(tiny("llama")), weights="untrained"), seed=0)
    for (name, a), b, c in zip(
        pretrained.named_parameters(), fresh.parameters(), other.parameters(), strict=True
    ):
        assert a.shape == b.shape
        if a.ndim >= 2 and len(a) > 1:
            assert b.std() == pytest.approx(0.02, rel=0.3), name
            assert a.std() > 0.1
            assert not torch.equal(b, c)
    assert fresh.input_scale == pytest.approx(0.02, rel=0.2)


def test_lora_trains_little_and_starts_as_the_checkpoint(tiny: Tiny) -> None:
    pytest.importorskip("peft", reason="peft is not installed: extra llm")
    plain = build_backbone(BackboneConfig(path=str(tiny("llama"))), seed=0)
    model = build_backbone(BackboneConfig(path=str(tiny("llama")), tuning="lora", lora_rank=2), seed=0)
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert trained
    assert all("lora" in n for n in trained)
    torch.testing.assert_close(model(tokens(16)), plain(tokens(16)))
    full = build_backbone(BackboneConfig(path=str(tiny("llama")), tuning="full"), seed=0)
    left = [n for n, p in full.named_parameters() if not p.requires_grad]
    assert left == ["model.embed_tokens.weight"]


def test_weights_that_are_not_there_are_refused(tiny: Tiny, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    for file in tiny("llama").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = safetensors.load_file(tmp_path / "model.safetensors")
    weights.pop("layers.1.mlp.up_proj.weight")
    safetensors.save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"1 weights are not in the checkpoint, layers\.1\.mlp\.up_proj"):
        build_backbone(BackboneConfig(path=str(tmp_path)), seed=0)


def test_faults(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="transformers cannot load it"):
        build_backbone(BackboneConfig(path=str(tmp_path / "none")), seed=0)
    with pytest.raises(UserError, match="need a CUDA device"):
        build_backbone(BackboneConfig(path=str(tiny("llama")), bits=4), seed=0)
    with pytest.raises(UserError, match="the package no_such_weights is not installed; pip install"):
        locate("package:no_such_weights/folder")
