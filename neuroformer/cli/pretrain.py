"""``neuroformer pretrain`` and pretrain.py: one generative model of many sessions."""

from __future__ import annotations

from typing import Any

from neuroformer.cli.command import Command
from neuroformer.cli.training import train_and_tell
from neuroformer.settings.training import PretrainConfig


def run(config: PretrainConfig) -> int:
    """Train and print where the results are."""
    from neuroformer.training.run import pretrain

    return train_and_tell(lambda: pretrain(config, command=COMMAND.name), _tell, config.out)


def _tell(metrics: dict[str, Any]) -> None:
    score = metrics["val_bits_per_spike"]
    print(
        f"{metrics['steps']} steps, {metrics['events_trained']:,} events in {metrics['seconds']:.0f} s "
        f"({metrics['events_per_s']:,.0f} events/s); validation {score:.4f} bits/spike"
        if score is not None
        else f"{metrics['steps']} steps in {metrics['seconds']:.0f} s; no validation"
    )
    if metrics.get("skipped_steps"):
        print(
            f"{metrics['skipped_steps']} steps were dropped for their loss or gradient (optim.on_bad_loss=skip)"
        )


COMMAND = Command(
    name="neuroformer pretrain",
    summary="Train a model on the events of one or many sessions.",
    config=PretrainConfig,
    run=run,
    examples=(
        "neuroformer pretrain --config configs/mouse_ca1.yaml out=out/ca1",
        "neuroformer pretrain 'data.sessions=[sessions/*.h5]' data.bin_s=0.02 out=out/first",
        "neuroformer pretrain --config out/ca1/config.yaml resume=auto",
    ),
)
