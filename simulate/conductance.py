"""Conductance-based leaky integrate-and-fire neurons with escape noise.

An event opens synaptic channels, which pull the potential towards their reversal potential. With conductances in
units of the leak conductance, the sums over events of `simulate.synapses` with w > 0 as g_E and with -w > 0 as g_I,

    τ_m dV/dt = -(V - V_rest) - g_E (V - E_E) - g_I (V - E_I) + μ_j + D_j

With conductances that are constant within a step, the potential follows exactly (exponential Euler):

    g = 1 + g_E(t) + g_I(t),   V∞ = (V_rest + μ_j + D_j(t) + g_E(t) E_E + g_I(t) E_I) / g
    V(t) = V∞ + exp(-g dt / τ_m) (V(t-1) - V∞)

Events, reset and refractory period are those of `simulate.lif` (Gerstner, Kistler, Naud & Paninski 2014, Neuronal
Dynamics, sections 3.1 and 9.1; Destexhe, Rudolph & Paré 2003, Nat. Rev. Neurosci. 4:739).
"""

from dataclasses import dataclass

import numpy as np

from simulate.checks import above_zero, not_negative, require
from simulate.emission import HIGHEST_INTENSITY


@dataclass(kw_only=True)
class ConductanceConfig:
    """Conductance-based integrate-and-fire neurons with escape noise; at most one event a step."""

    membrane_s: float = 0.02
    """Membrane time constant without input (seconds)."""
    rest_mv: float = -65.0
    """Resting potential (mV)."""
    excitatory_mv: float = 0.0
    """Reversal potential of excitatory synapses (mV)."""
    inhibitory_mv: float = -75.0
    """Reversal potential of inhibitory synapses (mV); near `rest_mv`, inhibition only divides."""
    reset_mv: float = -65.0
    """Potential right after an event and during the refractory period (mV)."""
    threshold_mv: float = -50.0
    """Potential at which a neuron fires at `escape_hz` (mV)."""
    escape_hz: float = 100.0
    """Escape rate at threshold (events per second)."""
    escape_mv: float = 3.0
    """Change of the potential that multiplies the escape rate by e (mV)."""
    refractory_s: float = 0.002
    """Absolute refractory period: no event in this time after one (seconds)."""
    input_mv: float = 9.0
    """Mean over neurons of the constant input (mV of current over leak conductance)."""
    input_sigma_mv: float = 1.0
    """Standard deviation over neurons of the constant input (mV)."""

    def __post_init__(self) -> None:
        section = "conductance."
        above_zero(self, "membrane_s escape_hz escape_mv", section=section)
        not_negative(self, "refractory_s input_sigma_mv", section=section)
        finite = "rest_mv excitatory_mv inhibitory_mv reset_mv threshold_mv input_mv"
        require(self, finite, lambda v: True, "a finite number", section=section)
        above = f"more than conductance.inhibitory_mv ({self.inhibitory_mv})"
        require(self, "excitatory_mv", lambda v: v > self.inhibitory_mv, above, section=section)


class ConductanceNeurons:
    """A population of such neurons, at first at rest; see `simulate.neurons.Neurons`.

    Args:
        config: Membrane, synapses, threshold and constant input.
        n: Number of neurons.
        dt: Time step (seconds).
        rng: The stream of the neurons' own parameters.
    """

    def __init__(self, config: ConductanceConfig, *, n: int, dt: float, rng: np.random.Generator) -> None:
        self._target = config.rest_mv + config.input_mv + config.input_sigma_mv * rng.standard_normal(n)
        self._reversal = np.array([[config.excitatory_mv], [-config.inhibitory_mv]])
        self._rate = -dt / config.membrane_s
        self._reset = config.reset_mv
        self._escape = config.escape_mv
        # λ = exp((V - zero) / Δ)
        self._zero = config.threshold_mv - config.escape_mv * np.log(config.escape_hz * dt)
        self._potential = np.full(n, config.rest_mv)

    def intensity(self, current: np.ndarray, refractory: np.ndarray) -> np.ndarray:
        """(steps, n) λ from (steps, 3, n): excitation, inhibition with its sign, and input from elsewhere."""
        conductance = 1 + current[:, 0] - current[:, 1]
        pulled_to = (
            self._target + current[:, 2] + (current[:, :2] * self._reversal).sum(axis=1)
        ) / conductance
        decay = np.exp(self._rate * conductance)
        potentials = np.empty_like(conductance)
        for potential, towards, kept, held in zip(potentials, pulled_to, decay, refractory, strict=True):
            potential[:] = towards + kept * (self._potential - towards)
            np.copyto(potential, self._reset, where=held)
            self._potential[:] = potential
        log_intensity = (potentials - self._zero) / self._escape
        intensity = np.exp(np.minimum(log_intensity, np.log(HIGHEST_INTENSITY)))
        np.copyto(intensity, 0.0, where=refractory)
        return intensity

    def fire(self, neurons: np.ndarray, counts: np.ndarray, steps_left: np.ndarray) -> None:
        """Reset those who fired; they stay there for the steps left."""
        self._potential[neurons] = self._reset
