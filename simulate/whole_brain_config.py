"""Settings of a whole brain in calcium frames."""

from dataclasses import dataclass

from neuroformer.errors import UserError
from simulate.checks import above_zero, fraction, not_negative, require


@dataclass(kw_only=True)
class WholeBrainConfig:
    """A whole brain in calcium frames, a few neurons of which move the tail, instead of a circuit."""

    frames: int = 0
    """Number of frames; 0: a circuit is simulated."""
    frame_rate_hz: float = 1.1
    """Frames per second."""
    drivers: int = 50
    """Neurons that move the tail."""
    weight_sigma: float = 0.3
    """Standard deviation of the logarithm of their weights."""
    coherence: float = 0.05
    """Part of the variance of a driver's input that is one command for all of them."""
    followers: int = 0
    """Other neurons that hear the command as much as drivers do, and do not move the tail."""
    tail_noise: float = 0.3
    """Part of the tail's standard deviation that no neuron knows."""
    tail_deg: float = 20.0
    """Standard deviation of the tail angle (degrees)."""
    factors: int = 10
    """Slow factors that all neurons share and that have nothing to do with the tail."""
    factor_s: float = 20.0
    """Correlation time of the factors (seconds)."""
    shared: float = 0.6
    """Part of a neuron's standard deviation that comes from the factors."""
    decay_s: float = 1.5
    """Decay of the indicator (seconds)."""
    amplitude: float = 0.2
    """Median over neurons of the standard deviation of ΔF/F without noise."""
    noise: float = 0.05
    """Standard deviation of the noise of ΔF/F."""

    def __post_init__(self) -> None:
        not_negative(
            self, "frames followers weight_sigma factor_s factors tail_deg noise", section="whole_brain."
        )
        above_zero(self, "frame_rate_hz drivers factor_s decay_s amplitude", section="whole_brain.")
        fraction(self, "coherence", section="whole_brain.")
        require(self, "tail_noise shared", lambda v: 0 <= v < 1, "from 0 to below 1", section="whole_brain.")
        if 0 < self.frames < 20:
            raise UserError(f"whole_brain.frames={self.frames}: expected 20 or more, or 0 for a circuit")
        if self.followers and not self.coherence:
            raise UserError(
                f"whole_brain.followers={self.followers}: there is no command to follow; raise whole_brain.coherence"
            )
