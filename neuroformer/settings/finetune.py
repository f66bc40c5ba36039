"""Settings of fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from neuroformer.settings.data import DataConfig
from neuroformer.settings.training import OptimConfig


@dataclass(kw_only=True)
class FinetuneConfig:
    """Bring new sessions into a pretrained model."""

    run: str
    """Folder of the pretrain run to start from."""
    checkpoint: str = "best"
    """Checkpoint of the run: `best`, `last`, or a file."""
    sessions: list[str]
    """Session files to add or to tune on; wildcards are allowed."""
    out: str
    """Folder of the new run; every command that reads a pretrain run reads it too."""
    overwrite: bool = False
    """Replace a finished run in `out`."""
    mode: Literal["units", "full"] = "units"
    """What learns: `units`, only what belongs to the new sessions and their units, so that the model of the old ones
    stays as it is, bit by bit; `full`, everything."""
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(steps=300))
    """The optimiser."""
    val_every: int = 50
    """Steps between two validations."""
    patience: int = 0
    """Stop after this many validations without improvement; 0 never stops early."""
    seed: int = 0
    """Seed of the new embeddings, of dropout and of the batches."""
    trainer: dict[str, Any] = field(default_factory=dict)
    """Any setting of Lightning's Trainer."""


def finetune_data(config: FinetuneConfig, trained_on: DataConfig) -> DataConfig:
    """The data settings of the pretrain run with the new sessions: one clock, one way to split."""
    return replace(trained_on, sessions=list(config.sessions), seed=config.seed)
