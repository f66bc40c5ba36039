"""Settings of the Poisson GLM baseline."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(kw_only=True)
class GLMConfig:
    """A Poisson GLM of one session: own history, couplings through learned lag kernels, L1 chosen on validation."""

    window_s: float | None = None
    """The longest lag of the couplings in seconds; by default the model's."""
    history_window_s: float | None = None
    """The longest lag of own history in seconds; by default the model's."""
    heads: int = 2
    """Lag kernels, shared by all pairs and learned."""
    history_functions: int = 10
    """Basis functions of own history."""
    strengths: list[float] = field(default_factory=lambda: [0.1, 0.05, 0.025, 0.012, 0.006, 0.003])
    """L1 strengths to try, strongest first, relative to the one at which every coupling vanishes; the path ends early
    once validation worsens."""
    first_passes: int = 12
    """Passes over the training part at the first strength, where kernels and own history are learned too."""
    passes: int = 8
    """Passes at each further strength."""
    seed: int = 0
    """Seed of what is drawn at random in the fit."""
