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
class AlignmentConfig:
    """Contrastive alignment of the latents of events, stimulus and behaviour."""

    weight: float = 0.0
    """Weight of the loss (nats per drawn bin) beside that of the events (nats per event); 0: no alignment. It needs a
    stimulus or behaviour variable."""
    width: int = 32
    """Width of a latent."""
    time_constants_s: list[float] = field(default_factory=lambda: [0.2, 1.0])
    """Time constants in seconds of the averages of stimulus and behaviour (the present bin included) in their latents;
    the latent of the events is built from the readouts' state (model.readout)."""
    bins: int = 8
    """Bins drawn of each row of a batch."""
    gap_s: float = 1.0
    """Bins of one row no further apart than this are not told apart: behaviour is much the same then."""
    temperature: float = 0.1
    """Temperature at first; it is learned."""
    drop_units: float = 0.2
    """Share of the units that the events' latent loses in a training step, as another animal has other units."""
    thin_events: float = 0.1
    """Share of the events that it loses."""
    shift_weights: float = 0.2
    """Standard deviation over units of the logarithm of what their events count in a training step."""
    stimulus: list[str] = field(default_factory=list)
    """Variables of source=trials that are stimulus (contrast, side ...); other trial columns count as behaviour."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("weight", "gap_s", "shift_weights"):
            if getattr(self, name) < 0:
                raise ValueError(f"model.alignment.{name}={getattr(self, name):g}: expected 0 or more")
        for name in ("width", "bins"):
            if getattr(self, name) < 1:
                raise ValueError(f"model.alignment.{name}={getattr(self, name)}: expected 1 or more")
        if not self.time_constants_s or min(self.time_constants_s) <= 0:
            raise ValueError(
                f"model.alignment.time_constants_s={self.time_constants_s}: expected seconds above 0"
            )
        if not self.temperature > 0:
            raise ValueError(f"model.alignment.temperature={self.temperature:g}: expected a number above 0")
        for name in ("drop_units", "thin_events"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"model.alignment.{name}={getattr(self, name):g}: expected 0 or more and below 1"
                )


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
