"""Point-process GLM neurons with a log link.

Neuron j expects in step t, given the past of all,

    λ_j(t) = min(exp(b_j + I_j(t) + h_j(t)), λ_max)
    h_j(t) = -r Σ_{events e of j, e < t} exp(-(t - e - 1) dt / τ_r)

events, with I the synaptic input and the slow drive, and 0 in the absolute refractory period (Truccolo, Eden,
Fellows, Donoghue & Brown 2005, J. Neurophysiol. 93:1074; Pillow et al. 2008, Nature 454:995). Without the
ceiling λ_max, recurrent excitation through an exponential explodes sooner or later (Gerhard, Deger & Truccolo
2017, PLoS Comput. Biol. 13:e1005390).
"""

import numpy as np

from simulate.config import GlmConfig


class GlmNeurons:
    """A population of GLM neurons, at first without a past; see `simulate.neurons.Neurons`.

    Args:
        config: Rates and refractoriness.
        n: Number of neurons.
        dt: Time step (seconds).
        rng: The stream of the neurons' own parameters.
    """

    def __init__(self, config: GlmConfig, *, n: int, dt: float, rng: np.random.Generator) -> None:
        self._bias = np.log(config.rate_hz * dt) + config.rate_sigma * rng.standard_normal(n)
        self._ceiling = np.log(config.ceiling_hz * dt)
        self._recovery = config.recovery
        self._decay = np.exp(-dt / config.recovery_s)
        self._history = np.zeros(n)

    def intensity(self, current: np.ndarray, refractory: np.ndarray) -> np.ndarray:
        """(steps, n) λ from a (steps, n) log-intensity."""
        for step in current:
            step += self._history
            self._history *= self._decay
        current += self._bias
        np.minimum(current, self._ceiling, out=current)
        np.exp(current, out=current)
        np.copyto(current, 0.0, where=refractory)
        return current

    def fire(self, neurons: np.ndarray, counts: np.ndarray, steps_left: np.ndarray) -> None:
        """Start the recovery of those who fired."""
        self._history[neurons] -= self._recovery * self._decay**steps_left * counts
