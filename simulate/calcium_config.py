"""Settings of calcium imaging."""

from dataclasses import dataclass
from typing import Literal

from simulate.checks import above_zero, not_negative, require


@dataclass(kw_only=True)
class CalciumConfig:
    """Calcium imaging of the observed neurons: fluorescence traces, and events found in them."""

    frame_rate_hz: float = 0.0
    """Frames per second; 0: no imaging, the file holds the spikes."""
    events: Literal["deconvolved", "spikes"] = "deconvolved"
    """Events of the file: found in the traces by OASIS, as the importer does, or the true spikes."""
    rise_s: float = 0.05
    """Rise time constant of the indicator (seconds)."""
    decay_s: float = 0.4
    """Decay time constant of the indicator (seconds)."""
    amplitude: float = 0.2
    """Median over units of the peak of a single spike (ΔF/F)."""
    amplitude_sigma: float = 0.2
    """Standard deviation over units of the logarithm of that peak."""
    hill: float = 1.0
    """Hill exponent n: fluorescence grows with the n-th power of weak calcium."""
    saturation: float = 0.05
    """Saturation γ: the brightest is (1 + γ)/γ times a single spike; 0: no limit."""
    baseline: float = 0.0
    """Fluorescence of a silent unit (ΔF/F)."""
    noise: float = 0.05
    """Standard deviation of the white noise of a frame (ΔF/F)."""
    threshold: float = 2.0
    """Smallest event that deconvolution may find, in standard deviations of the noise."""

    def __post_init__(self) -> None:
        section = "calcium."
        not_negative(self, "frame_rate_hz amplitude_sigma saturation noise", section=section)
        above_zero(self, "rise_s decay_s amplitude hill threshold", section=section)
        require(self, "baseline", lambda v: True, "a finite number", section=section)
        more = f"more than calcium.rise_s ({self.rise_s})"
        require(self, "decay_s", lambda v: v > self.rise_s, more, section=section)
