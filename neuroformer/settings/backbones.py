"""Settings of `neuroformer backbones`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from neuroformer.settings.data import SplitConfig

BUILT_IN = ("smollm2", "minilm", "trunk", "lstm", "reservoir", "ridge", "ridge_centered", "mean")
"""Backbones that have a name without `models`."""
ALWAYS = ("lstm", "ridge", "mean")
"""Baselines of every run, asked for or not."""


@dataclass(kw_only=True)
class BackboneConfig:
    """What lies between the embedding of a frame and the head."""

    kind: Literal["transformers", "trunk", "lstm", "reservoir", "ridge", "mean"] = "transformers"
    """`transformers`: any encoder or decoder of that package; `trunk`: this project's transformer blocks; `lstm`;
    `reservoir`: a fixed random network with a ridge readout; `ridge`: linear in the window; `mean` of the training."""
    path: str = ""
    """For `transformers`: folder of a checkpoint, name on the hub, or package:MODULE/FOLDER inside a Python package."""
    gguf_file: str = ""
    """For `transformers`: name of the GGUF file in that folder, if it is one."""
    layers: int | None = None
    """First layers that are kept of a checkpoint (all by default), or layers of a trunk (2) or LSTM (1)."""
    weights: Literal["pretrained", "untrained", "shuffled"] = "pretrained"
    """For `transformers`: as in the checkpoint, drawn anew, or those of the checkpoint permuted within each matrix."""
    tuning: Literal["frozen", "full", "lora"] = "frozen"
    """For `transformers`: which weights are trained, beside embedding and head; `lora`: low-rank additions."""
    lora_rank: int = 8
    """Rank of those additions."""
    bits: int | None = None
    """For `transformers`: 4 or 8 keeps the weights in so many bits (CUDA and the package bitsandbytes)."""
    causal: bool | None = None
    """Whether a bin is predicted from itself and what was before it in the window, and not from the whole window. By
    default that of a checkpoint, and true otherwise."""
    width: int | None = None
    """Width of a trunk (64), LSTM (128) or reservoir (256); a checkpoint has its own."""
    heads: int = 4
    """Attention heads of a trunk."""
    radius: float = 0.9
    """Spectral radius of a reservoir."""
    leak: float = 0.5
    """Part of a reservoir's state that is new in each bin."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.kind == "transformers" and not self.path:
            raise ValueError("path is empty: expected a folder, a name on the hub, or package:MODULE/FOLDER")
        if self.bits not in (None, 4, 8):
            raise ValueError(f"bits={self.bits}: expected 4 or 8")
        if self.bits is not None and self.tuning == "full":
            raise ValueError(
                f"bits={self.bits} with tuning=full: quantised weights are not trained, use lora"
            )
        for name, value in (("layers", self.layers), ("width", self.width), ("lora_rank", self.lora_rank)):
            if value is not None and value < 1:
                raise ValueError(f"{name}={value}: expected 1 or more")
        if self.heads < 1 or (
            self.kind == "trunk" and self.width is not None and self.width % (2 * self.heads)
        ):
            raise ValueError(
                f"width={self.width}, heads={self.heads}: expected a multiple of twice the heads"
            )
        if self.kind == "lstm" and self.causal is False and (self.width or 2) % 2:
            raise ValueError(f"width={self.width}: expected an even one, half for each direction")
        if not (self.radius > 0 and 0 < self.leak <= 1):
            raise ValueError(f"radius={self.radius:g}, leak={self.leak:g}: expected above 0, and up to 1")


