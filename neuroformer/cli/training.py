"""What `pretrain` and `finetune` share at the command line: which process speaks, and the exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def train_and_tell(
    train: Callable[[], dict[str, Any]], tell: Callable[[dict[str, Any]], None], out: str
) -> int:
    """Train and print what came of it; of several processes the first one speaks.

    Args:
        train: gives the content of metrics.json.
        tell: prints what it says.
        out: folder of the run.

    Returns:
        The exit code: above 128 where a signal stopped the run.
    """
    from lightning.pytorch.utilities import rank_zero_only

    from neuroformer.training.stop import RunStoppedError

    try:
        metrics = train()
    except RunStoppedError as stop:
        if not getattr(rank_zero_only, "rank", 0):
            print(stop, file=sys.stderr, flush=True)
        return stop.exit_code
    if not getattr(rank_zero_only, "rank", 0):
        tell(metrics)
        print(f"results: {out}    next: neuroformer evaluate run={out}")
    return 0
