"""Generated against recorded halves, beside recorded halves against one another.

The blocks of time are dealt at random into halves A and B, many times. `floor` is the distance of the recording's
half A from its half B. The distance of a copy's half A from the recording's half B (and of B from A) compares as much
data, as far apart in time, under stimuli as unlike; a copy that is drawn from the very process of the recording has it
from the same distribution. A unit is *within the band* if that distance, averaged over splits and copies, is at most
the 95 % quantile of its floor over splits.

How many units of an exact model are within the band depends on the statistic, on the amount of data and on how long
the activity remembers (halves of one recording share what lasts longer than a block, copies do not). It is measured:
each of some copies takes the place of the recording against the other copies, which are as exact a model of it as can
be.

The band is as wide as half the recording makes it: units can be within it though the model is wrong. A sharper test
looks at whole copies. If the model is exact, the recording and its C copies are exchangeable, and the recording is the
one that lies farthest from all others together in 1 of C + 1 cases (a Monte Carlo test; Besag and Clifford 1989,
Biometrika 76:633). A unit *stands out* if it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from neuroformer.calibration.activity import Activity, Blocks
from neuroformer.calibration.statistics import Statistic

LEVEL = 0.95
_UNITS = 64  # computed at once


@dataclass(frozen=True, kw_only=True, eq=False)
class Splits:
    """R ways to make two halves of M blocks; with an odd number of blocks one is in neither.

    Attributes:
        a: (R, M) float, 1 for the blocks of half A.
        b: (R, M) likewise.
    """

    a: np.ndarray
    b: np.ndarray

    @classmethod
    def draw(cls, n_blocks: int, n_splits: int, rng: np.random.Generator) -> Splits:
        """Different ones, at most `n_splits`, and at most as many as there are.

        Args:
            n_blocks: M, at least 2.
            n_splits: R.
            rng: of the draws.
        """
        half = n_blocks // 2
        there_are = comb(n_blocks, half) * comb(n_blocks - half, half) // 2
        found: dict[tuple[tuple[int, ...], tuple[int, ...]], None] = {}
        while len(found) < min(n_splits, there_are):
            order = rng.permutation(n_blocks)
            one, other = sorted((tuple(sorted(order[:half])), tuple(sorted(order[half : 2 * half]))))
            found[one, other] = None
        a, b = np.zeros((len(found), n_blocks)), np.zeros((len(found), n_blocks))
        for row, (one, other) in enumerate(found):
            a[row, list(one)], b[row, list(other)] = 1, 1
        return cls(a=a, b=b)

    def __len__(self) -> int:
        """R."""
        return len(self.a)

    def of(self, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sums (R, ...) over each half, from (M, ...) sums of the blocks."""
        flat = sums.reshape(len(sums), -1)
        a, b = (half @ flat for half in (self.a, self.b))
        return a.reshape(-1, *sums.shape[1:]), b.reshape(-1, *sums.shape[1:])


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """One statistic of generated and recorded activity.

    Attributes:
        statistic: which.
        real: (N, V) of the whole recording.
        generated: (N, V) of all copies together.
        distance: (N,) of generated from recorded halves, mean over splits and copies; infinite where it is not defined
            though the floor is.
        floor: (N,) mean distance of recorded halves from one another.
        bound: (N,) upper end of the band.
        low: (N, V) lower end of the values of recorded halves over splits.
        high: (N, V) upper end.
        tested: (N,) bool.
        stands_out: (N,) bool, whether the recording is farther from all copies together than every copy is from the
            rest with the recording.
        exact: units within the band, and units tested, when copies take the place of the recording, summed over these.
    """

    statistic: Statistic
    real: np.ndarray
    generated: np.ndarray
    distance: np.ndarray
    floor: np.ndarray
    bound: np.ndarray
    low: np.ndarray
    high: np.ndarray
    tested: np.ndarray
    stands_out: np.ndarray
    exact: tuple[int, int]

    @property
    def exact_share(self) -> float:
        """Share of the tested units that are within the band if the model is exact; NaN with one copy."""
        return self.exact[0] / self.exact[1] if self.exact[1] else np.nan

    @property
    def within(self) -> np.ndarray:
        """(N,) bool."""
        return self.tested & (self.distance <= self.bound + 1e-12)

    @property
    def share(self) -> float:
        """Share of the tested units that are within the band; NaN if none was tested."""
        return float(self.within.sum() / self.tested.sum()) if self.tested.any() else np.nan

    @property
    def alike_share(self) -> float:
        """Share of the tested units that do not stand out; C / (C + 1) is expected of an exact model."""
        return (
            float((self.tested & ~self.stands_out).sum() / self.tested.sum()) if self.tested.any() else np.nan
        )


