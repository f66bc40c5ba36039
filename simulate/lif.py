"""Current-based leaky integrate-and-fire neurons with escape noise.

With an input that is constant within a step, the potential follows exactly

    V(t) = V_rest + a (V(t-1) - V_rest) + (1 - a) (μ_j + I_j(t)),    a = exp(-dt / τ_m)

and the neuron fires with the escape rate ρ(t) = ρ_0 exp((V(t) - θ) / Δ), so in a step with probability
1 - exp(-ρ dt): an exact conditional intensity, λ = ρ dt. After an event, λ is 0 and V is held at V_reset for
the refractory period (Gerstner, Kistler, Naud & Paninski 2014, Neuronal Dynamics, sections 1.3 and 9.1).
"""

import numpy as np

from simulate.config import LifConfig
from simulate.emission import HIGHEST_INTENSITY


class LifNeurons:
    """A population of integrate-and-fire neurons, at first at rest; see `simulate.neurons.Neurons`.

    Args:
        config: Membrane, threshold and constant input.
        n: Number of neurons.
        dt: Time step (seconds).
        rng: The stream of the neurons' own parameters.
    """

    def __init__(self, config: LifConfig, *, n: int, dt: float, rng: np.random.Generator) -> None:
        self._target = config.rest_mv + config.input_mv + config.input_sigma_mv * rng.standard_normal(n)
        self._decay = np.exp(-dt / config.membrane_s)
        self._reset = config.reset_mv
        self._escape = config.escape_mv
        # λ = exp((V - zero) / Δ)
        self._zero = config.threshold_mv - config.escape_mv * np.log(config.escape_hz * dt)
        self._potential = np.full(n, config.rest_mv)

    def intensity(self, current: np.ndarray, refractory: np.ndarray) -> np.ndarray:
        """(steps, n) λ from a (steps, n) current in mV."""
        current += self._target
        current *= 1 - self._decay
        for step, held in zip(current, refractory, strict=True):
            self._potential *= self._decay
            self._potential += step
            np.copyto(self._potential, self._reset, where=held)
            step[:] = self._potential
        current -= self._zero
        current /= self._escape
        np.minimum(current, np.log(HIGHEST_INTENSITY), out=current)
        np.exp(current, out=current)
        np.copyto(current, 0.0, where=refractory)
        return current

    def fire(self, neurons: np.ndarray, counts: np.ndarray, steps_left: np.ndarray) -> None:
        """Reset those who fired; they stay there for the steps left."""
        self._potential[neurons] = self._reset
