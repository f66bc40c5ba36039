"""Settings of the Poisson GLM with a basis of lag functions for every pair."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

_STRENGTHS = (1.0, 0.5, 0.25, 0.15, 0.1, 0.07, 0.05, 0.035, 0.025, 0.0175, 0.012, 0.008, 0.005)


@dataclass(kw_only=True)
class ManyBasisGLMConfig:
    """A Poisson GLM of one session: own history, and couplings through a basis of lags with K coefficients a pair."""

    penalty: Literal["group_lasso", "ridge"] = "group_lasso"
    """`group_lasso`: a pair's kernel is exactly 0 unless it pays; `ridge`: all kernels are shrunk, none is 0."""
    window_s: float = 0.1
    """The longest lag of the couplings in seconds."""
    history_window_s: float = 0.1
    """The longest lag of own history in seconds."""
    functions: int = 6
    """Basis functions of a pair's kernel."""
    shapes: int = 2
    """Leading shapes of the kernels found that then take the place of the basis, if that validates better; 0: none."""
    history_functions: int = 10
    """Basis functions of own history."""
    history_ridge: float = 0.1
    """Ridge on own history in nats per squared log-gain; it only holds what no event speaks to."""
    strengths: list[float] = field(default_factory=lambda: list(_STRENGTHS))
    """Strengths of the penalty to try, strongest first; a path ends early once validation worsens. 1 is where every
    coupling of a group lasso vanishes, and where a ridge tells ten times as much of a typical pair as the events do."""
    tolerance: float = 1e-6
    """The solution is final when no target's step promises more than this many nats per event."""

    def __post_init__(self) -> None:
        """Check what the fit cannot do without."""
        falling = all(a > b for a, b in pairwise(self.strengths))
        if not (self.strengths and falling and self.strengths[-1] > 0):
            raise ValueError(f"strengths={self.strengths}: expected numbers above 0, strongest first")
        if min(self.functions, self.history_functions) < 1:
            raise ValueError(
                f"functions={self.functions} and history_functions={self.history_functions}: expected 1 or more"
            )
