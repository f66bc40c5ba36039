"""Settings of `neuroformer levels`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

from neuroformer.settings.data import LevelCode, SplitConfig

CODES: tuple[str, ...] = get_args(LevelCode)


@dataclass(kw_only=True)
class LevelsConfig:
    """Compare codes of calcium amplitudes by the held-out likelihood of the amplitudes themselves.

    A code cuts amplitudes into levels. Its likelihood of an amplitude is that of the level, given the unit, times a
    density within the level, so that codes of any number of levels can be compared, in nats per event. The best on the
    validation part is named, with what it gives the test part.
    """

    sessions: list[str] = field(default_factory=list)
    """Session files with amplitudes; wildcards are allowed."""
    bin_s: float = 0.6
    """Width of a bin in seconds; it places the cuts between parts."""
    levels: list[int] = field(default_factory=lambda: [1, 2, 3, 4, 6, 8, 12, 16])
    """Numbers of levels to compare."""
    codes: list[str] = field(default_factory=lambda: list(CODES))
    """Of quantile (equally frequent levels) and vector_quantised (Lloyd's algorithm on log-amplitudes)."""
    split: SplitConfig = field(default_factory=SplitConfig)
    """How the sessions are split."""

    def __post_init__(self) -> None:
        """Check names and ranges."""
        if not self.bin_s > 0:
            raise ValueError(f"bin_s={self.bin_s:g}: expected seconds above 0")
        if not self.levels or any(value < 1 for value in self.levels):
            raise ValueError(f"levels={self.levels}: expected numbers from 1 on")
        if not self.codes or any(name not in CODES for name in self.codes):
            raise ValueError(f"codes={self.codes}: expected any of {', '.join(CODES)}")
