"""What an experimenter would have recorded of a circuit, with the truth beside it."""

import numpy as np

from neuroformer.session import Events, SessionData, Truth
from simulate.activity import Activity
from simulate.circuit import Circuit


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
    return SessionData(
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


def place_events(activity: Activity) -> Events:
    """Give events their times: the k events of a unit in a step lie at (i + ½) / k of it, i = 0 … k - 1."""
    counts = activity.counts
    first = np.cumsum(counts) - counts
    rank = np.arange(counts.sum()) - np.repeat(first, counts)  # 0 … k - 1 within its entry
    times = (np.repeat(activity.steps, counts) + (rank + 0.5) / np.repeat(counts, counts)) * activity.dt
    units = np.repeat(activity.neurons, counts).astype(np.int32)
    order = np.lexsort((units, times))
    return Events(times=times[order], units=units[order])
