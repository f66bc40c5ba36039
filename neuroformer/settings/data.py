"""Settings of the data side: which recordings, on which clock, in which pieces."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from neuroformer.settings.variables import LabelsConfig, VariableConfig

LevelCode = Literal["quantile", "vector_quantised"]
"""How amplitudes are cut into levels: equally frequent ones, or Lloyd's algorithm on log-amplitudes."""


@dataclass(kw_only=True)
class SplitConfig:
    """How a recording is cut into training, validation and test."""

    kind: Literal["time", "epochs"] = "time"
    """`time`: in order of time, with gaps; `epochs`: whole epochs (trials) drawn at random, none is ever cut."""
    val: float = 0.1
    """Fraction of the bins for validation, above 0: it chooses the checkpoint and the penalty of the GLM."""
    test: float = 0.1
    """Fraction of the bins for the test."""
    blocks: int = 1
    """The recording is cut into this many equal blocks and each is split in order of time; more than one
    spreads validation and test over a recording that drifts (kind `time` only)."""
    gap_s: float | None = None
    """Seconds left out between parts (kind `time` only); by default the model's context, and never less."""
    seed: int = 0
    """Seed of the draw of epochs (kind `epochs` only)."""
    val_epochs: list[int] = field(default_factory=list)
    """With kind `epochs`: these are for validation instead of drawn ones; counted from 0, or back from -1."""
    test_epochs: list[int] = field(default_factory=list)
    """With kind `epochs`: these are for the test instead of drawn ones."""

    def __post_init__(self) -> None:
        """Check that the fractions leave something to train on."""
        if not (0 < self.val < 1 and 0 < self.test < 1 and self.val + self.test < 1):
            raise ValueError(
                f"split.val={self.val:g} and split.test={self.test:g}: expected fractions above 0 whose sum is below 1"
            )
        if (self.val_epochs or self.test_epochs) and self.kind != "epochs":
            raise ValueError("split.val_epochs and split.test_epochs: expected split.kind=epochs beside them")
        if self.blocks < 1:
            raise ValueError(f"split.blocks={self.blocks}: expected 1 or more")


@dataclass(kw_only=True)
class DataConfig:
    """Which recordings, on which clock, in which pieces."""

    sessions: list[str] = field(default_factory=list)
    """Session files; a name may hold the wildcards * ? [ ]."""
    bin_s: float = 0.005
    """Width of a bin in seconds, one for all sessions."""
    chunk_s: float = 1.5
    """Scored seconds of a training chunk."""
    warmup_s: float = 0.3
    """Seconds of history before the scored part of a training chunk; validation and test always see the model's
    whole context."""
    batch_size: int = 16
    """Chunks in a batch."""
    levels: int = 4
    """Amplitude levels of the events of sessions that have amplitudes; 1 ignores amplitudes."""
    level_code: LevelCode = "quantile"
    """`quantile`: equally frequent levels; `vector_quantised`: Lloyd's algorithm on log-amplitudes. `neuroformer
    levels` says which of them, and how many levels, describe amplitudes of held-out events best."""
    variables: dict[str, VariableConfig] = field(default_factory=dict)
    """Stimulus and behaviour by name, as in data.variables.velocity.role=both; what is not named is not read. Keys of
    each: source, role, kind, when, horizon_s, functions, limits, grid, encoder (docs/behavior.md)."""
    labels: LabelsConfig = field(default_factory=LabelsConfig)
    """How many labels of the decoded variables the training part keeps."""
    split: SplitConfig = field(default_factory=SplitConfig)
    """Training, validation and test."""
    workers: int = 0
    """Processes that read ahead; 0 reads in the training process."""
    seed: int = 0
    """Seed of the order of the chunks."""

    def __post_init__(self) -> None:
        """Check what can be checked without a file."""
        for name in ("bin_s", "chunk_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"data.{name}={getattr(self, name):g}: expected seconds above 0")
        if self.chunk_s < self.bin_s:
            raise ValueError(
                f"data.chunk_s={self.chunk_s:g} is shorter than one bin (data.bin_s={self.bin_s:g})"
            )
        for name in ("seed", "workers"):
            if getattr(self, name) < 0:
                raise ValueError(f"data.{name}={getattr(self, name)}: expected 0 or more")
        if self.warmup_s < 0:
            raise ValueError(f"data.warmup_s={self.warmup_s:g}: expected 0 or more seconds")
        for name in ("batch_size", "levels"):
            if getattr(self, name) < 1:
                raise ValueError(f"data.{name}={getattr(self, name)}: expected 1 or more")
