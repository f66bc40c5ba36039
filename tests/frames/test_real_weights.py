"""Checkpoints that come in Python packages: what is called pretrained is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from neuroformer.frames.backbones import build_backbone
from neuroformer.frames.backbones.checkpoint import INSTALLED, is_installed, locate
from neuroformer.settings.backbones import BackboneConfig


def configured(name: str, **more: object) -> BackboneConfig:
    if not is_installed(name):
        pytest.skip(f"{name} is not installed (docs/backbones.md says how)")
    return BackboneConfig(**INSTALLED[name], **more)  # type: ignore[arg-type]


def test_minilm_knows_what_sentences_mean() -> None:
    transformers = pytest.importorskip("transformers")
    folder = locate(configured("minilm").path)
    words = transformers.AutoTokenizer.from_pretrained(folder)
    table = transformers.AutoModel.from_pretrained(folder).get_input_embeddings()

    def likeness(weights: str) -> tuple[float, float]:
        torch.manual_seed(0)
        model = build_backbone(configured("minilm", weights=weights), seed=0).eval()
        vectors = []
        for text in ("A cat sits on the mat.", "A kitten rests upon a rug.", "Interest rates rose in March."):
            with torch.no_grad():
                found = model(table(words(text, return_tensors="pt").input_ids))[0].mean(0)
            vectors.append(found / found.norm())
        return float(vectors[0] @ vectors[1]), float(vectors[0] @ vectors[2])

    near, far = likeness("pretrained")
    assert near > 0.5 > 0.2 > far
    for control in ("untrained", "shuffled"):
        near, far = likeness(control)
        assert near - far < 0.15


@pytest.mark.slow  # reading the GGUF file takes most of a minute
@pytest.mark.timeout(900)
def test_smollm2_predicts_text() -> None:
    transformers, gguf = pytest.importorskip("transformers"), pytest.importorskip("gguf")
    config = configured("smollm2")
    folder = locate(config.path)
    words = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=config.gguf_file)
    ids = words("The capital of France is Paris, and the capital of Germany is Berlin.").input_ids
    stored = {t.name: t for t in gguf.GGUFReader(Path(folder) / config.gguf_file).tensors}[
        "token_embd.weight"
    ]
    table = torch.from_numpy(gguf.dequantize(stored.data, stored.tensor_type).copy())  # of words, in and out
    losses = {}
    for weights in ("pretrained", "shuffled"):
        model = build_backbone(configured("smollm2", weights=weights), seed=0).eval()
        assert model.causal
        assert model.input_scale == pytest.approx(float(table.std()), rel=1e-3)
        with torch.no_grad():
            logits = model(table[ids][None])[0] @ table.T
        losses[weights] = float(torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:])))
    assert losses["pretrained"] < 2.5
    assert losses["shuffled"] > 6
