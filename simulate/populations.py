"""The neurons of a circuit, of the kind that the settings name."""

import numpy as np

from simulate.conductance import ConductanceNeurons
from simulate.config import CircuitConfig
from simulate.glm import GlmNeurons
from simulate.izhikevich import IzhikevichNeurons
from simulate.lif import LifNeurons
from simulate.neurons import Neurons


def draw_neurons(config: CircuitConfig, *, inhibitory: np.ndarray, rng: np.random.Generator) -> Neurons:
    """Draw the parameters of all neurons.

    Args:
        config: Kind of neuron and its settings.
        inhibitory: (n,) bool, cell types.
        rng: The stream of the neurons.
    """
    n, dt = len(inhibitory), config.dt_s
    match config.neuron:
        case "glm":
            return GlmNeurons(config.glm, n=n, dt=dt, rng=rng)
        case "lif":
            return LifNeurons(config.lif, n=n, dt=dt, rng=rng)
        case "conductance":
            return ConductanceNeurons(config.conductance, n=n, dt=dt, rng=rng)
        case "izhikevich":
            return IzhikevichNeurons(config.izhikevich, inhibitory=inhibitory, dt=dt, rng=rng)
