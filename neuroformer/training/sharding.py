"""Models whose weights and optimiser state are spread over the processes (FSDP)."""

from __future__ import annotations

from typing import Any


def sharded_strategy(name: Any) -> Any:
    """What `trainer.strategy` means to Lightning's Trainer."""
    return name
