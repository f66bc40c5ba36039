"""What the neurons of a circuit did."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class Activity:
    """Event counts on the grid of steps, and how likely they were; hidden neurons come last."""

    steps: np.ndarray
    """(E,) int64, the step of each entry; entries are in order of (step, neuron)."""
    neurons: np.ndarray
    """(E,) int64, the neuron of each entry."""
    counts: np.ndarray
    """(E,) int64, events of that neuron in that step, 1 or more."""
    log_likelihood: np.ndarray
    """(B, n) float64, nats of each neuron's counts in each block, given the past of all and the drive."""
    n_steps: int
    """Number of steps."""
    dt: float
    """Time step (seconds)."""

    def of_first(self, n: int) -> "Activity":
        """Keep the first n neurons."""
        seen = self.neurons < n
        return Activity(
            steps=self.steps[seen],
            neurons=self.neurons[seen],
            counts=self.counts[seen],
            log_likelihood=self.log_likelihood[:, :n],
            n_steps=self.n_steps,
            dt=self.dt,
        )

    @property
    def totals(self) -> np.ndarray:
        """(n,) int64, events of each neuron."""
        n = self.log_likelihood.shape[1]
        return np.bincount(self.neurons, weights=self.counts, minlength=n).astype(np.int64)

    @property
    def rates_hz(self) -> np.ndarray:
        """(n,) events per second of each neuron."""
        return self.totals / (self.n_steps * self.dt)
