"""Slow shared drive: a few Ornstein-Uhlenbeck processes that reach every neuron with random loadings.

Each process has mean 0 and variance 1 and is updated exactly (Gillespie 1996, Phys. Rev. E 54:2084):

    x(t + 1) = a x(t) + sqrt(1 - a²) ξ(t),    a = exp(-dt / τ),  ξ standard normal

Neuron j receives strength · Σ_q L_qj x_q(t). Its loadings are a random direction, ‖L_·j‖ = 1: the drive of
each neuron has the standard deviation `strength`, and those of two neurons have the correlation L_·i · L_·j.
"""

import numpy as np
from scipy.signal import lfilter

from simulate.config import DriveConfig


class SlowDrive:
    """The drives of one run, produced piece by piece.

    Args:
        config: Number, time constant and strength.
        n: Number of neurons.
        dt: Time step (seconds).
        rng: The stream of the drive.
    """

    def __init__(self, config: DriveConfig, *, n: int, dt: float, rng: np.random.Generator) -> None:
        directions = rng.standard_normal((config.n, n))
        self._loadings = config.strength * directions / np.linalg.norm(directions, axis=0)
        self._decay = np.exp(-dt / config.time_constant_s)
        self._state = rng.standard_normal(config.n)
        self._rng = rng

    def advance(self, n_steps: int) -> np.ndarray:
        """(n_steps, n) input of the next steps, in the unit of the weights."""
        noise = np.sqrt(1 - self._decay**2) * self._rng.standard_normal((n_steps, len(self._state)))
        processes, _ = lfilter([1.0], [1.0, -self._decay], noise, axis=0, zi=self._decay * self._state[None])
        self._state = processes[-1]
        return processes @ self._loadings
