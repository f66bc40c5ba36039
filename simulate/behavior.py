"""Behaviour that drives neurons, or that neurons drive.

Each variable comes from a latent x(t) of mean 0 and variance 1 (heading: from an angle), and back:

    speed       10 exp(x / 2) cm/s
    tail_angle  20 x degrees
    heading     θ, in degrees, period 360

`drives`: x is an Ornstein-Uhlenbeck process of the correlation time τ, and θ a random walk on the circle whose
direction exp(iθ) has that correlation time (dθ = sqrt(2 / τ) dW). A tuned neuron j receives strength · g_j x(t)
with g_j = ±1, or strength · √2 cos(θ(t) - θ_j), which is cosine tuning (Georgopoulos, Kalaska, Caminiti & Massey
1982, J. Neurosci. 2:1527).

`driven`: the counts of the tuned units are averaged over the past with weights exp(-t / τ) and standardised,
z_j(t); then x ∝ Σ_j g_j z_j, and θ is the angle of the population vector Σ_j exp(iθ_j) z_j (Georgopoulos,
Schwartz & Kettner 1986, Science 233:1416). x, or each part of the vector, is standardised and mixed with an
Ornstein-Uhlenbeck process of the same τ that takes the part `noise` of its standard deviation.
"""

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter
from scipy.special import ndtr

from neuroformer.errors import UserError
from neuroformer.session import TimeSeries
from simulate.activity import Activity
from simulate.input_config import BehaviorConfig

SPEED_CM_S = 10.0
TAIL_DEG = 20.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Tuning:
    """Who belongs to one variable, and how."""

    tuned: np.ndarray
    """(n,) bool."""
    gain: np.ndarray
    """(n,) complex128, what x is multiplied with: ±1, or √2 exp(-iθ_j) for heading; 0 for the others."""


class Behavior:
    """The behaviour of one run.

    Args:
        config: Variables, direction of the influence, tuning.
        n: Number of neurons.
        units: How many of them are observed; only those drive behaviour.
        n_steps: Steps of the run.
        dt: Time step (seconds).
        rng: The stream of the behaviour.

    Attributes:
        tunings: Of each variable, by name.
    """

    def __init__(
        self,
        config: BehaviorConfig,
        *,
        n: int,
        units: int,
        n_steps: int,
        dt: float,
        rng: np.random.Generator,
    ) -> None:
        if config.rate_hz * dt > 1 + 1e-9:
            raise UserError(
                f"behavior.rate_hz={config.rate_hz:g}: expected at most {1 / dt:g}, one a time step"
            )
        driven = config.direction == "driven"
        self.tunings = {
            name: _draw_tuning(config, name, n=n, among=units if driven else n, rng=rng)
            for name in config.variables
        }
        # One row of numbers a step for all variables together: a longer run begins alike.
        noise = rng.standard_normal((n_steps + 1, 2 * len(config.variables)))
        self._noise = dict(zip(config.variables, np.split(noise, len(config.variables), axis=1), strict=True))
        self._config, self._dt, self._n_steps = config, dt, n_steps
        self._latents = {} if driven else {name: self._draw(name) for name in config.variables}

    def input(self, first: int, stop: int) -> np.ndarray:
        """(stop - first, n) input of these steps, in the unit of the weights; only where behaviour drives."""
        total = sum(
            np.outer(latent[first:stop], self.tunings[name].gain).real
            for name, latent in self._latents.items()
        )
        return self._config.strength * np.asarray(total)

    def record(self, activity: Activity) -> dict[str, TimeSeries]:
        """Each variable as it was recorded, by name.

        Args:
            activity: What the neurons did, the observed ones first.
        """
        rate = self._config.rate_hz
        times = np.arange(np.ceil(self._n_steps * self._dt * rate - 1e-9)) / rate
        steps = np.minimum((times / self._dt + 1e-6).astype(np.int64), self._n_steps - 1)
        latents = self._latents or {name: self._read_out(name, activity) for name in self.tunings}
        return {name: _series(name, times, latent[steps]) for name, latent in latents.items()}

    def _draw(self, name: str) -> np.ndarray:
        """(n_steps,) x, or exp(iθ) for heading."""
        if name != "heading":
            return self._wander(name)[:, 0]
        start, turns = self._noise[name][0, 0], self._noise[name][1:, 1]
        diffusion = np.sqrt(2 * self._dt / self._config.time_constant_s)
        uniform = 2 * np.pi * ndtr(start)  # from a standard normal number
        return np.exp(1j * (uniform + diffusion * np.cumsum(turns)))

    def _wander(self, name: str) -> np.ndarray:
        """(n_steps, 2) Ornstein-Uhlenbeck processes of variance 1."""
        decay = np.exp(-self._dt / self._config.time_constant_s)
        start, noise = self._noise[name][:1], self._noise[name][1:]
        return lfilter([1.0], [1.0, -decay], np.sqrt(1 - decay**2) * noise, axis=0, zi=decay * start)[0]

    def _read_out(self, name: str, activity: Activity) -> np.ndarray:
        """(n_steps,) x, or exp(iθ) for heading, from the activity of the tuned units."""
        tuning = self.tunings[name]
        decay = np.exp(-self._dt / self._config.time_constant_s)
        vector = np.zeros(self._n_steps, np.complex128)
        for j in np.flatnonzero(tuning.tuned):
            own = activity.neurons == j
            counts = np.zeros(self._n_steps)
            counts[activity.steps[own]] = activity.counts[own]
            vector += np.conj(tuning.gain[j]) * _standardise(lfilter([1.0], [1.0, -decay], counts))
        share = self._config.noise
        parts = np.stack([_standardise(vector.real), _standardise(vector.imag)], axis=1)
        parts = np.sqrt(1 - share**2) * parts + share * self._wander(name)
        if name != "heading":
            return parts[:, 0]
        return np.exp(1j * np.arctan2(parts[:, 1], parts[:, 0]))


def _draw_tuning(
    config: BehaviorConfig, name: str, *, n: int, among: int, rng: np.random.Generator
) -> Tuning:
    """Choose a fraction of the first `among` of n neurons and draw their gains."""
    tuned = np.zeros(n, bool)
    tuned[rng.permutation(among)[: round(config.fraction * among)]] = True
    angle = 2 * np.pi * rng.random(n)
    gain = np.sqrt(2) * np.exp(-1j * angle) if name == "heading" else np.where(angle < np.pi, 1.0 + 0j, -1.0)
    return Tuning(tuned=tuned, gain=np.where(tuned, gain, 0.0))


def _series(name: str, times: np.ndarray, latent: np.ndarray) -> TimeSeries:
    """A variable in its physical unit from its latent (T,)."""
    if name == "heading":
        values = np.rad2deg(np.angle(latent)) % 360
        return TimeSeries(
            timestamps=times, values=values.astype(np.float32), kind="continuous", unit="deg", period=360.0
        )
    if name == "speed":
        values, unit = SPEED_CM_S * np.exp(latent.real / 2), "cm/s"
    else:
        values, unit = TAIL_DEG * latent.real, "deg"
    return TimeSeries(timestamps=times, values=values.astype(np.float32), kind="continuous", unit=unit)


def _standardise(values: np.ndarray) -> np.ndarray:
    """Mean 0 and standard deviation 1; 0 for a constant."""
    spread = values.std()
    return (values - values.mean()) / spread if spread > 0 else np.zeros(len(values))
