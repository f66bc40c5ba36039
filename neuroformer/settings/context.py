"""Settings of the encoders of stimulus and behaviour, and of the readouts that decode behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(kw_only=True)
class ContextConfig:
    """How stimulus and behaviour reach the intensities: w_j · g(context(t))."""

    width: int = 64
    """Width of a context token."""
    features: int = 32
    """Features g of the context that units are tuned to."""
    heads: int = 4
    """Heads of the cross-attention to past context, where a variable has a horizon."""
    trunk: bool = False
    """Whether event tokens of the trunk look at context by cross-attention too (variables with role=context only)."""
    dropout: float = 0.0
    """Dropout on the features in training."""


@dataclass(kw_only=True)
class ReadoutConfig:
    """How behaviour is read from events: a query per bin and variable."""

    width: int = 64
    """Width of the query's state."""
    time_constants_s: list[float] = field(default_factory=lambda: [0.1, 0.5])
    """Time constants in seconds of the filters over events (the present bin included) that the state is built from."""
    window_s: float = 0.0
    """Seconds back that a query looks at single events by cross-attention; 0: filters alone."""
    heads: int = 4
    """Heads of that attention."""
    unit_dropout: float = 0.2
    """Share of the units that are hidden from the readout in a training step."""
    dropout: float = 0.2
    """Dropout on the state in training."""
    weight: float = 1.0
    """Weight of the decoding loss (nats per labelled bin and variable) beside that of the events (nats per event)."""


@dataclass(kw_only=True)
class TaskConfig:
    """Odds of the tasks, one of which is drawn for every batch, and what is hidden in it."""

    spikes: float = 1.0
    """Events from events alone."""
    encode: float = 1.0
    """Events from events, stimulus and behaviour."""
    decode: float = 1.0
    """Behaviour from events (and from variables with role=context)."""
    joint: float = 1.0
    """Each row hides each variable with odds 1/2: events are predicted from what is seen, behaviour that is hidden
    from events."""
    hide: float = 0.1
    """Chance that a row of an encode or decode batch hides a variable, so that a missing one is no surprise."""

    def __post_init__(self) -> None:
        """Check ranges."""
        odds = (self.spikes, self.encode, self.decode, self.joint)
        if min(odds) < 0 or not sum(odds) > 0:
            raise ValueError(f"tasks={odds}: expected odds of 0 or more, one of them above 0")
        if not 0 <= self.hide < 1:
            raise ValueError(f"tasks.hide={self.hide:g}: expected 0 or more and below 1")
