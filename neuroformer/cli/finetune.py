"""``neuroformer finetune`` and finetune.py: new sessions in a pretrained model."""

from __future__ import annotations

import sys

from neuroformer.cli.command import Command
from neuroformer.settings.finetune import FinetuneConfig


def run(config: FinetuneConfig) -> int:
    """Tune and print where the results are; the exit code is above 128 where a signal stopped it."""
    from lightning.pytorch.utilities import rank_zero_only

    from neuroformer.training.finetune import finetune
    from neuroformer.training.stop import RunStoppedError

    try:
        metrics = finetune(config, command=COMMAND.name)
    except RunStoppedError as stop:
        if not getattr(rank_zero_only, "rank", 0):  # one of several processes speaks
            print(stop, file=sys.stderr, flush=True)
        return stop.exit_code
    if getattr(rank_zero_only, "rank", 0):
        return 0
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
    print(f"results: {config.out}    next: neuroformer evaluate run={config.out}")
    return 0


COMMAND = Command(
    name="neuroformer finetune",
    summary="Fit a pretrained model to a new animal.",
    config=FinetuneConfig,
    run=run,
    examples=("neuroformer finetune run=out/ca1 'sessions=[sessions/new_mouse.h5]' out=out/ca1_new",),
)