def compare(
    statistic: Statistic,
    real: Activity,
    copies: Sequence[Activity],
    blocks: Blocks,
    splits: Splits,
    *,
    min_events: int,
    n_exact: int = 3,
) -> Comparison:
    """Hold generated activity against the recording.

    Args:
        statistic: which.
        real: the recording.
        copies: generated activity in the same stretches.
        blocks: of both.
        splits: of the blocks.
        min_events: a unit with fewer in the recording is not tested; with fewer in a copy it is not when that copy
            takes the recording's place, so that the units are chosen alike.
        n_exact: how many copies take the place of the recording.
    """
    n_units = real.n_units
    if statistic.per_unit and n_units > _UNITS:
        parts = [
            compare(
                statistic,
                _units(real, first),
                [_units(copy, first) for copy in copies],
                blocks,
                splits,
                min_events=min_events,
                n_exact=n_exact,
            )
            for first in range(0, n_units, _UNITS)
        ]
        return _joined(parts)
    sums = [statistic.sums(activity, blocks) for activity in (real, *copies)]
    halves = [tuple(map(statistic.value, splits.of(each))) for each in sums]
    floor, bound = _floor(statistic, halves[0])
    distance = _distance(statistic, halves[0], halves[1:])
    tested = _enough(statistic, real, min_events) & np.isfinite(bound)
    n_exact_tested = n_exact_within = 0
    for k in range(1, 1 + min(n_exact, len(copies)) if len(copies) > 1 else 1):
        others = [half for j, half in enumerate(halves) if j not in (0, k)]
        own = _floor(statistic, halves[k])[1]
        enough = _enough(statistic, copies[k - 1], min_events) & np.isfinite(own)
        n_exact_tested += int(enough.sum())
        n_exact_within += int((_distance(statistic, halves[k], others) <= own + 1e-12)[enough].sum())
    both = np.concatenate(halves[0])
    with np.errstate(invalid="ignore"):
        low, high = _quantile(both, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Comparison(
        statistic=statistic,
        real=statistic.value(sums[0].sum(0)),
        generated=statistic.value(np.sum(sums[1:], 0).sum(0)),
        distance=np.where(np.isnan(distance) & tested, np.inf, distance),
        floor=floor,
        bound=bound,
        low=low,
        high=high,
        tested=tested,
        stands_out=_stands_out(statistic, [each.sum(0) for each in sums]),
        exact=(n_exact_within, n_exact_tested),
    )


def _enough(statistic: Statistic, activity: Activity, min_events: int) -> np.ndarray:
    """(N,) which units have enough events; the population always has."""
    return activity.events >= min_events if statistic.per_unit else np.array([True])


def _floor(statistic: Statistic, halves: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and upper quantile (N,) of the distance of two halves over splits."""
    distance = statistic.distance(*halves)
    return _mean(distance), _quantile(distance, [LEVEL])[0]


def _distance(
    statistic: Statistic, real: tuple[np.ndarray, ...], copies: Sequence[tuple[np.ndarray, ...]]
) -> np.ndarray:
    """(N,) mean distance of opposite halves."""
    found = [statistic.distance(copy[side], real[1 - side]) for copy in copies for side in (0, 1)]
    return _mean(np.concatenate(found))


def _stands_out(statistic: Statistic, sums: Sequence[np.ndarray]) -> np.ndarray:
    """(N,) whether the first of all (N, K) sums is farther from the others than any other is from its others."""
    total = np.sum(sums, 0)
    distance = np.stack([statistic.distance(statistic.value(s), statistic.value(total - s)) for s in sums])
    distance = np.where(np.isnan(distance), np.inf, distance)
    first, others = distance[0], distance[1:]
    return np.asarray(first > others.max(0)) if len(others) > 1 else np.zeros(len(first), bool)


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean of the rows, without NaN."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(0) / known.sum(0)


def _quantile(values: np.ndarray, q: Sequence[float]) -> np.ndarray:
    """Quantiles of the rows, without NaN; NaN where there is no other."""
    found = np.full((len(q), *values.shape[1:]), np.nan)
    some = np.isfinite(values).any(0)
    found[:, some] = np.nanquantile(values[:, some], q, axis=0)
    return found


def _units(activity: Activity, first: int) -> Activity:
    inside = (activity.units >= first) & (activity.units < first + _UNITS)
    return Activity(
        lengths=activity.lengths,
        n_units=min(_UNITS, activity.n_units - first),
        bin_s=activity.bin_s,
        bins=activity.bins[inside],
        units=activity.units[inside] - first,
    )


def _joined(parts: Sequence[Comparison]) -> Comparison:
    arrays = ("real", "generated", "distance", "floor", "bound", "low", "high", "tested", "stands_out")
    return Comparison(
        statistic=parts[0].statistic,
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays},
        exact=(sum(part.exact[0] for part in parts), sum(part.exact[1] for part in parts)),
    )
