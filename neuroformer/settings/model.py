"""Settings of the model. Times are in seconds; the model turns them into bins."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from neuroformer.settings.context import AlignmentConfig, ContextConfig, ReadoutConfig


@dataclass(kw_only=True)
class CouplingConfig:
    """Coupling attention: fast, pairwise influence of one unit on another."""

    heads: int = 2
    """Lag kernels, shared by all pairs."""
    window_s: float = 0.1
    """The longest lag in seconds."""
    rank: int | None = None
    """Rank of each head's source × target matrix; null chooses: a full matrix up to 128 units in every
    session, rank 16 above;
    0 forces full matrices."""


@dataclass(kw_only=True)
class HistoryConfig:
    """Own history: what a unit's past events do to itself (refractoriness, bursts)."""

    window_s: float = 0.1
    """The longest lag in seconds."""
    functions: int = 8
    """Basis functions; the first stand for single bins, the later ones widen with the lag."""


@dataclass(kw_only=True)
class TrunkConfig:
    """The GPT over event tokens, read through low-pass filters: slow, shared state."""

    width: int = 64
    """Width of an event token."""
    layers: int = 1
    """Transformer blocks; with 0 the state is a low-passed sum of unit embeddings."""
    heads: int = 4
    """Attention heads; must divide the width."""
    window_s: float = 0.5
    """How far an event token attends back, in seconds."""
    state: int = 64
    """Width of the slow state; 0 leaves the whole trunk out."""
    time_constants_s: list[float] = field(default_factory=lambda: [0.075, 0.25])
    """Time constants in seconds of the exponential filters through which the state is read: what is faster is
    left to the coupling."""
    dropout: float = 0.1
    """Dropout on the state and in the blocks in training."""
    attention: Literal["sdpa", "flex", "xformers"] = "sdpa"
    """What computes the attention: `sdpa` (PyTorch's own, everywhere), `flex` (FlexAttention) or `xformers` (extra
    `xformers`), both of which train on CUDA devices only. All give the same numbers."""


