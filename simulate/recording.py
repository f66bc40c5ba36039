"""What an experimenter would have recorded of a circuit, with the truth beside it."""

import dataclasses

import numpy as np

from neuroformer.session import Events, SessionData, TimeSeries, Truth
from simulate.activity import Activity
from simulate.calcium import image
from simulate.calcium_config import CalciumConfig
from simulate.circuit import Circuit
from simulate.deconvolution import deconvolve
from simulate.streams import CALCIUM, stream
from simulate.surroundings import add_surroundings


def to_session(circuit: Circuit, *, session_id: str) -> SessionData:
    """Keep the events of the observed neurons and what is true of them.

    `truth.extra` has the weights of all neurons as `all_weights` (n, n) when some are hidden. Weights that change
    are in it as `weights_after` (N, N) and, of all neurons, `all_weights_after`, with the time `switch_s` (1,), at
    which the one interval ends and the other begins.

    Args:
        circuit: A circuit that has run.
        session_id: Name of the session.
    """
    config, wiring, n = circuit.config, circuit.wiring, circuit.config.units
    seen = circuit.activity.of_first(n)
    dt, block = seen.dt, config.steps(config.block_s)
    weights = wiring.matrix(wiring.weight)
    extra = {"all_weights": weights} if config.hidden else {}
    cuts = [0.0, seen.n_steps * dt]
    if circuit.change is not None:
        after, switch_s = wiring.matrix(circuit.change.weight), circuit.change.step * dt
        extra |= {"weights_after": after[:n, :n], "switch_s": np.array([switch_s])}
        extra |= {"all_weights_after": after} if config.hidden else {}
        cuts.insert(1, switch_s)
    truth = Truth(
        weights=weights[:n, :n],
        delays=wiring.matrix(wiring.delay * dt)[:n, :n],
        log_likelihood=seen.log_likelihood,
        block_starts=np.arange(0, seen.n_steps, block) * dt,
        block_s=block * dt,
        dt=dt,
        emission=config.emission,
        hidden=config.hidden,
        extra=extra,
    )
    session = SessionData(
        session_id=session_id,
        subject_id="simulated",
        description=f"Simulated circuit of {wiring.n} {config.neuron.upper()} neurons, {n} of them observed",
        source=f"simulate, seed {config.seed}",
        start=0.0,
        stop=seen.n_steps * dt,
        n_units=n,
        events=place_events(seen),
        units={
            "cell_type": np.where(wiring.inhibitory[:n], "I", "E"),
            **{name: values[:n] for name, values in wiring.places.items()},
        },
        intervals=np.stack([cuts[:-1], cuts[1:]], axis=1),
        truth=truth,
    )
    add_surroundings(session, circuit.inputs, seen)
    if config.calcium.frame_rate_hz:
        add_calcium(session, seen, config.calcium, rng=stream(config.seed, CALCIUM))
    return session


def add_calcium(
    session: SessionData, seen: Activity, config: CalciumConfig, *, rng: np.random.Generator
) -> None:
    """Image the units and, when the settings say so, put the events found in the traces in place of the spikes.

    The likelihood of the spikes says nothing about those events, and theirs is not known: `truth.log_likelihood`
    then has no block. The spikes and their likelihood are kept in `truth.extra`.

    Args:
        session: Takes traces and events.
        seen: What the units did.
        config: Indicator, camera, and which events to keep.
        rng: The stream of the imaging.
    """
    times, values = image(seen, config, rng=rng)
    session.traces = TimeSeries(timestamps=times, values=values, kind="continuous", unit="dF/F")
    if config.events == "spikes":
        return
    spikes, truth = session.events, session.truth
    assert truth is not None
    session.events = deconvolve(times, values, config)
    kept = {
        "spike_times": spikes.times,
        "spike_units": spikes.units,
        "spike_log_likelihood": truth.log_likelihood,
    }
    session.truth = dataclasses.replace(
        truth,
        log_likelihood=truth.log_likelihood[:0],
        block_starts=truth.block_starts[:0],
        extra=truth.extra | kept,
    )


def place_events(activity: Activity) -> Events:
    """Give events their times: the k events of a unit in a step lie at (i + ½) / k of it, i = 0 … k - 1."""
    counts = activity.counts
    first = np.cumsum(counts) - counts
    rank = np.arange(counts.sum()) - np.repeat(first, counts)  # 0 … k - 1 within its entry
    times = (np.repeat(activity.steps, counts) + (rank + 0.5) / np.repeat(counts, counts)) * activity.dt
    units = np.repeat(activity.neurons, counts).astype(np.int32)
    order = np.lexsort((units, times))
    return Events(times=times[order], units=units[order])
