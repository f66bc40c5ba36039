"""Settings of the linear readouts whose weights have a prior learned on other animals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(kw_only=True)
class LinearReadoutConfig:
    """A linear readout of behaviour, learned over the animals of a run when its training ends."""

    enabled: bool = False
    """Whether it is learned; `neuroformer fewshot` then has the methods readout, readout_causal and readout_scratch."""
    targets: list[str] = field(default_factory=list)
    """Decoded variables it is learned for; by default all."""
    input: Literal["auto", "events", "traces"] = "auto"
    """What it reads; `auto`: traces where every session has them, else events."""
    before_s: float = 2.4
    """Seconds before a bin that count."""
    after_s: float = 2.4
    """Seconds after it; `readout_causal` always has none."""
    functions: int = 5
    """Overlapping bumps over these seconds, each with a weight per unit."""
    windows: int = 3
    """Of a variable of the trial table: equal windows of a trial, each with a weight per unit."""
    names: str = "label"
    """Text column of the unit table in which the same word names the same neuron of every animal; "" has none."""
    min_confidence: float = 0.0
    """Least value of the column `label_confidence` for a name to count; 0 asks for none."""
    rounds: int = 7
    """Rounds of expectation-maximisation."""
    correlations: list[float] = field(default_factory=lambda: [0.0, 0.6, 0.85, 0.95])
    """Correlations to try of the errors of neighbouring bins; chosen by leaving each animal out in turn."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("before_s", "after_s", "min_confidence"):
            if getattr(self, name) < 0:
                raise ValueError(f"linear_readout.{name}={getattr(self, name):g}: expected 0 or more")
        for name in ("functions", "windows", "rounds"):
            if getattr(self, name) < 1:
                raise ValueError(f"linear_readout.{name}={getattr(self, name)}: expected 1 or more")
        if not self.correlations or not all(0 <= value < 1 for value in self.correlations):
            raise ValueError(
                f"linear_readout.correlations={self.correlations}: expected numbers from 0 to below 1"
            )