@dataclass(kw_only=True)
class ModelConfig:
    """The generative model of event tokens."""

    coupling: CouplingConfig = field(default_factory=CouplingConfig)
    """Fast pairs."""
    history: HistoryConfig = field(default_factory=HistoryConfig)
    """Each unit's own past."""
    trunk: TrunkConfig = field(default_factory=TrunkConfig)
    """Slow shared state."""
    context: ContextConfig = field(default_factory=ContextConfig)
    """Stimulus and behaviour in the intensities; without input variables in data.variables there is none."""
    readout: ReadoutConfig = field(default_factory=ReadoutConfig)
    """Behaviour from events; without decoded variables in data.variables there is none."""
    alignment: AlignmentConfig = field(default_factory=AlignmentConfig)
    """Contrastive alignment of the latents of events, stimulus and behaviour; off by default."""

    sampled_units: int | None = None
    """Units whose silence a training step looks at, drawn by their rates; events always count exactly, and so does
    everything in validation and test. null chooses: all units up to 4000, 2000 of them above; 0 takes all, as does a
    model with full coupling matrices (model.coupling.rank=0)."""

    def __post_init__(self) -> None:
        """Check settings against one another."""
        trunk = self.trunk
        for name, count, least in (
            ("coupling.heads", self.coupling.heads, 1),
            ("coupling.rank", self.coupling.rank or 0, 0),
            ("sampled_units", self.sampled_units or 0, 0),
            ("history.functions", self.history.functions, 1),
            ("trunk.width", trunk.width, 1),
            ("trunk.heads", trunk.heads, 1),
            ("trunk.layers", trunk.layers, 0),
            ("trunk.state", trunk.state, 0),
        ):
            if count < least:
                raise ValueError(f"model.{name}={count}: expected {least} or more")
        if trunk.layers and (trunk.width % trunk.heads or (trunk.width // trunk.heads) % 2):
            raise ValueError(
                f"model.trunk.width={trunk.width} with model.trunk.heads={trunk.heads}: the width must be an even "
                "multiple of the heads"
            )
        for name, value in (
            ("coupling.window_s", self.coupling.window_s),
            ("history.window_s", self.history.window_s),
            ("trunk.window_s", trunk.window_s),
            *((f"trunk.time_constants_s[{i}]", t) for i, t in enumerate(trunk.time_constants_s)),
        ):
            if not value > 0:
                raise ValueError(f"model.{name}={value:g}: expected seconds above 0")
        if trunk.state and not trunk.time_constants_s:
            raise ValueError(
                "model.trunk.time_constants_s is empty: expected at least one, or model.trunk.state=0"
            )
        for name, part in (("context", self.context), ("readout", self.readout)):
            if part.width < 2 or part.heads < 1 or part.width % (2 * part.heads):
                raise ValueError(
                    f"model.{name}.width={part.width} with model.{name}.heads={part.heads}: the width must be an even "
                    "multiple of the heads"
                )
        if self.context.features < 1:
            raise ValueError(f"model.context.features={self.context.features}: expected 1 or more")
        if not self.readout.time_constants_s or min(self.readout.time_constants_s) <= 0:
            raise ValueError(
                f"model.readout.time_constants_s={self.readout.time_constants_s}: expected seconds above 0"
            )
        if self.readout.window_s < 0 or self.readout.weight < 0:
            raise ValueError(
                f"model.readout.window_s={self.readout.window_s:g}, model.readout.weight={self.readout.weight:g}: "
                "expected 0 or more"
            )
        shares = {
            "readout.unit_dropout": self.readout.unit_dropout,
            "readout.dropout": self.readout.dropout,
            "context.dropout": self.context.dropout,
        }
        for name, share in shares.items():
            if not 0 <= share < 1:
                raise ValueError(f"model.{name}={share:g}: expected 0 or more and below 1")
        if not 0 <= trunk.dropout < 1:
            raise ValueError(f"model.trunk.dropout={trunk.dropout:g}: expected 0 or more and below 1")


def bins(seconds: float, bin_s: float) -> int:
    """Whole bins in a stretch of time, at least 1."""
    return max(1, round(seconds / bin_s))


def pooling_lags(trunk: TrunkConfig, bin_s: float) -> int:
    """Bins after which the trunk's exponential filters are cut: four times the longest time constant."""
    return math.ceil(4 * max(trunk.time_constants_s) / bin_s)


def readout_lags(readout: ReadoutConfig, bin_s: float) -> int:
    """Bins (the present included) of the events that a readout depends on."""
    return max(math.ceil(4 * max(readout.time_constants_s) / bin_s), math.ceil(readout.window_s / bin_s))


def alignment_lags(alignment: AlignmentConfig, bin_s: float) -> int:
    """Bins (the present included) of stimulus and behaviour that their latents depend on."""
    return math.ceil(4 * max(alignment.time_constants_s) / bin_s)


def context_bins(
    config: ModelConfig,
    bin_s: float,
    *,
    horizons_s: Iterable[float] = (),
    decodes: bool = False,
    aligns: bool = False,
) -> int:
    """Bins of the past that an intensity or a readout depends on; with that many before it, both are exact.

    Args:
        config: the model.
        bin_s: width of a bin, seconds.
        horizons_s: how far back each input variable is looked at, seconds.
        decodes: whether the model reads behaviour from events.
        aligns: whether it aligns latents.
    """
    horizons = [math.ceil(s / bin_s) for s in horizons_s]
    trunk = config.trunk
    slow = pooling_lags(trunk, bin_s) + trunk.layers * bins(trunk.window_s, bin_s) if trunk.state else 0
    return max(
        slow,
        bins(config.coupling.window_s, bin_s),
        bins(config.history.window_s, bin_s),
        *horizons,
        readout_lags(config.readout, bin_s) if decodes or aligns else 0,
        alignment_lags(config.alignment, bin_s) + max(horizons, default=0) if aligns else 0,
    )
