"""Delays and time course of the synaptic input.

    I_j(t) = Σ_{i → j} w_ij Σ_{events e of i, e + d_ij <= t} exp(-(t - e - d_ij) dt / τ_i)

with one time constant τ for excitatory and one for inhibitory sources. The weights of an event are added to a
ring of the coming steps, at a cost of its source's number of targets; two filters a neuron do the rest.
"""

import numpy as np

from simulate.wiring import Wiring


class Synapses:
    """What is on its way, and what acts, in a circuit that was silent so far.

    Args:
        wiring: The edges.
        decays: Factor per step of the effect of an excitatory and of an inhibitory event.
        apart: Whether excitation and inhibition are wanted apart, as conductances are.
    """

    def __init__(self, wiring: Wiring, *, decays: tuple[float, float], apart: bool = False) -> None:
        self._apart = apart
        self.shortest = int(wiring.delay.min(initial=np.iinfo(np.int64).max))
        # What begins to act in each step from now to the longest delay, excitation and inhibition apart.
        self._coming = np.zeros((int(wiring.delay.max(initial=0)) + 1, 2, wiring.n))
        self._acting = np.zeros((2, wiring.n))
        self._decays = np.array(decays)[:, None]
        kind = wiring.inhibitory[wiring.source]
        places = np.ravel_multi_index((wiring.delay, kind.astype(int), wiring.target), self._coming.shape)
        self._n_targets = np.bincount(wiring.source, minlength=wiring.n)
        self._ends = np.cumsum(self._n_targets)[:-1]
        self._places = np.split(places, self._ends)
        self.change_weights(wiring.weight)

    def change_weights(self, weight: np.ndarray) -> None:
        """Give the edges (K,) weights for the events that are delivered from now on."""
        self._weights = np.split(weight, self._ends)

    def advance(self, first: int, n_steps: int) -> np.ndarray:
        """Input of the steps from `first` on; at most `shortest` at once.

        Returns:
            (n_steps, n); or, apart, (n_steps, 3, n): excitation, inhibition, and zeros for other input.
        """
        n = self._acting.shape[1]
        current = np.zeros((n_steps, 3, n)) if self._apart else np.empty((n_steps, n))
        for offset in range(n_steps):
            begins = self._coming[(first + offset) % len(self._coming)]
            self._acting *= self._decays
            self._acting += begins
            begins[:] = 0.0
            if self._apart:
                current[offset, :2] = self._acting
            else:
                np.add(self._acting[0], self._acting[1], out=current[offset])
        return current

    def deliver(self, steps: np.ndarray, neurons: np.ndarray, counts: np.ndarray) -> None:
        """Send events on their way: in `steps` (E,), `counts` (E,) of each of `neurons` (E,)."""
        sources = neurons.tolist()
        places = np.concatenate([self._places[source] for source in sources])
        weights = np.concatenate([self._weights[source] for source in sources])
        n_targets = self._n_targets[neurons]
        places += np.repeat(steps % len(self._coming) * self._acting.size, n_targets)
        places %= self._coming.size
        weights *= np.repeat(counts, n_targets)
        np.add.at(self._coming.reshape(-1), places, weights)
