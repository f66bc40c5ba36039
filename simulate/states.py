"""Global states: a Markov chain that the whole population follows, such as down and up states.

In each step the population leaves state k with probability dt / dwell_k, for any of the others alike, so that
the time in a state is geometric with mean dwell_k. It starts in its stationary distribution, π_k ∝ dwell_k.
State k of K has the level x_k = k / (K - 1) - ½, and neuron j receives

    D_j(t) = L_j x(t),    L_j = strength (1 + spread · z_j),  z_j standard normal

which multiplies the rate of a GLM neuron by exp(L_j x): a shared gain. Switching between activity states by a
hidden Markov chain: Jones, Fontanini, Sadacca, Miller & Katz 2007, PNAS 104:18772.
"""

import numpy as np

from neuroformer.errors import UserError
from simulate.input_config import StatesConfig


class States:
    """The states of one run.

    Args:
        config: Dwell times, strength and spread.
        n: Number of neurons.
        n_steps: Steps of the run.
        dt: Time step (seconds).
        rng: The stream of the states.

    Attributes:
        loadings: (n,) L_j.
        states: (n_steps,) int64, the state in each step.

    Raises:
        UserError: A mean dwell time is shorter than a step.
    """

    def __init__(
        self, config: StatesConfig, *, n: int, n_steps: int, dt: float, rng: np.random.Generator
    ) -> None:
        dwell = np.array(config.dwell_s)
        if dwell.min() < dt:
            raise UserError(f"states.dwell_s={config.dwell_s}: expected at least one step (dt_s={dt}) each")
        self.loadings = config.strength * (1 + config.spread * rng.standard_normal(n))
        start = int(np.searchsorted(np.cumsum(dwell) / dwell.sum(), rng.random(), side="right"))
        leaves, choice = rng.random(
            (n_steps, 2)
        ).T  # a step's two numbers together: a longer run begins alike
        self.states = _chain(start, dt / dwell, leaves, choice)
        self._levels = np.linspace(-0.5, 0.5, len(dwell))

    def input(self, first: int, stop: int) -> np.ndarray:
        """(stop - first, n) input of these steps, in the unit of the weights."""
        return self._levels[self.states[first:stop], None] * self.loadings

    def runs(self) -> tuple[np.ndarray, np.ndarray]:
        """(K,) first step and (K,) state of each stay."""
        first = np.flatnonzero(np.r_[True, np.diff(self.states) != 0])
        return first, self.states[first]


def _chain(state: int, leave: np.ndarray, leaves: np.ndarray, choice: np.ndarray) -> np.ndarray:
    """(n_steps,) states, from the probability (K,) to leave each and uniform numbers (n_steps,) that decide."""
    exits = [np.flatnonzero(leaves < probability) for probability in leave]
    states = np.empty(len(leaves), np.int64)
    at = 0
    while True:
        following = np.searchsorted(exits[state], at)
        if following == len(exits[state]):
            states[at:] = state
            return states
        end = int(exits[state][following])
        states[at:end] = state
        others = [k for k in range(len(leave)) if k != state]
        state = others[int(choice[end] * len(others))]
        states[end] = state
        at = end + 1
