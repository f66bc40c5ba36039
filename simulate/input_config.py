"""Settings of what acts on a circuit from outside, and of the behaviour that goes with it."""

from dataclasses import dataclass, field
from typing import Literal

from neuroformer.errors import UserError
from simulate.checks import above_zero, not_negative, require

BEHAVIORS = ("speed", "heading", "tail_angle")


@dataclass(kw_only=True)
class StatesConfig:
    """Global states, such as down and up, that the whole population switches between; not in the file."""

    dwell_s: list[float] = field(default_factory=list)
    """Mean time in each state, two or more (seconds); []: no states."""
    strength: float = 0.8
    """Difference of input between the first and the last state, mean over neurons, in the unit of the weights."""
    spread: float = 0.3
    """Standard deviation over neurons of that difference, as a fraction of it."""

    def __post_init__(self) -> None:
        if len(self.dwell_s) == 1:
            raise UserError(f"states.dwell_s={self.dwell_s}: expected two states or more, or [] for none")
        if not all(0 < dwell < float("inf") for dwell in self.dwell_s):
            raise UserError(f"states.dwell_s={self.dwell_s}: expected numbers above 0")
        not_negative(self, "strength spread", section="states.")


@dataclass(kw_only=True)
class StimulusConfig:
    """A visual stimulus in small frames, and neurons that respond to it through receptive fields."""

    kind: Literal["none", "gratings", "white_noise", "moving_dots"] = "none"
    """What is shown: drifting gratings, binary white noise, or dots that move together."""
    rate_hz: float = 30.0
    """Frames per second."""
    size: int = 16
    """Height and width of a frame (pixels)."""
    strength: float = 0.8
    """Standard deviation over time of the input of a neuron that responds, in the unit of the weights."""
    fraction: float = 1.0
    """Fraction of the neurons that respond."""
    cycles: float = 2.0
    """Spatial frequency of gratings and of receptive fields (cycles a frame width)."""
    drift_hz: float = 2.0
    """Temporal frequency of gratings and of receptive fields; dots move `drift_hz / cycles` widths a second."""
    directions: int = 8
    """Number of directions, evenly around the circle (gratings and moving_dots)."""
    trial_s: float = 1.0
    """How long each direction is shown (seconds)."""
    pause_s: float = 0.5
    """Grey screen before each of them (seconds)."""
    dots: int = 8
    """Number of dots (moving_dots)."""

    def __post_init__(self) -> None:
        section = "stimulus."
        above_zero(self, "rate_hz cycles drift_hz trial_s directions dots", section=section)
        not_negative(self, "strength pause_s", section=section)
        require(self, "fraction", lambda v: 0 <= v <= 1, "a fraction from 0 to 1", section=section)
        least = f"at least 4 and two pixels a cycle (stimulus.cycles={self.cycles})"
        require(self, "size", lambda v: v >= max(4, 2 * self.cycles), least, section=section)
        require(self, "drift_hz", lambda v: v <= self.rate_hz / 2, "at most half of rate_hz", section=section)


@dataclass(kw_only=True)
class BehaviorConfig:
    """Behaviour that drives neurons, or that neurons drive."""

    variables: list[str] = field(default_factory=list)
    """Any of speed, heading and tail_angle; []: no behaviour is recorded."""
    direction: Literal["drives", "driven"] = "drives"
    """Whether behaviour is input to the neurons, or is read out from their activity."""
    rate_hz: float = 50.0
    """Samples per second in the file."""
    fraction: float = 0.4
    """Fraction of the neurons that belong to each variable."""
    strength: float = 0.6
    """Standard deviation of the input from each variable, in the unit of the weights (drives)."""
    time_constant_s: float = 1.0
    """Correlation time of the behaviour, or time over which activity is averaged (driven) (seconds)."""
    noise: float = 0.3
    """Part of the behaviour, 0 to 1 of its standard deviation, that does not come from the neurons (driven)."""

    def __post_init__(self) -> None:
        section = "behavior."
        unknown = [name for name in self.variables if name not in BEHAVIORS]
        if unknown or len(set(self.variables)) < len(self.variables):
            raise UserError(
                f"behavior.variables={self.variables}: expected {', '.join(BEHAVIORS)}, each at most once"
            )
        above_zero(self, "rate_hz time_constant_s", section=section)
        not_negative(self, "strength", section=section)
        require(self, "fraction noise", lambda v: 0 <= v <= 1, "a number from 0 to 1", section=section)
