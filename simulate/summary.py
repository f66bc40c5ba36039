"""A circuit in a few numbers."""

from typing import Any

import numpy as np
from scipy.special import gammaln

from simulate.activity import Activity
from simulate.circuit import Circuit
from simulate.emission import Emission, homogeneous_log_likelihood
from simulate.stability import synchrony


def summarize(circuit: Circuit) -> dict[str, Any]:
    """Numbers of the observed neurons, and the number of all edges.

    Returns:
        n_units, hidden, duration_s, n_events; rates_hz {mean, lowest, median, highest}; synchrony (see
        `simulate.stability`); edges {observed, excitatory, inhibitory, all}; bits_per_spike {truth,
        homogeneous_poisson}. All are of the spikes, even if the session file holds calcium events.
    """
    config, wiring = circuit.config, circuit.wiring
    seen = circuit.activity.of_first(config.units)
    rates = seen.rates_hz
    observed = (wiring.source < config.units) & (wiring.target < config.units)
    inhibitory = wiring.inhibitory[wiring.source[observed]]
    return {
        "n_units": config.units,
        "hidden": config.hidden,
        "duration_s": seen.n_steps * seen.dt,
        "n_events": int(seen.totals.sum()),
        "rates_hz": {
            "mean": rates.mean(),
            "lowest": rates.min(),
            "median": np.median(rates),
            "highest": rates.max(),
        },
        "synchrony": synchrony(seen),
        "edges": {
            "observed": int(observed.sum()),
            "excitatory": int((~inhibitory).sum()),
            "inhibitory": int(inhibitory.sum()),
            "all": len(wiring.source),
        },
        "bits_per_spike": {
            "truth": bits_per_spike(seen, emission=config.emission),
            "homogeneous_poisson": 0.0,
        },
    }


def bits_per_spike(activity: Activity, *, emission: Emission) -> float:
    """How much better than constant rates the true intensities predict the events (bits an event, pooled).

    The constant rates are each neuron's own, over the whole recording, with events drawn by the same law.
    """
    totals = activity.totals
    truth = activity.log_likelihood.sum()
    if emission == "poisson":
        truth += gammaln(
            activity.counts + 1
        ).sum()  # the part of Σ log k! that the constant rates are without
    constant = homogeneous_log_likelihood(emission, totals, n_steps=activity.n_steps).sum()
    return float((truth - constant) / (totals.sum() * np.log(2)))
