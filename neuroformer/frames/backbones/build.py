"""The backbone that the settings name."""

from __future__ import annotations

from neuroformer.frames.backbones.backbone import Backbone
from neuroformer.frames.backbones.language import LanguageModel
from neuroformer.frames.backbones.recurrent import LSTM, Reservoir
from neuroformer.frames.backbones.trunk import TrunkBackbone
from neuroformer.settings.backbones import BackboneConfig


def build_backbone(config: BackboneConfig, *, seed: int, device: str = "cpu") -> Backbone:
    """Build a backbone; its initial weights come from torch's generator, shuffled ones from `seed`.

    Args:
        config: its settings; ridge and mean are none (`neuroformer.frames.linear`).
        seed: of the permutation of shuffled weights.
        device: where it will run; the caller moves it there.

    Raises:
        UserError: a package or a checkpoint is not there, or cannot do what is asked.
    """
    causal = config.causal is not False
    match config.kind:
        case "transformers":
            return LanguageModel(config, seed=seed, device=device)
        case "trunk":
            return TrunkBackbone(
                width=config.width or 16 * config.heads,
                layers=config.layers or 2,
                heads=config.heads,
                causal=causal,
            )
        case "lstm":
            return LSTM(width=config.width or 128, layers=config.layers or 1, causal=causal)
        case "reservoir":
            return Reservoir(width=config.width or 256, radius=config.radius, leak=config.leak)
    raise ValueError(f"{config.kind} is not a module")
