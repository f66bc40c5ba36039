"""What is decoded, and what a decoder says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from neuroformer.baselines.decoding.grid import Grid

TargetKind = Literal["continuous", "categorical"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A behaviour variable."""

    name: str
    """As in the session file."""
    kind: TargetKind = "continuous"
    """What the values are."""
    period: float | None = None
    """A full turn of a circular variable in `unit`; each of its dimensions is circular then."""
    labels: tuple[str, ...] = ()
    """Names of the classes of a categorical variable."""
    unit: str = ""
    """Physical unit."""
    bounds: tuple[tuple[float, float], ...] | None = None
    """Least and greatest value of each dimension, for a grid; by default those of the labelled bins."""

    def __post_init__(self) -> None:
        """Check what decoders rely on."""
        if self.kind == "categorical" and not self.labels:
            raise ValueError(f"{self.name}: a categorical target needs its labels")
        if self.period is not None and not (self.period > 0 and self.kind == "continuous"):
            raise ValueError(
                f"{self.name}: period={self.period:g}: expected a number above 0, of a continuous target"
            )

    @property
    def n_classes(self) -> int:
        """Number of classes K, 0 for a continuous target."""
        return len(self.labels)

    def encode(self, y: np.ndarray) -> np.ndarray:
        """What a linear decoder predicts of (n, D) values: these, or (n, 2·D) cosines then sines of a circular one."""
        if self.period is None:
            return y
        angle = y * (2 * np.pi / self.period)
        return np.concatenate([np.cos(angle), np.sin(angle)], axis=1)

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Undo `encode`, from any cosines and sines; a circular variable comes back in [0, period)."""
        if self.period is None:
            return z
        cosine, sine = np.split(z, 2, axis=1)
        return np.arctan2(sine, cosine) * (self.period / (2 * np.pi)) % self.period

    def error(self, truth: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """Mean − truth, the short way round for a circular variable, in the target's unit."""
        return wrapped(mean - truth, self.period)


def wrapped(difference: np.ndarray, period: float | None) -> np.ndarray:
    """A difference of circular values, brought to [−period/2, period/2).

    >>> wrapped(np.array([350.0, -10.0, 180.0]), 360.0)
    array([ -10.,  -10., -180.])
    """
    return difference if period is None else (difference + period / 2) % period - period / 2


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a decoder says of each bin, one array a stretch."""

    mean: list[np.ndarray] | None = None
    """(T, D) float64 of a continuous target, in its unit."""
    spread: list[np.ndarray] | None = None
    """(T, D) standard deviation of the same."""
    probability: list[np.ndarray] | None = None
    """(T, K) of classes, or of the cells of `grid`."""
    grid: Grid | None = None
    """The grid of a decoder that works on one."""
