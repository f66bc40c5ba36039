r"""From intensities to event counts, and the exact probability of those counts.

With the expected count λ of a step and a standard exponential number E, a step has events exactly when E < λ,
which happens with probability 1 - exp(-λ) under both laws:

- `bernoulli`: one event then. log p = log(1 - exp(-λ)) with an event, -λ without.
- `poisson`: the count is the quantile of Poisson(λ) at exp(-E). log p = k log λ - λ - log k!.

Both give an empty step -λ, so the log-likelihood of many steps is -Σλ and a term for each step with events.
"""

from typing import Literal

import numpy as np
from scipy.special import gammaln

Emission = Literal["poisson", "bernoulli"]

HIGHEST_INTENSITY = 100.0
"""Most events that a neuron may expect in one step; beyond it, an event is certain to the last digit."""


def draw_counts(emission: Emission, intensity: np.ndarray, exponential: np.ndarray) -> np.ndarray:
    """Draw the counts of steps that have events.

    Args:
        emission: The law.
        intensity: (E,) expected count λ of each step, at most `HIGHEST_INTENSITY`.
        exponential: (E,) the numbers that decided that there are events, each below its λ.

    Returns:
        (E,) int64 counts, 1 or more.
    """
    counts = np.ones(len(intensity), np.int64)
    if emission == "bernoulli":
        return counts
    quantile = np.exp(-exponential)
    probability = intensity * np.exp(-intensity)  # of exactly `counts` events
    cumulative = np.exp(-intensity) + probability
    while (more := (cumulative < quantile) & (counts < 10 * HIGHEST_INTENSITY)).any():
        counts += more
        probability = np.where(more, probability * intensity / counts, probability)
        cumulative = np.where(more, cumulative + probability, cumulative)
    return counts


def event_log_likelihood(emission: Emission, intensity: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """What steps with events add to -Σλ in the log-likelihood.

    Args:
        emission: The law.
        intensity: (E,) expected count λ of each step.
        counts: (E,) events in each step, 1 or more.

    Returns:
        (E,) nats.
    """
    if emission == "bernoulli":
        return intensity + np.log(
            -np.expm1(-intensity)
        )  # log(1 - exp(-λ)), and the -λ that -Σλ holds too much
    return counts * np.log(intensity) - gammaln(counts + 1)


def homogeneous_log_likelihood(emission: Emission, totals: np.ndarray, *, n_steps: int) -> np.ndarray:
    """Log-likelihood under the constant intensity that fits each unit best, without Poisson's -Σ log k!.

    Args:
        emission: The law.
        totals: (N,) events of each unit.
        n_steps: Number of steps.

    Returns:
        (N,) nats; 0 for a silent unit.
    """
    mean = np.maximum(totals, 1) / n_steps  # the 1 is for silent units, whose terms are 0 anyway
    if emission == "poisson":
        return totals * (np.log(mean) - 1)
    empty = n_steps - totals
    return totals * np.log(mean) + empty * np.log(np.maximum(empty, 1) / n_steps)
