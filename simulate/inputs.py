"""What acts on a circuit beside its own events: slow drive, global states, stimulus and behaviour, added up."""

from collections.abc import Callable

import numpy as np

from simulate.behavior import Behavior
from simulate.config import CircuitConfig
from simulate.states import States
from simulate.stimulus import Stimulus
from simulate.streams import BEHAVIOR, STATES, STIMULUS, stream


class Inputs:
    """States, stimulus and behaviour of one run; each is None where the settings have none.

    Args:
        config: The settings.
        n: Number of neurons, hidden ones too.

    Raises:
        UserError: A setting does not go with the time step.
    """

    def __init__(self, config: CircuitConfig, *, n: int) -> None:
        n_steps, dt, seed = config.steps(config.duration_s), config.dt_s, config.seed
        self.dt = dt
        self.states: States | None = None
        self.stimulus: Stimulus | None = None
        self.behavior: Behavior | None = None
        if config.states.dwell_s:
            self.states = States(config.states, n=n, n_steps=n_steps, dt=dt, rng=stream(seed, STATES))
        if config.stimulus.kind != "none":
            rng = stream(seed, STIMULUS)
            self.stimulus = Stimulus(config.stimulus, n=n, n_steps=n_steps, dt=dt, rng=rng)
        if config.behavior.variables:
            self.behavior = Behavior(
                config.behavior, n=n, units=config.units, n_steps=n_steps, dt=dt, rng=stream(seed, BEHAVIOR)
            )
        self._sources = [part.input for part in (self.states, self.stimulus) if part]
        if self.behavior and config.behavior.direction == "drives":
            self._sources.append(self.behavior.input)
        self._step = 0

    def joined(self, drive: Callable[[int], np.ndarray] | None) -> Callable[[int], np.ndarray] | None:
        """Add the slow drive.

        Args:
            drive: Gives the (steps, n) slow drive of the next steps; None: there is none.

        Returns:
            The same of all inputs together; None if there is none at all.
        """
        if not self._sources:
            return drive

        def advance(n_steps: int) -> np.ndarray:
            first, self._step = self._step, self._step + n_steps
            total = self._sources[0](first, self._step)
            for source in self._sources[1:]:
                total = total + source(first, self._step)
            return total if drive is None else total + drive(n_steps)

        return advance
