"""``neuroformer pretrain`` and pretrain.py: one generative model of many sessions."""

from __future__ import annotations

from neuroformer.cli.command import Command
from neuroformer.settings.training import PretrainConfig


def run(config: PretrainConfig) -> None:
    """Train and print where the results are."""
    from neuroformer.training.run import pretrain

    metrics = pretrain(config, command=COMMAND.name)
    score = metrics["val_bits_per_spike"]
    print(
        f"{metrics['steps']} steps, {metrics['events_trained']:,} events in {metrics['seconds']:.0f} s "
        f"({metrics['events_per_s']:,.0f} events/s); validation {score:.4f} bits/spike"
        if score is not None
        else f"{metrics['steps']} steps in {metrics['seconds']:.0f} s; no validation"
    )
    print(f"results: {config.out}    next: neuroformer evaluate run={config.out}")


COMMAND = Command(
    name="neuroformer pretrain",
    summary="Train a model on the events of one or many sessions.",
    config=PretrainConfig,
    run=run,
    examples=(
        "neuroformer pretrain --config configs/mouse_ca1.yaml out=out/ca1",
        "neuroformer pretrain 'data.sessions=[sessions/*.h5]' data.bin_s=0.02 out=out/first",
        "neuroformer pretrain --config out/ca1/config.yaml resume=out/ca1/checkpoints/last.ckpt",
    ),
)