@dataclass(kw_only=True)
class BackbonesConfig:
    """Decode behaviour from frames of the population through language models and other backbones, with controls.

    A frame is the activity of all units in one bin. Each language model brings its controls, asked for or not:
    NAME_untrained (weights drawn anew), NAME_shuffled (weights permuted within each matrix) and NAME_matched (this
    project's trunk, from scratch, with as many trained parameters); lstm, ridge and mean are in every run. ridge and
    ridge_centered see the frames up to a bin, and those on both sides of it.
    """

    sessions: list[str]
    """Session files; wildcards are allowed. Each is fitted by itself."""
    targets: list[str]
    """Behaviour to decode, continuous series of the files."""
    out: str
    """Folder of the results; a run that was stopped goes on where it was."""
    overwrite: bool = False
    """Start anew where `out` has results."""
    keep_models: bool = False
    """Keep what was fitted in `out`/models, for neuroformer salience."""
    backbones: list[str] = field(default_factory=list)
    """smollm2, minilm, trunk, lstm, reservoir, ridge, ridge_centered, mean, and names from `models`; by default all
    of them, of smollm2 and minilm those whose weights are installed."""
    models: dict[str, BackboneConfig] = field(default_factory=dict)
    """Further backbones by name, as in models.gpt2.path=openai-community/gpt2."""
    layers: int | None = None
    """First layers that are kept of smollm2 (of 30) and minilm (of 6); by default all."""
    tuning: Literal["frozen", "full", "lora"] = "frozen"
    """Which weights of smollm2 and minilm are trained."""
    input: Literal["auto", "traces", "events"] = "auto"
    """What a frame holds of each unit: the mean of its trace, or its events; `auto`: traces where there are any."""
    bin_s: float = 0.1
    """Width of a bin in seconds, one frame each."""
    window: int = 20
    """Frames in a window."""
    prediction: Literal["overlap", "last"] = "overlap"
    """Of a bin: the mean over all windows that hold it, or that of the window which ends with it."""
    embedding: Literal["linear", "regions"] = "linear"
    """Of a frame: one linear map of all units, or one of each region's, then one of these."""
    region_width: int = 16
    """Numbers that a region is reduced to."""
    split: SplitConfig = field(default_factory=SplitConfig)
    """Training, validation and test; gaps are a window long unless more is asked for."""
    loss: Literal["mse", "gaussian"] = "mse"
    """Squared error, or the likelihood of a normal distribution whose spread is predicted too."""
    steps: int = 300
    """Steps of AdamW, at most."""
    batch_size: int = 8
    """Windows in a step."""
    lr: float = 1e-3
    """Learning rate of embedding and head, and of a trunk and LSTM."""
    lr_backbone: float = 1e-4
    """Learning rate of a language model's own weights, where they are trained."""
    weight_decay: float = 0.01
    """Of AdamW."""
    dropout: float = 0.2
    """On the units of a frame, in training."""
    val_every: int = 25
    """Steps between validations; the best of them is kept."""
    patience: int = 4
    """Validations without a better one after which training ends."""
    seeds: list[int] = field(default_factory=lambda: [0])
    """Of everything that is drawn: initial weights, batches, shuffled weights. Each is a fit of its own."""
    penalties: list[float] = field(default_factory=lambda: [10 ** (k / 2) for k in range(-6, 9)])
    """Penalties that ridge regressions try, relative to the mean squared length of a feature vector."""
    block_s: float = 10.0
    """Seconds of test time drawn together for the intervals of one session; longer than the memory of errors."""
    workers: int = 1
    """Fits at the same time, each in a process of its own that reads sessions and checkpoints for itself."""
    device: str = "auto"
    """cpu, cuda, or auto."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if not self.targets:
            raise ValueError("targets is empty: name behaviour to decode, such as targets=[velocity]")
        for name in self.models:
            if name in BUILT_IN or name.endswith(("_untrained", "_shuffled", "_matched")):
                raise ValueError(f"models.{name}: the name is taken, choose another")
        known = (*BUILT_IN, *self.models)
        for name in self.backbones:
            if name not in known:
                raise ValueError(
                    f"backbones: unknown {name!r}; expected any of {', '.join(known)}, or models.{name}"
                )
        for name in ("bin_s", "lr", "lr_backbone", "block_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name):g}: expected a number above 0")
        for name in ("steps", "batch_size", "val_every", "patience", "region_width", "workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected 1 or more")
        if self.window < 2:
            raise ValueError(f"window={self.window}: expected 2 frames or more")
        if not (0 <= self.dropout < 1 and self.weight_decay >= 0):
            raise ValueError(
                f"dropout={self.dropout:g}, weight_decay={self.weight_decay:g}: expected [0, 1), 0 or more"
            )
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds={self.seeds}: expected different numbers, 0 or more")
        if not self.penalties or min(self.penalties) <= 0:
            raise ValueError(f"penalties={self.penalties}: expected numbers above 0")
        if self.layers is not None and self.layers < 1:
            raise ValueError(f"layers={self.layers}: expected 1 or more")
