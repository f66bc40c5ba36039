"""Language models of `transformers` as backbones: frames go in where embedded words would.

Encoders and decoders alike, mixtures of experts too; whether one looks ahead is found by trying it. The weights are
frozen, tuned, or adapted by LoRA (Hu et al. 2021, arXiv 2106.09685).
"""

from __future__ import annotations

import copy
import tempfile
import warnings
from typing import Any

import torch
from torch import Tensor

from neuroformer.errors import UserError
from neuroformer.frames.backbones.backbone import Backbone, looks_ahead
from neuroformer.frames.backbones.checkpoint import load_checkpoint_model, need, untrained, with_causality
from neuroformer.frames.backbones.shuffle import shuffle_weights
from neuroformer.settings.backbones import BackboneConfig


class LanguageModel(Backbone):
    """A model of `transformers` without its words.

    Args:
        config: which, its weights, and which of these are trained.
        seed: of the permutation of shuffled weights.
        device: where it will run; bits need CUDA.

    Raises:
        UserError: it cannot be loaded, or cannot be what is asked.
    """

    def __init__(self, config: BackboneConfig, *, seed: int, device: str = "cpu") -> None:
        """See the class."""
        super().__init__()
        if config.bits is not None and not (device.startswith("cuda") and torch.cuda.is_available()):
            raise UserError(f"bits={config.bits}: weights of so few bits need a CUDA device; leave bits out")
        original: Any = load_checkpoint_model(config.path, config.gguf_file, config.layers)
        model = untrained(original) if config.weights == "untrained" else copy.deepcopy(original)
        self.input_scale = float(model.token_scale)
        if config.weights == "shuffled":
            shuffle_weights(model, seed)
        settings = model.config.get_text_config()
        self.width = int(settings.hidden_size)
        if config.causal is not None and getattr(settings, "is_decoder", config.causal) != config.causal:
            model = with_causality(model, config.causal)
        if config.bits is not None:
            model = _quantised(model, config.bits, device)
        self.frozen = config.tuning == "frozen"
        model.requires_grad_(config.tuning == "full")
        # The token table is not looked at, and would count among what is trained.
        model.get_input_embeddings().requires_grad_(False)
        if config.tuning == "lora":
            peft = need("peft", "tuning=lora")
            lora = peft.LoraConfig(
                r=config.lora_rank, lora_alpha=2 * config.lora_rank, target_modules="all-linear"
            )
            with warnings.catch_warnings():
                # peft asks transformers in words that the latter is about to drop
                warnings.simplefilter("ignore", FutureWarning)
                model = peft.get_peft_model(model, lora)
        self.model = model
        self.train()
        self.causal = not looks_ahead(self)
        if config.causal is not None and config.causal != self.causal:
            raise UserError(
                f"{config.path}: causal={str(config.causal).lower()}, and the model "
                f"{'does not look' if self.causal else 'looks'} ahead; leave causal out"
            )

    def train(self, mode: bool = True) -> LanguageModel:
        """As usual, but a frozen model has no dropout."""
        super().train(mode)
        if self.frozen:
            self.model.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, width) last hidden states of tokens (B, T, width)."""
        found: Tensor = self.model(inputs_embeds=x, use_cache=False).last_hidden_state
        return found.float()

    def attention(self, x: Tensor) -> Tensor | None:
        """(B, layers, T, T) attention weights at tokens (B, T, width), mean over heads; None if it tells none."""
        inner = getattr(self.model, "base_model", self.model)  # within LoRA's
        inner = getattr(inner, "model", inner) if hasattr(inner, "peft_config") else inner
        usual = getattr(inner.config, "_attn_implementation", None)
        try:
            inner.set_attn_implementation("eager")  # the fused ones do not tell their weights
            found = self.model(inputs_embeds=x, use_cache=False, output_attentions=True).attentions
        except (AttributeError, ValueError, TypeError):
            return None
        finally:
            if usual is not None and hasattr(inner, "set_attn_implementation"):
                inner.set_attn_implementation(usual)
        return None if not found else torch.stack([each.float().mean(1) for each in found], 1)


def _quantised(model: Any, bits: int, device: str) -> Any:
    """The same weights in 4 or 8 bits; written to a folder first, as quantisation happens while loading."""
    transformers = need("transformers", f"bits={bits}")
    need("bitsandbytes", f"bits={bits}")
    scale = model.token_scale
    settings = transformers.BitsAndBytesConfig(load_in_4bit=bits == 4, load_in_8bit=bits == 8)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        found = type(model).from_pretrained(folder, quantization_config=settings, device_map={"": device})
    found.token_scale = scale
    return found
