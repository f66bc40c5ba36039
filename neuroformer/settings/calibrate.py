"""Settings of `neuroformer calibrate`."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(kw_only=True)
class CalibrateConfig:
    """Let a trained model run free beside held-out time, and compare what it generates with what was recorded."""

    run: str
    """Folder of a pretrain or fine-tune run."""
    checkpoint: str = "best"
    """Checkpoint of the run: `best`, `last`, or a file."""
    sessions: list[str] = field(default_factory=list)
    """Session files; by default those that the run was trained on. Wildcards are allowed."""
    part: str = "test"
    """Part of the recordings: test or val."""
    copies: int = 20
    """Independent copies of the part that are generated."""
    stretch_s: float = 20.0
    """Seconds that the model runs free, at least, before it is given the real past again; as far as a span reaches."""
    ceiling: str = "validation"
    """Highest intensity of a unit in Hz. `validation`: the one that real events of the validation part support best;
    `none`: the exact model, whose intensities have no end and may run away; or a number."""
    max_s: float = 600.0
    """Seconds of each recording that are used, from the part's beginning."""
    block_s: float = 5.0
    """Seconds of the blocks that halves are made of; longer than the activity's memory."""
    splits: int = 100
    """Ways to make two halves of the blocks."""
    min_events: int = 20
    """A unit with fewer events in the recorded part is not tested."""
    fano_s: float = 1.0
    """Seconds of the windows of the Fano factor; five bins at least."""
    acg_s: float | None = None
    """Longest lag of the autocorrelogram in seconds; by default the longer of 0.5 s and 25 bins."""
    pair_s: float | None = None
    """Seconds of the windows of correlations and synchrony; by default the longer of 0.1 s and five bins."""
    paired_units: int = 150
    """Units, the most active ones, whose pairwise correlations are compared."""
    horizons: int = 6
    """Classes of time since the prefix."""
    stimulus: str | None = None
    """Column of the sessions' trials that names each trial's stimulus, for responses and noise correlations."""
    psth_s: float | None = None
    """Seconds of a step of the responses; by default that of `pair_s`."""
    exact: int = 3
    """Copies that take the place of the recording, to see what an exact model reaches."""
    seed: int = 0
    """Seed of generation, splits and places within bins."""
    out: str | None = None
    """Folder of the results; by default RUN/calibration."""
    overwrite: bool = False
    """Replace finished results in `out`."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.part not in ("test", "val"):
            raise ValueError(f"part={self.part}: expected test or val")
        for name in ("stretch_s", "max_s", "block_s", "fano_s", "acg_s", "pair_s", "psth_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}={value:g}: expected seconds above 0")
        if self.ceiling not in ("validation", "none"):
            try:
                above = float(self.ceiling) > 0
            except ValueError:
                above = False
            if not above:
                raise ValueError(f"ceiling={self.ceiling}: expected validation, none, or Hz above 0")
        for name in ("splits", "min_events", "paired_units", "horizons"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name}={getattr(self, name)}: expected 2 or more")
        if self.block_s < self.fano_s:
            raise ValueError(
                f"block_s={self.block_s:g}: expected no less than fano_s={self.fano_s:g}, whose windows lie in blocks"
            )
        if self.copies < 2:
            raise ValueError(f"copies={self.copies}: expected 2 or more, to see how much copies differ")
        if self.exact < 1:
            raise ValueError(f"exact={self.exact}: expected 1 or more")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed}: expected 0 or more")
