"""``neuroformer finetune`` and finetune.py: new sessions in a pretrained model."""

from __future__ import annotations

from typing import Any

from neuroformer.cli.command import Command
from neuroformer.cli.training import train_and_tell
from neuroformer.settings.finetune import FinetuneConfig


def run(config: FinetuneConfig) -> int:
    """Tune and print where the results are."""
    from neuroformer.training.finetune import finetune

    return train_and_tell(lambda: finetune(config, command=COMMAND.name), _tell, config.out)


def _tell(metrics: dict[str, Any]) -> None:
    score = metrics["val_bits_per_spike"]
    print(
        f"{metrics['steps']} steps in {metrics['seconds']:.0f} s; "
        + ("no validation" if score is None else f"validation {score:.4f} bits/spike")
    )
    if metrics.get("untold"):
        print(
            f"not told by events, at the mean of known units: {', '.join(metrics['untold'])}; what is read out of them "
            "means nothing before labels are used (stages bayes, units)"
        )


COMMAND = Command(
    name="neuroformer finetune",
    summary="Fit a pretrained model to a new animal.",
    config=FinetuneConfig,
    run=run,
    examples=("neuroformer finetune run=out/ca1 'sessions=[sessions/new_mouse.h5]' out=out/ca1_new",),
)
