"""From settings to a circuit and its activity."""

from dataclasses import dataclass

import numpy as np

from simulate.activity import Activity
from simulate.config import CircuitConfig
from simulate.drive import SlowDrive
from simulate.glm import GlmNeurons
from simulate.inputs import Inputs
from simulate.lif import LifNeurons
from simulate.network import Network, run
from simulate.neurons import Neurons
from simulate.stability import refuse_seizure, refuse_unhealthy
from simulate.synapses import Synapses
from simulate.wiring import Wiring, cell_types, draw_wiring


@dataclass(frozen=True, kw_only=True, eq=False)
class Circuit:
    """A circuit and what it did. The observed neurons come first, then the hidden ones."""

    config: CircuitConfig
    """The settings."""
    wiring: Wiring
    """All edges."""
    activity: Activity
    """All events."""
    inputs: Inputs
    """What acted on it from outside."""


def simulate_circuit(config: CircuitConfig) -> Circuit:
    """Draw a circuit and run it. The same settings give the same events, to the bit.

    Raises:
        UserError: The circuit is silent or epileptic.
    """
    # A stream for each part, always in this order. New parts are appended, so that old circuits stay.
    streams = map(np.random.default_rng, np.random.SeedSequence(config.seed).spawn(4))
    wiring_rng, neuron_rng, drive_rng, event_rng = streams
    dt = config.dt_s
    kinds = [cell_types(n, excitatory=config.wiring.excitatory) for n in (config.units, config.hidden)]
    wiring = draw_wiring(
        config.wiring,
        inhibitory=np.concatenate(kinds),
        delays=(config.steps(config.wiring.delay_min_s), config.steps(config.wiring.delay_max_s)),
        rng=wiring_rng,
    )
    n = wiring.n
    neurons: Neurons
    if config.neuron == "glm":
        neurons = GlmNeurons(config.glm, n=n, dt=dt, rng=neuron_rng)
    else:
        neurons = LifNeurons(config.lif, n=n, dt=dt, rng=neuron_rng)
    decays = np.exp(-dt / np.array([config.synapse.excitatory_s, config.synapse.inhibitory_s]))
    network = Network(
        neurons=neurons,
        synapses=Synapses(wiring, decays=(decays[0], decays[1])),
        emission=config.emission,
        refractory=config.steps(config.refractory_s),
        n=n,
    )
    drive = SlowDrive(config.drive, n=n, dt=dt, rng=drive_rng) if config.drive.n else None
    inputs = Inputs(config, n=n)
    activity = run(
        network,
        n=n,
        n_steps=config.steps(config.duration_s),
        block=config.steps(config.block_s),
        dt=dt,
        drive=inputs.joined(drive.advance if drive else None),
        check=lambda n_events, n_steps: refuse_seizure(n_events, n=n, seconds=n_steps * dt),
        rng=event_rng,
    )
    refuse_unhealthy(activity)
    return Circuit(config=config, wiring=wiring, activity=activity, inputs=inputs)
