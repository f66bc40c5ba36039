"""What a run compares: the backbones that were asked for, and the controls that each language model brings.

Text weights have helped if a pretrained model beats all of its controls: the same architecture untrained (is it the
architecture?), with its weights shuffled within each matrix (is it their distribution?), a trunk from scratch with as
many trained parameters (is it their number?), and what a lab would use (LSTM, ridge).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from neuroformer.errors import UserError
from neuroformer.frames.backbones.build import build_backbone
from neuroformer.frames.backbones.checkpoint import INSTALLED, is_installed
from neuroformer.settings.backbones import ALWAYS, BUILT_IN, BackboneConfig, BackbonesConfig


@dataclass(frozen=True, kw_only=True)
class Method:
    """One row of the table.

    Attributes:
        name: of the method.
        config: of its backbone; of a matched trunk its width is open.
        language_model: whose control this is, or which this is; empty for what stands for itself.
        matched: whether the trunk is to get as many trained parameters as the language model.
    """

    name: str
    config: BackboneConfig
    language_model: str = ""
    matched: bool = False

    @property
    def is_pretrained(self) -> bool:
        """Whether this is a language model with its text weights."""
        return self.name == self.language_model

    @property
    def is_drawn(self) -> bool:
        """Whether a seed makes a difference."""
        return self.config.kind not in ("ridge", "mean")


def list_methods(config: BackbonesConfig) -> list[Method]:
    """All rows of the table, each language model with its controls.

    Raises:
        UserError: a language model asked for is not installed.
    """
    asked = config.backbones or [n for n in BUILT_IN if n not in INSTALLED or is_installed(n)] + list(
        config.models
    )
    found: dict[str, Method] = {}
    for name in [*asked, *(n for n in ALWAYS if n not in asked)]:
        backbone = settings_of(name, config)
        if backbone.kind != "transformers":
            found[name] = Method(name=name, config=backbone)
            continue
        if backbone.weights != "pretrained":
            raise UserError(
                f"models.{name}.weights={backbone.weights}: expected pretrained; its untrained and shuffled controls "
                "are in the run anyway"
            )
        for weights in ("pretrained", "untrained", "shuffled"):
            title = name if weights == "pretrained" else f"{name}_{weights}"
            found[title] = Method(name=title, config=replace(backbone, weights=weights), language_model=name)
        found[f"{name}_matched"] = Method(
            name=f"{name}_matched", config=BackboneConfig(kind="trunk"), language_model=name, matched=True
        )
    return list(found.values())


def settings_of(name: str, config: BackbonesConfig) -> BackboneConfig:
    """Settings of a backbone by name."""
    if name in config.models:
        return config.models[name]
    if name in INSTALLED:
        layers = config.layers
        if name == "minilm" and layers is not None:
            layers = min(layers, 6)
        return BackboneConfig(layers=layers, tuning=config.tuning, **INSTALLED[name])  # type: ignore[arg-type]
    if name.startswith("ridge"):
        return BackboneConfig(kind="ridge", causal=name != "ridge_centered")
    return BackboneConfig(kind=name)  # type: ignore[arg-type]


def count_trained(backbone: BackboneConfig, n_inputs: int, n_targets: int) -> int:
    """Trained parameters of a trunk with its embedding and head, for frames of `n_inputs` numbers."""
    with torch.device("meta"):
        body = build_backbone(backbone, seed=0)
    own = sum(p.numel() for p in body.parameters())
    return own + (n_inputs + 2) * body.width + (body.width + 1) * n_targets


def match_trunk(
    n_trained: int, *, n_inputs: int, n_targets: int, causal: bool, layers: int = 2
) -> BackboneConfig:
    """The trunk whose number of trained parameters is nearest, with heads of 16 or, if it is narrow, fewer.

    Args:
        n_trained: parameters to match.
        n_inputs: numbers that an embedding is linear in.
        n_targets: D.
        causal: whether it looks back alone.
        layers: of the trunk.
    """
    best: tuple[int, BackboneConfig] | None = None
    for config in _widths(causal, layers):
        count = count_trained(config, n_inputs, n_targets)
        gap = abs(count - n_trained)
        if best is None or gap < best[0]:
            best = gap, config
        if count > n_trained:
            break
    assert best is not None
    return best[1]


def _widths(causal: bool, layers: int) -> Iterator[BackboneConfig]:
    width = 8
    while True:
        heads = max(1, width // 16)
        while width % (2 * heads):
            heads -= 1
        yield BackboneConfig(kind="trunk", width=width, heads=heads, layers=layers, causal=causal)
        width += 8 if width < 256 else 32
