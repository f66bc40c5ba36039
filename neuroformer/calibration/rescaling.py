"""Time rescaling: are a model's own intensities those of the events?

If events come with intensity λ(t), the times Λ = ∫ λ of the events are those of a Poisson process of rate 1, so the
steps τ between them are exponential and 1 − e^−τ is uniform (Brown et al. 2002, Neural Computation 14:325). In bins the
intensity is only known for whole bins, and taking every event at the end of its bin is wrong where λ per bin is not
small (Haslinger, Pipa and Brown 2010, Neural Computation 22:2477). Here counts in a bin are Poisson given the bins
before it, which is the same as a process of constant intensity within the bin; its events are uniform in it. So each
event is put at a uniformly drawn place of its bin, and the steps are exponential exactly, not nearly. Another seed
draws other places. Stretches are laid end to end in rescaled time; the step after the last event is not complete and
not used.

Where units fail, three numbers tell why: events over what was expected of them (rates that have changed since
training), bins in which a unit has two events or more (bursts shorter than a bin, which no such model has), and the
dispersion of the population's events in a bin around what was expected (units that fire together within a bin).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom, kstest

PASSES = 0.05
"""Least p of a unit that passes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Rescaled:
    """What time rescaling says.

    Attributes:
        uniform: per unit, 1 − e^−τ of each event in order of time; uniform if the model is right.
        statistic: (N,) largest distance of its distribution from the uniform one; NaN without an event.
        p: (N,) of Kolmogorov and Smirnov's test; NaN for units that were not tested.
        tested: (N,) bool, enough events.
        expected_events: (N,) Σ λ.
        repeats: (N,) bins in which the unit has two events or more.
        expected_repeats: (N,) how many a Poisson count of mean λ in every bin would make.
        dispersion: Σ (S − Λ)² / Σ Λ over bins, for the events S of all units and the expected Λ; 1 is expected.
    """

    uniform: list[np.ndarray]
    statistic: np.ndarray
    p: np.ndarray
    tested: np.ndarray
    expected_events: np.ndarray
    repeats: np.ndarray
    expected_repeats: np.ndarray
    dispersion: float

    @property
    def share(self) -> float:
        """Share of the tested units with p ≥ `PASSES`; 1 − `PASSES` is expected of a right model."""
        return float((self.p[self.tested] >= PASSES).mean()) if self.tested.any() else np.nan

    @property
    def expected(self) -> tuple[float, float]:
        """95 % range of the share when the model is right and units are independent."""
        n = int(self.tested.sum())
        if n == 0:
            return np.nan, np.nan
        low, high = binom.ppf([0.025, 0.975], n, 1 - PASSES) / n
        return float(low), float(high)


def rescale(
    pieces: Iterable[tuple[np.ndarray, np.ndarray]], rng: np.random.Generator, *, min_events: int
) -> Rescaled:
    """Rescale the events of each unit and test the steps.

    Args:
        pieces: intensities in events per bin and counts, both (bins, N), of successive pieces of time.
        rng: of the places within the bins.
        min_events: a unit with fewer is not tested.
    """
    times: list[list[np.ndarray]] = []
    before: np.ndarray | None = None
    several, expected_several, scatter = np.zeros(0), np.zeros(0), 0.0
    for intensity, counts in pieces:
        intensity = intensity.astype(np.float64)
        if before is None:
            before = np.zeros(intensity.shape[1])
            times = [[] for _ in before]
            several, expected_several = np.zeros((2, len(before)))
        several = several + (counts > 1).sum(0)
        expected_several = expected_several - (np.expm1(-intensity) + intensity * np.exp(-intensity)).sum(0)
        scatter += float(((counts.sum(1) - intensity.sum(1)) ** 2).sum())
        after = before + np.cumsum(intensity, 0)
        bins, units = np.nonzero(counts)
        repeats = counts[bins, units].astype(np.int64)
        bins, units = np.repeat(bins, repeats), np.repeat(units, repeats)
        # 1 − u is never 0: no event lies at the very start of its bin, and no step is 0.
        place = after[bins, units] - rng.random(len(bins)) * intensity[bins, units]
        for unit in np.unique(units):
            times[unit].append(np.sort(place[units == unit]))
        before = after[-1] if len(after) else before
    uniform = [-np.expm1(-np.diff(np.concatenate([[0.0], *each]))) for each in times]
    statistic, p = np.full(len(uniform), np.nan), np.full(len(uniform), np.nan)
    tested = np.array([len(each) >= min_events for each in uniform], bool)
    for unit, each in enumerate(uniform):
        if len(each):
            result = kstest(each, "uniform")
            statistic[unit] = result.statistic
            p[unit] = result.pvalue if tested[unit] else np.nan
    expected = np.zeros(0) if before is None else before
    return Rescaled(
        uniform=uniform,
        statistic=statistic,
        p=p,
        tested=tested,
        expected_events=expected,
        repeats=several,
        expected_repeats=expected_several,
        dispersion=scatter / max(float(expected.sum()), 1e-300),
    )


def deviation(uniform: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Share of the values up to each grid point, less the share expected, which is the grid point itself."""
    return np.searchsorted(np.sort(uniform), grid, side="right") / max(1, len(uniform)) - grid
