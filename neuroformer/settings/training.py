"""Settings of a pretraining run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from neuroformer.settings.context import TaskConfig
from neuroformer.settings.data import DataConfig
from neuroformer.settings.linear_readout import LinearReadoutConfig
from neuroformer.settings.model import ModelConfig


@dataclass(kw_only=True)
class OptimConfig:
    """AdamW with warm-up and cosine decay."""

    steps: int = 800
    """Training steps (batches)."""
    lr: float = 0.01
    """Peak learning rate of intensities and embeddings."""
    block_lr: float = 0.002
    """Peak learning rate of the transformer blocks."""
    warmup: float = 0.2
    """Fraction of the steps over which the learning rate rises; the rest is a cosine down to zero."""
    weight_decay: float = 0.01
    """Decay of the weights of blocks and projections; weights with a posterior have their prior instead."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    on_bad_loss: Literal["stop", "skip"] = "stop"
    """When the loss or the gradient of a step is no finite number, or the loss is far above what it was (far_loss):
    `stop` ends the run; `skip` drops the step, says so, counts it in log.csv and metrics.json, and goes on."""
    bad_in_a_row: int = 10
    """With on_bad_loss=skip: more dropped steps in a row than this end the run."""
    far_loss: float = 0.0
    """A loss is far above what it was when it exceeds the median of the last 100 losses by more than this many times
    their median deviation from it; 0: never. Tasks differ in their losses, so take at least 20."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.steps < 1:
            raise ValueError(f"optim.steps={self.steps}: expected 1 or more")
        if not (self.lr > 0 and self.block_lr > 0):
            raise ValueError(
                f"optim.lr={self.lr:g}, optim.block_lr={self.block_lr:g}: expected numbers above 0"
            )
        if not 0 <= self.warmup < 1:
            raise ValueError(f"optim.warmup={self.warmup:g}: expected 0 or more and below 1")
        if not self.clip > 0:
            raise ValueError(f"optim.clip={self.clip:g}: expected a number above 0")
        if self.bad_in_a_row < 1:
            raise ValueError(f"optim.bad_in_a_row={self.bad_in_a_row}: expected 1 or more")
        if self.far_loss < 0:
            raise ValueError(f"optim.far_loss={self.far_loss:g}: expected 0 or more")


@dataclass(kw_only=True)
class PretrainConfig:
    """Pretrain one generative model on the events of one or many sessions."""

    out: str
    """Folder of the run: config.yaml, log.csv, checkpoints/, figures/, metrics.json."""
    overwrite: bool = False
    """Replace a finished run in `out`."""
    data: DataConfig = field(default_factory=DataConfig)
    """Which sessions, and how they are cut into tokens and chunks."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """The model."""
    tasks: TaskConfig = field(default_factory=TaskConfig)
    """Odds of the tasks; without stimulus or behaviour every batch is of the task `spikes`."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """The optimiser."""
    linear_readout: LinearReadoutConfig = field(default_factory=LinearReadoutConfig)
    """Linear readouts of behaviour, learned when training ends."""
    val_every: int = 100
    """Steps between two validations; checkpoints are written then."""
    checkpoint_every: int = 0
    """Steps between two further writes of checkpoints/last.ckpt, for when validations are far apart; 0: none."""
    patience: int = 0
    """Stop after this many validations without improvement; 0 never stops early."""
    resume: str | None = None
    """Checkpoint to go on from, usually OUT/checkpoints/last.ckpt; `auto`: that one if it is there, else begin, and
    nothing if the run is finished. The run ends as if it had not been interrupted."""
    seed: int = 0
    """Seed of initial weights, dropout and (with data.seed) batches."""
    compile: bool = False
    """Compile the transformer blocks for training by torch.compile, some seconds at the start; needs a C++ compiler, on
    a GPU Triton. The numbers are the same but for rounding and for which dropout is drawn; a resumed run is the same
    but for rounding."""
    wandb: str | None = None
    """Project name to log to Weights & Biases as well (extra `wandb`); null logs to log.csv alone."""
    trainer: dict[str, Any] = field(default_factory=dict)
    """Any setting of Lightning's Trainer, such as trainer.devices=2 or trainer.precision=bf16-mixed."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.val_every < 1:
            raise ValueError(f"val_every={self.val_every}: expected 1 or more")
        if self.patience < 0:
            raise ValueError(f"patience={self.patience}: expected 0 or more")
        if self.checkpoint_every < 0:
            raise ValueError(f"checkpoint_every={self.checkpoint_every}: expected 0 or more")
        if self.resume == "auto" and self.overwrite:
            raise ValueError(
                "resume=auto goes on where the run stopped, overwrite=true begins it again; give one of the two"
            )
