"""Calcium imaging: from spikes to fluorescence, frame by frame.

A spike of a unit at time e raises its calcium by a double exponential of peak 1,

    k(u) = (exp(-u / τ_decay) - exp(-u / τ_rise)) / k_max,    c(t) = Σ_{e <= t} k(t - e)

and the indicator turns calcium into fluorescence by a Hill curve (Vogelstein et al. 2009, Biophys. J. 97:636;
Deneux et al. 2016, Nat. Commun. 7:12190), written so that a single spike peaks at the amplitude A:

    ΔF/F = b + A (1 + γ) c^n / (1 + γ c^n)

A frame is the mean of this over its time, plus white Gaussian noise. A is log-normal over units.
"""

import numpy as np
from scipy.signal import lfilter

from neuroformer.errors import UserError
from simulate.activity import Activity
from simulate.calcium_config import CalciumConfig


def image(
    activity: Activity, config: CalciumConfig, *, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Image all n neurons of `activity`.

    Args:
        activity: What they did.
        config: Indicator and camera.
        rng: The stream of the imaging.

    Returns:
        (T,) float64, the middle of each frame (seconds), and (T, n) float32 ΔF/F. What does not fill a frame
        at the end of the recording is not imaged.

    Raises:
        UserError: There are more frames than time steps, or the recording is shorter than a frame.
    """
    rate, dt, n = config.frame_rate_hz, activity.dt, activity.log_likelihood.shape[1]
    if rate * dt > 1 + 1e-9:
        raise UserError(f"calcium.frame_rate_hz={rate:g}: expected at most {1 / dt:g}, a frame a time step")
    n_frames = int(activity.n_steps * dt * rate + 1e-9)
    if n_frames < 1:
        raise UserError(
            f"calcium.frame_rate_hz={rate:g}: a frame is longer than the recording of "
            f"{activity.n_steps * dt:g} s; raise it or duration_s"
        )
    # A step belongs to the frame in which its middle lies.
    first = np.searchsorted((np.arange(activity.n_steps) + 0.5) * dt * rate, np.arange(n_frames + 1) - 1e-9)
    size = np.diff(first)
    peaks = config.amplitude * np.exp(config.amplitude_sigma * rng.standard_normal(n))
    values = rng.standard_normal((n_frames, n)) * config.noise
    order = np.argsort(activity.neurons, kind="stable")
    ends = np.searchsorted(activity.neurons[order], np.arange(n + 1))
    for j in range(n):
        own = order[ends[j] : ends[j + 1]]
        spikes = np.zeros(activity.n_steps)
        spikes[activity.steps[own]] = activity.counts[own]
        bright = fluorescence(calcium(spikes, config, dt=dt), config)
        values[:, j] += peaks[j] * np.add.reduceat(bright[: first[-1]], first[:-1]) / size
    return (np.arange(n_frames) + 0.5) / rate, (config.baseline + values).astype(np.float32)


def calcium(spikes: np.ndarray, config: CalciumConfig, *, dt: float) -> np.ndarray:
    """(n_steps,) calcium of a unit at the begin of each step from its (n_steps,) spike counts.

    In units of the peak after one spike, which is reached τ_r τ_d ln(τ_d / τ_r) / (τ_d - τ_r) after it.
    """
    rise, decay = config.rise_s, config.decay_s
    latency = rise * decay * np.log(decay / rise) / (decay - rise)
    highest = np.exp(-latency / decay) - np.exp(-latency / rise)
    slow, fast = (lfilter([1.0], [1.0, -np.exp(-dt / tau)], spikes) for tau in (decay, rise))
    return np.maximum(slow - fast, 0.0) / highest  # rounding may leave less than nothing


def fluorescence(concentration: np.ndarray, config: CalciumConfig) -> np.ndarray:
    """How bright the indicator is, in units of the peak after one spike: the Hill curve, 1 at 1."""
    bound = concentration**config.hill
    return (1 + config.saturation) * bound / (1 + config.saturation * bound)
