"""What the network asks of a neuron model."""

from typing import Protocol

import numpy as np


class Neurons(Protocol):
    """State of a population of n neurons at the end of the steps that were asked for."""

    def intensity(self, current: np.ndarray, refractory: np.ndarray) -> np.ndarray:
        """Expected counts of the next steps, if nobody fires in them.

        Args:
            current: (steps, n) input, in the unit of the weights; may be overwritten. For conductances (steps,
                3, n): excitation, inhibition with its sign, and current from elsewhere (mV).
            refractory: (steps, n) bool, True where a neuron is in its absolute refractory period.

        Returns:
            (steps, n), 0 where refractory, at most `simulate.emission.HIGHEST_INTENSITY`.
        """

    def fire(self, neurons: np.ndarray, counts: np.ndarray, steps_left: np.ndarray) -> None:
        """Take note of events in the steps last asked for.

        Args:
            neurons: (E,) who fired, each once.
            counts: (E,) how often.
            steps_left: (E,) how many of those steps come after the event; the neuron is refractory in them.
        """
