"""Visual stimuli as small frames of grey levels.

- `gratings`: cos(2π (f (x cos θ + y sin θ) - ν t)), drifting towards θ at ν / f widths a second;
- `moving_dots`: white dots on grey that move towards θ at the same speed and come back at the other side;
- `white_noise`: every pixel black or white, anew in each frame.

x runs along the columns and y along the rows, in frame widths. Gratings and dots come in trials: a grey
pause, then one direction; each direction once, in random order, then again.
"""

from dataclasses import dataclass

import numpy as np

from simulate.input_config import StimulusConfig

GREY, CONTRAST = 128, 127
DOT_WIDTH = 0.05  # of the frame, standard deviation


@dataclass(frozen=True, kw_only=True, eq=False)
class Frames:
    """What was shown."""

    times: np.ndarray
    """(F,) float64, when each frame comes on (seconds)."""
    values: np.ndarray
    """(F, H, W) uint8 grey levels; 128 is grey."""
    direction: np.ndarray
    """(F,) float64, direction of motion (degrees), NaN in pauses and in white noise."""
    trial_starts: np.ndarray
    """(K,) float64, begin of each trial (seconds); none in white noise."""
    trial_directions: np.ndarray
    """(K,) float64, direction of each trial (degrees)."""


def draw_frames(config: StimulusConfig, *, seconds: float, rng: np.random.Generator) -> Frames:
    """Draw a stimulus that is on for some seconds. A longer one begins with the same frames."""
    times = np.arange(np.ceil(seconds * config.rate_hz - 1e-9)) / config.rate_hz
    shape = (len(times), config.size, config.size)
    none = np.full(len(times), np.nan)
    if config.kind == "white_noise":
        values = GREY + CONTRAST * (2 * rng.integers(0, 2, shape) - 1)
        return Frames(
            times=times,
            values=values.astype(np.uint8),
            direction=none,
            trial_starts=none[:0],
            trial_directions=none[:0],
        )
    period = config.pause_s + config.trial_s
    n_trials = int(np.ceil(seconds / period))
    directions, dots = _draw_trials(config, n_trials, rng)
    trial = np.minimum((times / period + 1e-9).astype(np.int64), n_trials - 1)
    since = times - trial * period - config.pause_s  # seconds since the direction came on
    shown = since >= -1e-9
    picture = _gratings if config.kind == "gratings" else _dots
    values = np.full(shape, GREY, np.uint8)
    for part in np.array_split(np.flatnonzero(shown), max(1, shown.sum() // 1000)):
        contrast = picture(config, np.deg2rad(directions[trial[part]]), since[part], dots[trial[part]])
        values[part] = np.round(GREY + CONTRAST * contrast).astype(np.uint8)
    starts = np.arange(n_trials) * period + config.pause_s
    whole = starts + config.trial_s <= seconds + 1e-9
    return Frames(
        times=times,
        values=values,
        direction=np.where(shown, directions[trial], np.nan),
        trial_starts=starts[whole],
        trial_directions=directions[whole],
    )


def _draw_trials(
    config: StimulusConfig, n_trials: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(K,) directions (degrees) and (K, dots, 2) positions of the dots (widths) at the begin of each trial."""
    angles = np.arange(config.directions) * 360 / config.directions
    n_rounds = -(-n_trials // config.directions)
    rounds = [
        (rng.permutation(angles), rng.random((config.directions, config.dots, 2))) for _ in range(n_rounds)
    ]
    directions, dots = map(np.concatenate, zip(*rounds, strict=True))
    return directions[:n_trials], dots[:n_trials]


def pixels(size: int) -> np.ndarray:
    """(size,) middle of each column or row of pixels, in frame widths."""
    return (np.arange(size) + 0.5) / size


def _gratings(config: StimulusConfig, angle: np.ndarray, since: np.ndarray, dots: np.ndarray) -> np.ndarray:
    """(F, H, W) contrast, -1 to 1, of frames that show gratings."""
    at = pixels(config.size)
    along = np.cos(angle)[:, None, None] * at + np.sin(angle)[:, None, None] * at[:, None]
    return np.cos(2 * np.pi * (config.cycles * along - (config.drift_hz * since)[:, None, None]))


def _dots(config: StimulusConfig, angle: np.ndarray, since: np.ndarray, dots: np.ndarray) -> np.ndarray:
    """(F, H, W) contrast, 0 to 1, of frames that show dots."""
    way = config.drift_hz / config.cycles * since[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    place = (dots + way[:, None, :])[..., None] - pixels(config.size)  # (F, dots, 2, pixels)
    distance = (place + 0.5) % 1 - 0.5
    bump = np.exp(-0.5 * (distance / DOT_WIDTH) ** 2)
    return np.minimum(np.einsum("fdw,fdh->fhw", bump[:, :, 0], bump[:, :, 1]), 1.0)
