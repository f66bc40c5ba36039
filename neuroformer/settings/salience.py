"""Settings of `neuroformer salience`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

SALIENCES = ("gradient", "integrated", "occlusion", "attention")
"""Ways of telling how salient a unit is."""


@dataclass(kw_only=True)
class SalienceConfig:
    """Which units do fitted backbones decode from, and does it hurt them to lose these?

    Salience is computed on one part of the recording and tested on another: the most salient units are deleted (put at
    their training mean) in the test part, beside as many random ones. Fit with `backbones keep_models=true` first.
    """

    run: str
    """Folder of a run of neuroformer backbones with keep_models=true."""
    out: str
    """Folder of the results; a run that was stopped goes on where it was."""
    overwrite: bool = False
    """Start anew where `out` has results."""
    models: list[str] = field(default_factory=list)
    """Methods of that run; by default all but the mean and the controls of language models."""
    saliences: list[str] = field(default_factory=lambda: list(SALIENCES))
    """`gradient` times input; `integrated` gradients; `occlusion` of one unit at a time; `attention`, rolled out, times
    what a unit adds to a token."""
    part: Literal["val", "train"] = "val"
    """Part of the recording that is explained; deletion is measured on the test part."""
    windows: int = 64
    """Windows that are explained, spread over that part."""
    steps: int = 24
    """Pieces of the way from the mean to the input, of integrated gradients."""
    max_occlusions: int = 20_000
    """Most windows with a unit occluded that a model may be asked for: with many units occlusion explains fewer
    windows, and with more units than this it is left out."""
    counts: list[int] = field(default_factory=lambda: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000])
    """Numbers of units that are deleted or inserted; those below the number of units are used."""
    highlight: int = 50
    """Number of units of the sentences and the table; with fewer than twice as many units, a third of them."""
    random: int = 10
    """Random orders of units to compare with."""
    retrain: bool = False
    """Fit ridge regressions again without the deleted units as well."""
    truth: str = ""
    """Column of the unit table that is not 0 for the units that should be found, such as drives_tail."""
    stride: int | None = None
    """Bins between the starts of overlapping windows in predictions of the test part; half a window by
    default."""
    seed: int = 0
    """Of the random orders and of shuffled weights."""
    device: str = "auto"
    """cpu, cuda, or auto."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in self.saliences:
            if name not in SALIENCES:
                raise ValueError(f"saliences: unknown {name!r}; expected any of {', '.join(SALIENCES)}")
        if not self.saliences:
            raise ValueError(f"saliences is empty: expected any of {', '.join(SALIENCES)}")
        for name in ("windows", "steps", "highlight", "random"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected 1 or more")
        if self.max_occlusions < 0:
            raise ValueError(f"max_occlusions={self.max_occlusions}: expected 0 or more")
        if not self.counts or min(self.counts) < 1:
            raise ValueError(f"counts={self.counts}: expected numbers of units, 1 or more")
        if self.stride is not None and self.stride < 1:
            raise ValueError(f"stride={self.stride}: expected 1 or more")
