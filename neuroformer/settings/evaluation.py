"""Settings of `neuroformer evaluate` and of the baselines."""

from __future__ import annotations

from dataclasses import dataclass, field

from neuroformer.settings.glm import GLMConfig


@dataclass(kw_only=True)
class EvaluateConfig:
    """Score a trained model on held-out time beside its baselines and, for simulated sessions, the truth."""

    run: str
    """Folder of a pretrain run."""
    checkpoint: str = "best"
    """Checkpoint of the run: `best`, `last`, or a file."""
    sessions: list[str] = field(default_factory=list)
    """Session files to score; by default those that the run was trained on. Wildcards are allowed."""
    part: str = "test"
    """Part of the recordings to score: test or val."""
    glm: bool = True
    """Fit a Poisson GLM to the training part of every session and score it on the same bins."""
    glm_settings: GLMConfig = field(default_factory=GLMConfig)
    """How the GLM is fitted; its windows are the model's unless given here."""
    block_s: float = 5.0
    """Seconds drawn together in the bootstrap; longer than the activity's memory."""
    raster_s: float = 5.0
    """Seconds of data and prediction saved for the report."""
    seed: int = 0
    """Seed of the bootstrap."""
    out: str | None = None
    """Folder of the results; by default RUN/evaluate."""
    overwrite: bool = False
    """Replace finished results in `out`."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.part not in ("test", "val"):
            raise ValueError(f"part={self.part}: expected test or val")
        if not (self.block_s > 0 and self.raster_s > 0):
            raise ValueError(
                f"block_s={self.block_s:g}, raster_s={self.raster_s:g}: expected seconds above 0"
            )
