"""Izhikevich's simple model of a spiking neuron, with escape noise.

    dv/dt = 0.04 v² + 5 v + 140 - u + I,    du/dt = a (b v - u),    after an event: v ← c, u ← u + d

with v in mV and time in ms (Izhikevich 2003, IEEE Trans. Neural Netw. 14:1569), his regular-spiking excitatory and
fast-spiking inhibitory parameters, and his heterogeneity, with r uniform in (0, 1):

    excitatory: a = 0.02, b = 0.2, c = -65 + 15 r², d = 8 - 6 r²    inhibitory: a = 0.02 + 0.08 r, b = 0.25 - 0.05 r,
                                                                    c = -65, d = 2

He integrates with Euler's method, v in two halves of a step of 1 ms and then u; so does this, with pieces of at most
0.5 ms. He ends a spike where v reaches 30 mV; then the network's noise must come from outside, and no likelihood of
the events is known. Here the neuron fires on its way up with the escape rate ρ = ρ_0 exp((v - θ) / Δ), as in
`simulate.lif`: an exact conditional intensity, λ = ρ dt, and an event is certain at 30 mV, where v is held till then.
The upstroke begins near -50 mV, so a θ there and a Δ of a few mV take the place of his noisy input (escape noise for
such models: Gerstner, Kistler, Naud & Paninski 2014, Neuronal Dynamics, section 9.1); a small Δ and θ = 30 give his
deterministic spikes.
"""

from dataclasses import dataclass

import numpy as np

from simulate.checks import above_zero, not_negative, require
from simulate.emission import HIGHEST_INTENSITY

PEAK_MV = 30.0
LOWEST_MV = -110.0  # below, Euler's method of 0.5 ms jumps over the resting potential
PIECE_MS = 0.5


@dataclass(kw_only=True)
class IzhikevichConfig:
    """Izhikevich neurons with escape noise; at most one event a step, and steps of at most 1 ms."""

    input: float = 2.0
    """Mean over excitatory neurons of the constant input I (his unit, mV per ms); above 3.8 one fires alone."""
    inhibitory_input: float = 0.0
    """Mean over inhibitory neurons of the constant input; they need less."""
    input_sigma: float = 0.5
    """Standard deviation over neurons of the constant input."""
    noise: float = 0.0
    """Standard deviation of white-noise input (at steps of 1 ms; his: 5). The truth knows it, as it knows the
    drive, so nobody else reaches its likelihood."""
    threshold_mv: float = -50.0
    """Potential at which a neuron fires at `escape_hz` (mV)."""
    escape_hz: float = 100.0
    """Escape rate at threshold (events per second)."""
    escape_mv: float = 5.0
    """Change of the potential that multiplies the escape rate by e (mV)."""

    def __post_init__(self) -> None:
        above_zero(self, "escape_hz escape_mv", section="izhikevich.")
        not_negative(self, "input_sigma noise", section="izhikevich.")
        require(
            self,
            "input inhibitory_input threshold_mv",
            lambda v: True,
            "a finite number",
            section="izhikevich.",
        )


class IzhikevichNeurons:
    """A population of such neurons, at first at v = -65 mV; see `simulate.neurons.Neurons`.

    They have no refractory period: u keeps them from firing again at once.

    Args:
        config: Input and escape noise.
        inhibitory: (n,) bool, fast-spiking neurons; the others are regular-spiking.
        dt: Time step (seconds).
        rng: The stream of the neurons' own parameters and of the white noise.
    """

    def __init__(
        self, config: IzhikevichConfig, *, inhibitory: np.ndarray, dt: float, rng: np.random.Generator
    ) -> None:
        n = len(inhibitory)
        r = rng.random(n)
        self._a = np.where(inhibitory, 0.02 + 0.08 * r, 0.02)
        self._b = np.where(inhibitory, 0.25 - 0.05 * r, 0.2)
        self._c = np.where(inhibitory, -65.0, -65 + 15 * r**2)
        self._d = np.where(inhibitory, 2.0, 8 - 6 * r**2)
        self._input = np.where(inhibitory, config.inhibitory_input, config.input)
        self._input += config.input_sigma * rng.standard_normal(n)
        self._dt_ms = dt * 1e3
        self._pieces = int(np.ceil(self._dt_ms / PIECE_MS - 1e-9))
        self._noise = config.noise / np.sqrt(self._dt_ms)
        self._rng = rng
        self._escape = config.escape_mv
        # λ = exp((v - zero) / Δ)
        self._zero = config.threshold_mv - config.escape_mv * np.log(config.escape_hz * dt)
        self._v = np.full(n, -65.0)
        self._u = self._b * self._v

    def intensity(self, current: np.ndarray, refractory: np.ndarray) -> np.ndarray:
        """(1, n) λ from a (1, n) input; one step at a time, as u runs on from an event."""
        (current,) = current
        v, u = self._v, self._u
        drive = current + self._input
        if self._noise:
            drive += self._noise * self._rng.standard_normal(len(v))
        for _ in range(self._pieces):
            v += self._dt_ms / self._pieces * (0.04 * v**2 + 5 * v + 140 - u + drive)
            np.clip(v, LOWEST_MV, PEAK_MV, out=v)
        u += self._dt_ms * self._a * (self._b * v - u)
        certain = np.where(v >= PEAK_MV, HIGHEST_INTENSITY, 0.0)
        log_intensity = np.minimum((v - self._zero) / self._escape, np.log(HIGHEST_INTENSITY))
        return np.maximum(np.exp(log_intensity), certain)[None]

    def fire(self, neurons: np.ndarray, counts: np.ndarray, steps_left: np.ndarray) -> None:
        """Reset those who fired."""
        self._v[neurons] = self._c[neurons]
        self._u[neurons] += self._d[neurons]
