"""``neuroformer pretrain`` and pretrain.py: one generative model of many sessions."""

from __future__ import annotations

import sys

from neuroformer.cli.command import Command
from neuroformer.settings.training import PretrainConfig


def run(config: PretrainConfig) -> int:
    """Train and print where the results are; the exit code is above 128 where a signal stopped the run."""
    from lightning.pytorch.utilities import rank_zero_only

    from neuroformer.training.run import pretrain
    from neuroformer.training.stop import RunStoppedError

    try:
        metrics = pretrain(config, command=COMMAND.name)
    except RunStoppedError as stop:
        if not getattr(rank_zero_only, "rank", 0):  # one of several processes speaks
            print(stop, file=sys.stderr, flush=True)
        return stop.exit_code
    if getattr(rank_zero_only, "rank", 0):
        return 0
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
    print(f"results: {config.out}    next: neuroformer evaluate run={config.out}")
    return 0


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
