"""Settings of stimulus and behaviour variables: what is read, and what it may be used for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

CONDITION = re.compile(
    r"\s*(?P<abs>abs\()?\s*(?P<name>[A-Za-z_]\w*)\s*(?(abs)\))\s*(?P<sign>>=|<=|>|<)\s*(?P<number>[-+]?\d+\.?\d*)\s*"
)
"""A bound on a variable: 'speed > 2', 'abs(velocity) > 5'."""


@dataclass(kw_only=True)
class VariableConfig:
    """One stimulus or behaviour variable; its name is that of the series in the session files.

    Sessions that lack it, and stretches where it is NaN, are masked and never filled in.
    """

    source: Literal["behavior", "stimulus", "trials"] = "behavior"
    """Where it is read: a series of `behavior/` or `stimulus/`, or a column of the trial table, whose value holds from
    the start to the stop of its trial."""
    role: Literal["context", "target", "both"] = "both"
    """`context`: the model may look at it, and never predicts it; `target`: it is predicted from events and is an input
    to nothing; `both`: events are predicted from it (task encode) and it from events (task decode), never in one
    pass."""
    kind: Literal["continuous", "categorical"] | None = None
    """By default what the session files say; for a column of the trial table, text and up to 12 distinct numbers are
    categorical."""
    cuts: list[float] = field(default_factory=list)
    """Cut a continuous variable at these values into categories: [-5, 5] makes of a velocity running to the left, rest,
    and running to the right."""
    series: str = ""
    """Name of the series or column in the files, where it is not the variable's own name: position and its speed may
    both come from one series."""
    when: str = ""
    """Condition under which the variable counts as known, such as 'abs(velocity) > 5' in the unit of the files;
    elsewhere it is masked. Another variable of the same source, or this one."""
    horizon_s: float = 0.0
    """How many seconds back the model looks at it by cross-attention; 0 looks at the present value alone, which is what
    a decoded variable needs."""
    functions: int = 16
    """Basis functions over the range of a continuous variable, per dimension (harmonics, if it is circular)."""
    limits: list[float] | None = None
    """[lower, upper] in the unit of the files, what lies outside counts as at the edge; by default the 0.5 and 99.5 %
    quantiles of the training data."""
    grid: int = 40
    """Cells of the grid on which a decoded variable is inverted (a categorical one has one per label); 0 leaves it out
    of the inversion."""
    encoder: Literal["conv", "patches"] = "conv"
    """For frames: a small 3-D convolution, or patches of frames as tokens."""

    def __post_init__(self) -> None:
        """Check what depends on more than one key."""
        if self.when and not CONDITION.fullmatch(self.when):
            raise ValueError(
                f"when={self.when!r}: expected a condition such as 'abs(velocity) > 5' or 'speed > 2'"
            )
        if any(a >= b for a, b in pairwise(self.cuts)):
            raise ValueError(f"cuts={self.cuts}: expected rising numbers")
        if self.horizon_s < 0:
            raise ValueError(f"horizon_s={self.horizon_s:g}: expected 0 or more seconds")
        if self.horizon_s > 0 and self.role != "context":
            raise ValueError(
                f"horizon_s={self.horizon_s:g} with role={self.role}: a decoded variable acts through its present "
                "value (horizon_s=0); use role=context to look further back"
            )
        if self.functions < 2:
            raise ValueError(f"functions={self.functions}: expected 2 or more")
        if self.grid < 0 or self.grid == 1:
            raise ValueError(f"grid={self.grid}: expected 2 cells or more, or 0")
        if self.limits is not None and not (len(self.limits) == 2 and self.limits[0] < self.limits[1]):
            raise ValueError(f"limits={self.limits}: expected [lower, upper]")


@dataclass(kw_only=True)
class LabelsConfig:
    """How much of the training part has labels: values of the decoded variables; context variables keep theirs."""

    minutes: float | None = None
    """Minutes of known labels that are used; by default all."""
    fraction: float | None = None
    """The same as a fraction of the known labels of the training part."""
    when: str = ""
    """Condition that a bin must meet for its labels to be used and counted, such as 'abs(velocity) > 5'."""
    start: Literal["first", "random"] = "first"
    """`first`: the first labels in time; `random`: one stretch that begins at random (data.labels.seed)."""
    seed: int = 0
    """Seed of the stretch."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.when and not CONDITION.fullmatch(self.when):
            raise ValueError(f"labels.when={self.when!r}: expected a condition such as 'abs(velocity) > 5'")
        if self.minutes is not None and self.fraction is not None:
            raise ValueError("labels.minutes and labels.fraction: expected one of them")
        if self.minutes is not None and self.minutes < 0:
            raise ValueError(f"labels.minutes={self.minutes:g}: expected 0 or more")
        if self.fraction is not None and not 0 <= self.fraction <= 1:
            raise ValueError(f"labels.fraction={self.fraction:g}: expected 0 to 1")
        if self.seed < 0:
            raise ValueError(f"labels.seed={self.seed}: expected 0 or more")
