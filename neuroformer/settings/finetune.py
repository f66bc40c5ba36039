"""Settings of fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from neuroformer.settings.context import TaskConfig
from neuroformer.settings.data import DataConfig, SplitConfig
from neuroformer.settings.training import OptimConfig
from neuroformer.settings.variables import LabelsConfig, VariableConfig

GRADIENT_MODES = ("units", "heads", "full")
ZERO_GRADIENT_MODES = ("encode", "bayes")


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
    mode: Literal["encode", "bayes", "units", "heads", "full"] = "units"
    """What learns: `units`, only what belongs to the new sessions and their units, so that the model of the old ones
    stays as it is, bit by bit; `heads`, the same and the readouts of behaviour; `full`, everything; `bayes`, the
    tuning of the new units alone and without a gradient step, by Bayes' rule under the prior of the units that the
    model knows; `encode`, all that the model keeps of the new units, inferred from their unlabelled events alone,
    without a gradient step and without a label."""
    stages: list[str] = field(default_factory=list)
    """Staged unfreezing: modes one after another, such as [encode, bayes, units, full], the steps shared equally
    among those that learn by gradient; by default the one mode."""
    labels: LabelsConfig = field(default_factory=LabelsConfig)
    """How many labels of the new sessions' training part are used."""
    self_training: int = 0
    """Rounds in which the behaviour of training bins without labels is inferred and then used: with `bayes` rounds of
    expectation-maximisation, with gradient modes rounds of training on behaviour drawn from its posterior; 0 uses
    labels alone. After `encode`, `bayes` itself uses labels alone."""
    variables: dict[str, VariableConfig] = field(default_factory=dict)
    """Variables that the pretrained model lacks and that mode `heads` or `full` adds."""
    split: SplitConfig | None = None
    """How the new sessions are split; by default as those of the run."""
    tasks: TaskConfig | None = None
    """Odds of the tasks; by default those of the run."""
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(steps=300))
    """The optimiser."""
    val_every: int = 50
    """Steps between two validations."""
    patience: int = 0
    """Stop after this many validations without improvement; 0 never stops early."""
    seed: int = 0
    """Seed of the new embeddings, of dropout and of the batches."""
    compile: bool = False
    """Compile the transformer blocks for training by torch.compile, as in pretraining."""
    trainer: dict[str, Any] = field(default_factory=dict)
    """Any setting of Lightning's Trainer."""

    def __post_init__(self) -> None:
        """Check settings against one another."""
        self.stages = self.stages or [self.mode]
        for stage in self.stages:
            if stage not in (*ZERO_GRADIENT_MODES, *GRADIENT_MODES):
                raise ValueError(
                    f"stages: unknown {stage!r}; expected any of "
                    + ", ".join((*ZERO_GRADIENT_MODES, *GRADIENT_MODES))
                )
        if "encode" in self.stages[1:]:
            raise ValueError(f"stages={self.stages}: encode starts from nothing and can only come first")
        if "bayes" in self.stages[2:] or ("bayes" in self.stages[1:] and self.stages[0] != "encode"):
            raise ValueError(
                f"stages={self.stages}: bayes starts from nothing and can only come first, or right after encode"
            )
        if self.self_training < 0:
            raise ValueError(f"self_training={self.self_training}: expected 0 or more rounds")
        if self.self_training and self.stages[0] == "encode" and not set(GRADIENT_MODES) & set(self.stages):
            raise ValueError(
                f"self_training={self.self_training}: with stages={self.stages} nothing uses it (after encode, bayes "
                "uses labels alone); use mode=bayes, or add a stage that learns by gradient"
            )
        if self.variables and not {"heads", "full"} & set(self.stages):
            raise ValueError(
                "variables: new variables need mode=heads or mode=full, so that their readouts learn"
            )


def finetune_data(config: FinetuneConfig, trained_on: DataConfig) -> DataConfig:
    """The data settings of the pretrain run with the new sessions: one clock."""
    return replace(
        trained_on,
        sessions=list(config.sessions),
        seed=config.seed,
        labels=config.labels,
        split=config.split or trained_on.split,
        variables={**trained_on.variables, **config.variables},
    )
