"""Runs a circuit, several steps at a time.

An event reaches nobody before the shortest delay has passed, and its own neuron is silent for the refractory
period. So the intensities of the next min(shortest delay, refractory steps + 1) steps follow from what came
before them, except that a neuron's intensity is 0 after its first event among them. Taken at once, these
steps give the same events and likelihoods as one by one, for less.
"""

from collections.abc import Callable

import numpy as np

from simulate.activity import Activity
from simulate.emission import Emission, draw_counts, event_log_likelihood
from simulate.neurons import Neurons
from simulate.synapses import Synapses


class Network:
    """Neurons and their synapses.

    Args:
        neurons: The n neurons.
        synapses: The connections between them.
        emission: How events are drawn from intensities.
        refractory: Absolute refractory period (steps).
        n: Number of neurons.
    """

    def __init__(
        self, *, neurons: Neurons, synapses: Synapses, emission: Emission, refractory: int, n: int
    ) -> None:
        self._neurons = neurons
        self._synapses = synapses
        self._emission = emission
        self._refractory = refractory
        self._at_once = min(synapses.shortest, refractory + 1)
        self._step = 0
        self._free_from = np.zeros(n, np.int64)  # first step in which each neuron can fire again
        self._first = np.zeros(n, np.int64)  # scratch

    def advance(
        self, exponential: np.ndarray, drive: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Run the next S steps.

        Args:
            exponential: (S, n) standard exponential numbers, which decide when neurons fire.
            drive: (S, n) input from elsewhere, or None.

        Returns:
            (E,) steps, (E,) neurons and (E,) counts of the events, and (n,) log-likelihoods of the S steps.
        """
        n_steps, n = exponential.shape
        expected = np.zeros(n)
        found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
        for start in range(0, n_steps, self._at_once):
            decider = exponential[start : start + self._at_once]
            current = self._synapses.advance(self._step, len(decider))
            if drive is not None:
                other = current if current.ndim == 2 else current[:, -1]
                other += drive[start : start + self._at_once]
            steps = np.arange(self._step, self._step + len(decider))
            intensity = self._neurons.intensity(current, self._free_from > steps[:, None])
            hits = np.flatnonzero(decider < intensity)
            if hits.size:
                row, fired = np.divmod(hits, n)
                if len(decider) > 1:
                    row, fired = self._silence_after_first(row, fired, intensity)
                rate = intensity[row, fired]
                count = draw_counts(self._emission, rate, decider[row, fired])
                when = self._step + row
                self._neurons.fire(fired, count, len(decider) - 1 - row)
                self._synapses.deliver(when, fired, count)
                self._free_from[fired] = when + 1 + self._refractory
                found.append((when, fired, count, rate))
            expected += intensity.sum(axis=0)
            self._step += len(decider)
        when, fired, count, rate = map(np.concatenate, zip(*found, strict=True))
        gained = event_log_likelihood(self._emission, rate, count)
        return when, fired, count, np.bincount(fired, weights=gained, minlength=n) - expected

    def _silence_after_first(
        self, row: np.ndarray, fired: np.ndarray, intensity: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Keep the first event of each neuron, and set its (steps, n) intensity to 0 after it."""
        order = np.arange(len(fired))
        self._first[fired[::-1]] = order[
            ::-1
        ]  # of several events of a neuron, the last that is written stays
        is_first = self._first[fired] == order
        row, fired = row[is_first], fired[is_first]
        after = intensity[:, fired]
        after[np.arange(len(intensity))[:, None] > row] = 0.0
        intensity[:, fired] = after
        return row, fired


def run(
    network: Network,
    *,
    n: int,
    n_steps: int,
    block: int,
    dt: float,
    drive: Callable[[int], np.ndarray] | None,
    check: Callable[[int, int], None],
    rng: np.random.Generator,
    before_block: Callable[[int], None] | None = None,
) -> Activity:
    """Run a network, block by block.

    Args:
        network: The network, at its first step.
        n: Number of neurons.
        n_steps: Steps to run.
        block: Steps of a block of the log-likelihood; the last block may be shorter.
        dt: Time step (seconds), for the record.
        drive: Gives the (steps, n) input from elsewhere of the next steps; None: there is none.
        check: Called after each block with its numbers of events and of steps; raises to give up.
        rng: The stream of the events.
        before_block: Called before each block with its first step, to change what the network is made of.
    """
    parts = []
    for first in range(0, n_steps, block):
        if before_block is not None:
            before_block(first)
        length = min(block, n_steps - first)
        part = network.advance(rng.standard_exponential((length, n)), drive(length) if drive else None)
        check(int(part[2].sum()), length)
        parts.append(part)
    steps, neurons, counts, log_likelihood = zip(*parts, strict=True)
    return Activity(
        steps=np.concatenate(steps),
        neurons=np.concatenate(neurons),
        counts=np.concatenate(counts),
        log_likelihood=np.stack(log_likelihood),
        n_steps=n_steps,
        dt=dt,
    )
