"""Settings of `neuroformer latents`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(kw_only=True)
class LatentsConfig:
    """Export what a model makes of each bin: the states of trunk and readouts, and aligned latents."""

    run: str
    """Folder of a pretrain or fine-tune run."""
    checkpoint: str = "best"
    """Checkpoint of the run: `best`, `last`, or a file."""
    sessions: list[str] = field(default_factory=list)
    """Session files; by default those that the run was trained on. Wildcards are allowed."""
    part: Literal["train", "val", "test", "all"] = "test"
    """Part of the recordings; `all` is every bin, gaps between the parts included."""
    variables: list[str] = field(default_factory=list)
    """Variables that colour the figures; by default all but frames."""
    shown: int = 2
    """Sessions side by side in the figures."""
    points: int = 3000
    """Bins drawn per panel, evenly spaced."""
    out: str | None = None
    """Folder of the results; by default RUN/latents."""
    overwrite: bool = False
    """Replace finished results in `out`."""
    seed: int = 0
    """Seed of the draws in the matching score."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("shown", "points"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected 1 or more")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed}: expected 0 or more")
