"""Activity with and without memory."""

from collections.abc import Callable

import numpy as np
import pytest

from neuroformer.calibration.activity import Activity

Simulated = tuple[np.ndarray, np.ndarray]


def simulate(
    rng: np.random.Generator,
    n_copies: int,
    *,
    n_bins: int = 3000,
    n_units: int = 12,
    rate: float = 0.08,
    self_excitation: float = 0.0,
    shared: float = 0.0,
) -> Simulated:
    """Counts and intensities (copies, bins, N): Poisson given the past, with bursts and a common drive if asked for.

    Pairs of a unit of the first half and one of the second share a drive.
    """
    shape = (n_copies, n_units)
    counts = np.zeros((n_copies, n_bins, n_units), int)
    intensities = np.zeros((n_copies, n_bins, n_units))
    trace, drive = np.zeros(shape), np.zeros((n_copies, n_units // 2))
    base = rate * (1 - self_excitation) * np.linspace(0.5, 1.5, n_units)
    for t in range(n_bins):
        drive = 0.9 * drive + np.sqrt(1 - 0.81) * rng.normal(size=drive.shape)
        # The mean of exp(s · drive) is exp(s² / 2).
        common = np.exp(shared * np.tile(drive, 2) - shared**2 / 2)
        intensity = base * common + self_excitation * trace * 0.2
        x = rng.poisson(intensity)
        trace = 0.8 * trace + x
        counts[:, t], intensities[:, t] = x, intensity
    return counts, intensities


@pytest.fixture(scope="session")
def simulated() -> Callable[..., Simulated]:
    """`simulated(rng, n_copies, …)`."""
    return simulate


@pytest.fixture(scope="session")
def activities() -> Callable[[np.ndarray], list[Activity]]:
    """`activities(counts)`: each copy in two stretches, in bins of 10 ms."""

    def make(counts: np.ndarray) -> list[Activity]:
        return [Activity.from_counts(np.array_split(each, 2), bin_s=0.01) for each in counts]

    return make
