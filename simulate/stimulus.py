"""Neurons that see: receptive fields that are Gabor functions, oriented in space and time.

With s(x, y, t) = (grey level - 128) / 127, neuron j at place (x_j, y_j) with preferred direction θ_j receives
c_j r_j(t), a linear filter of the frames up to now (Jones & Palmer 1987, J. Neurophysiol. 58:1233; the
orientation in space-time that makes it prefer a direction: Adelson & Bergen 1985, J. Opt. Soc. Am. A 2:284):

    g_j(x, y) = exp(-((x - x_j)² + (y - y_j)²) / 2 w²) exp(i (2π f (x cos θ_j + y sin θ_j) + φ_j)),  w = 1 / 2f
    r_j(t)    = Re Σ_u a(u) exp(-2πi ν u) Σ_xy conj(g_j(x, y)) s(x, y, t - u),   a(u) = u exp(-u / τ),  τ = 1 / 2πν

The constant part of g_j is taken off, so that grey and brightness as such move nobody. c_j gives r_j the
standard deviation `strength` over a reference stimulus of the same kind, 240 s long and drawn first: the input
does not depend on the length of the run.
"""

import numpy as np
from scipy.signal import lfilter

from simulate.frames import CONTRAST, GREY, draw_frames, pixels
from simulate.input_config import StimulusConfig

REFERENCE_S = 240.0
CHUNK = 1000  # frames


class Stimulus:
    """The stimulus of one run, and who responds to it.

    Args:
        config: What is shown, and how strongly neurons respond.
        n: Number of neurons.
        n_steps: Steps of the run.
        dt: Time step (seconds).
        rng: The stream of the stimulus.

    Attributes:
        config: The settings.
        frames: What was shown.
        fields: (n, H, W) complex128 receptive fields c_j conj(g_j); 0 for those who do not respond.
        preferred: (n,) preferred direction (degrees), NaN for those who do not respond.
    """

    def __init__(
        self, config: StimulusConfig, *, n: int, n_steps: int, dt: float, rng: np.random.Generator
    ) -> None:
        self.config = config
        responds = rng.permutation(n) < round(config.fraction * n)
        place, angle, phase = rng.random((n, 2)), 2 * np.pi * rng.random(n), 2 * np.pi * rng.random(n)
        fields = gabors(config, place=place, angle=angle, phase=phase)
        self._delays = temporal_filter(config)
        reference = draw_frames(config, seconds=REFERENCE_S, rng=rng)
        spread = self._respond(reference.values, fields).std(axis=0)
        scale = np.where(responds & (spread > 0), config.strength / np.maximum(spread, 1e-12), 0.0)
        self.fields = fields * scale[:, None, None]
        self.preferred = np.where(responds, np.rad2deg(angle), np.nan)
        self.frames = draw_frames(config, seconds=n_steps * dt, rng=rng)
        self._response = self._respond(self.frames.values, self.fields)
        self._dt = dt

    def input(self, first: int, stop: int) -> np.ndarray:
        """(stop - first, n) input of these steps, in the unit of the weights; that of a frame until the next."""
        frame = ((np.arange(first, stop) + 0.5) * self._dt * self.config.rate_hz).astype(np.int64)
        return self._response[np.minimum(frame, len(self._response) - 1)]

    def _respond(self, frames: np.ndarray, fields: np.ndarray) -> np.ndarray:
        """(F, n) r_j in each frame of (F, H, W) grey levels."""
        n, response = len(fields), []
        for first in range(0, len(frames), CHUNK):
            part = frames[first : first + CHUNK]
            contrast = (part.reshape(len(part), -1).astype(np.float64) - GREY) / CONTRAST
            flat = fields.reshape(n, -1).T
            response.append(contrast @ flat.real + 1j * (contrast @ flat.imag))
        return lfilter(self._delays, [1.0], np.concatenate(response), axis=0).real


def gabors(config: StimulusConfig, *, place: np.ndarray, angle: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """(n, H, W) complex conj(g) without its mean; places (n, 2) in widths, angles and phases (n,) in radians."""
    at = pixels(config.size)
    x, y = at - place[:, :1], at - place[:, 1:]  # (n, W) and (n, H)
    width = 1 / (2 * config.cycles)
    envelope = np.exp(-0.5 * (y[:, :, None] ** 2 + x[:, None, :] ** 2) / width**2)
    along = np.cos(angle)[:, None, None] * x[:, None, :] + np.sin(angle)[:, None, None] * y[:, :, None]
    fields = envelope * np.exp(-1j * (2 * np.pi * config.cycles * along + phase[:, None, None]))
    return fields - fields.mean(axis=(1, 2), keepdims=True)


def temporal_filter(config: StimulusConfig) -> np.ndarray:
    """(L,) complex a(u) exp(-2πi ν u) at u = 0, 1, … frames, until it has decayed."""
    tau = 1 / (2 * np.pi * config.drift_hz)
    u = np.arange(int(np.ceil(8 * tau * config.rate_hz)) + 1) / config.rate_hz
    return u / tau * np.exp(-u / tau) * np.exp(-2j * np.pi * config.drift_hz * u)
