"""From settings to a circuit and its activity."""

from dataclasses import dataclass

import numpy as np

from simulate.activity import Activity
from simulate.advice import advise
from simulate.config import CircuitConfig
from simulate.drive import SlowDrive
from simulate.inputs import Inputs
from simulate.network import Network, run
from simulate.plasticity import Change, draw_change
from simulate.populations import draw_neurons
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
    change: Change | None = None
    """Weights that changed, and when."""


def simulate_circuit(config: CircuitConfig) -> Circuit:
    """Draw a circuit and run it. The same settings give the same events, to the bit.

    Raises:
        UserError: The circuit is silent or epileptic, or cannot be drawn.
    """
    # A stream for each part, always in this order. New parts are appended, so that old circuits stay.
    streams = map(np.random.default_rng, np.random.SeedSequence(config.seed).spawn(11))
    wiring_rng, neuron_rng, drive_rng, event_rng, places_rng, plasticity_rng, *_ = streams
    dt = config.dt_s
    kinds = [cell_types(n, excitatory=config.wiring.excitatory) for n in (config.units, config.hidden)]
    wiring = draw_wiring(
        config.wiring,
        inhibitory=np.concatenate(kinds),
        delays=(config.steps(config.wiring.delay_min_s), config.steps(config.wiring.delay_max_s)),
        rng=wiring_rng,
        places_rng=places_rng,
        observed=config.units,
        dt=dt,
    )
    n = wiring.n
    n_steps, block = config.steps(config.duration_s), config.steps(config.block_s)
    decays = np.exp(-dt / np.array([config.synapse.excitatory_s, config.synapse.inhibitory_s]))
    synapses = Synapses(wiring, decays=(decays[0], decays[1]), apart=config.neuron == "conductance")
    network = Network(
        neurons=draw_neurons(config, inhibitory=wiring.inhibitory, rng=neuron_rng),
        synapses=synapses,
        emission=config.emission,
        refractory=config.steps(config.refractory_s),
        n=n,
    )
    drive = SlowDrive(config.drive, n=n, dt=dt, rng=drive_rng) if config.drive.n else None
    inputs = Inputs(config, n=n)
    change = None
    if config.plasticity.fraction:
        change = draw_change(
            config.plasticity,
            wiring.weight,
            median=wiring.median,
            sigma=config.wiring.weight_sigma,
            n_steps=n_steps,
            block=block,
            rng=plasticity_rng,
        )

    def learn(step: int) -> None:
        if change is not None and step == change.step:
            synapses.change_weights(change.weight)

    advice = advise(config)
    activity = run(
        network,
        n=n,
        n_steps=n_steps,
        block=block,
        dt=dt,
        drive=inputs.joined(drive.advance if drive else None),
        check=lambda n_events, n_steps: refuse_seizure(n_events, n=n, seconds=n_steps * dt, advice=advice),
        rng=event_rng,
        before_block=learn,
    )
    refuse_unhealthy(activity, advice=advice)
    return Circuit(config=config, wiring=wiring, activity=activity, inputs=inputs, change=change)
