"""Settings of `neuroformer forecast`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from neuroformer.settings.data import SplitConfig
from neuroformer.settings.glm import GLMConfig

OURS = ("direct", "rollout")
BASELINES = ("mean", "last", "conditioned_mean", "decay", "autoregression", "linear", "glm_rollout")


@dataclass(kw_only=True)
class DirectHeadConfig:
    """The direct head: from averages of the past to every horizon, linear, its weights with a learned prior."""

    time_constants_s: list[float] = field(default_factory=lambda: [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0])
    """Time constants of the exponential averages of a unit's own past, seconds."""
    population_s: float = 16.0
    """Time constant of the level from which the other units' deviations are taken, seconds."""
    strengths: list[float] = field(default_factory=lambda: [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 3.0])
    """Ridge penalties of the population part to choose from on the validation part, in parts of the sum of the
    features' variances. That it is left out is always a choice."""
    rounds: int = 10
    """Rounds of expectation-maximisation for the prior."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if not self.time_constants_s or any(not value > 0 for value in self.time_constants_s):
            raise ValueError(f"head.time_constants_s={self.time_constants_s}: expected seconds above 0")
        if not self.population_s > 0:
            raise ValueError(f"head.population_s={self.population_s:g}: expected seconds above 0")
        if any(not value > 0 for value in self.strengths):
            raise ValueError(f"head.strengths={self.strengths}: expected numbers above 0")
        if self.rounds < 1:
            raise ValueError(f"head.rounds={self.rounds}: expected 1 or more")


@dataclass(kw_only=True)
class ForecastConfig:
    """Forecast every unit's traces or counts for the next bins, and score it by horizon beside baselines.

    At every origin in the held-out part each method is given the recording up to there, and forecasts the next
    `horizon` bins. Ours: direct (a linear head whose weights have a prior learned over the units of all sessions) and
    rollout (Monte Carlo: the run's event model goes on from the real past, `samples` times). All methods are fitted to
    the training part; what they choose, they choose on the validation part.
    """

    sessions: list[str] = field(default_factory=list)
    """Session files; by default those of the run. Wildcards are allowed."""
    run: str = ""
    """Folder of a pretrain run, for rollouts; its bins and split are used. Without one there are no rollouts."""
    checkpoint: str = "best"
    """Checkpoint of the run: `best`, `last`, or a file."""
    out: str = ""
    """Folder of the results; by default RUN/forecast."""
    overwrite: bool = False
    """Replace finished results in `out`."""
    target: Literal["auto", "traces", "counts"] = "auto"
    """What is forecast: `traces`, the mean trace of each bin; `counts`, events per bin; `auto`: traces where every
    session has them."""
    part: Literal["test", "val"] = "test"
    """Part of the recordings with the origins."""
    bin_s: float | None = None
    """Width of a bin in seconds; the run's, needed without one."""
    split: SplitConfig | None = None
    """How the sessions are split; by default as those of the run, without one as `data.split` is by default."""
    horizon: int = 32
    """Bins to forecast."""
    stride: int | None = None
    """Bins between origins; by default as few as give at most 400 origins in a session."""
    methods: list[str] = field(default_factory=list)
    """Of ours: direct, rollout. By default those that can be had."""
    baselines: list[str] = field(default_factory=list)
    """Any of mean, last, conditioned_mean, decay, autoregression, linear, glm_rollout (counts alone). By default all
    that apply."""
    samples: int = 64
    """Rollouts from each origin."""
    condition: str = ""
    """What `conditioned_mean` goes by: `trials` (time since a trial's start) or the name of a categorical stimulus. By
    default trials, where every session has them. It is told the condition at the bin that it forecasts."""
    prior: str = ""
    """A `head.npz` of earlier forecasts: the prior of the direct head, instead of one learned on these sessions."""
    standardize: bool = True
    """Whether errors of traces are in standard deviations of each unit's training part; if not, in the files' unit."""
    rows: int = 20_000
    """Most bins of the training part that a linear method is fitted to, evenly spaced."""
    head: DirectHeadConfig = field(default_factory=DirectHeadConfig)
    """Settings of the direct head."""
    glm: GLMConfig = field(default_factory=GLMConfig)
    """Settings of the Poisson GLM of `glm_rollout`."""
    block_s: float | None = None
    """Seconds of the blocks of origins that are drawn for the intervals; by default the horizon."""
    draws: int = 500
    """Draws of blocks."""
    shown: int = 4
    """Units whose forecasts are drawn."""
    seed: int = 0
    """Seed of rollouts and draws."""

    def __post_init__(self) -> None:
        """Check names and ranges."""
        if not self.run and not self.out:
            raise ValueError(
                "out: empty; name the folder for the results (out=DIR), it is known only when run= is given"
            )
        for setting, names, known in (
            ("methods", self.methods, OURS),
            ("baselines", self.baselines, BASELINES),
        ):
            for name in names:
                if name not in known:
                    raise ValueError(f"{setting}: unknown {name!r}; expected any of {', '.join(known)}")
            if len(set(names)) < len(names):
                raise ValueError(f"{setting}={names}: expected each once")
        for name in ("bin_s", "block_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}={value:g}: expected seconds above 0")
        for name in ("horizon", "samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected 1 or more")
        if self.stride is not None and self.stride < 1:
            raise ValueError(f"stride={self.stride}: expected 1 or more bins")
        if self.rows < 100 or self.draws < 100:
            raise ValueError(f"rows={self.rows}, draws={self.draws}: expected 100 or more")
        if self.shown < 0 or self.seed < 0:
            raise ValueError(f"shown={self.shown}, seed={self.seed}: expected 0 or more")
