"""Statistics of the activity of single units, as sums over blocks of time.

Whatever is additive over blocks can be had for any set of blocks, so the halves of a recording cost one matrix product.
A statistic turns activity into sums (M, N, K), sums of any set of blocks into values (..., N, V), and two values into a
distance (..., N).

Legend: M blocks, N units (1 for statistics of the population), K sums, V values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from neuroformer.calibration.activity import Activity, Blocks


class Statistic(Protocol):
    """What the comparison of halves needs."""

    @property
    def name(self) -> str:
        """In files."""

    @property
    def title(self) -> str:
        """For readers."""

    @property
    def per_unit(self) -> bool:
        """Whether each unit has values of its own that do not depend on which others are there."""

    def sums(self, activity: Activity, blocks: Blocks) -> np.ndarray:
        """(M, N, K) of each block."""

    def value(self, sums: np.ndarray) -> np.ndarray:
        """(..., N, V) from (..., N, K); NaN where it is not defined."""

    def distance(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """(..., N) from two (..., N, V); NaN where one of them is not defined."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Events per second. The distance is |√a − √b|, whose spread depends little on the rate."""

    bin_s: float
    name: str = "rate"
    title: str = "rate"
    per_unit: bool = True

    def sums(self, activity: Activity, blocks: Blocks) -> np.ndarray:
        """Events, seconds."""
        events = _by_block(activity, blocks, activity.bins, activity.units)
        seconds = np.broadcast_to(blocks.lengths[:, None] * self.bin_s, events.shape)
        return np.stack([events, seconds], -1)

    def value(self, sums: np.ndarray) -> np.ndarray:
        """Hz."""
        return sums[..., :1] / sums[..., 1:]

    def distance(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """|√a − √b|."""
        return np.abs(np.sqrt(a) - np.sqrt(b))[..., 0]


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Numbers counted in classes; distances are those of Kolmogorov and Smirnov."""

    edges: np.ndarray
    """(K + 1,) edges of the classes."""

    @property
    def n(self) -> int:
        """K."""
        return len(self.edges) - 1

    def value(self, sums: np.ndarray) -> np.ndarray:
        """Share of the numbers up to each class."""
        return cumulative(sums)

    def distance(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Kolmogorov–Smirnov."""
        return kolmogorov_smirnov(a, b)


@dataclass(frozen=True, kw_only=True)
class Intervals(Distribution):
    """Distribution of the intervals between successive events of a unit, in classes of bins.

    An interval lies within a stretch and belongs to the block of its first event. The distance is that of Kolmogorov
    and Smirnov, max |F_a − F_b| over the classes' edges (in bins, see `classes`); it is 1 where just one of the two has
    no interval.
    """

    name: str = "interval"
    title: str = "interval distribution"
    per_unit: bool = True

    def sums(self, activity: Activity, blocks: Blocks) -> np.ndarray:
        """Intervals in each class."""
        units, bins = activity.trains
        stretch = np.searchsorted(np.cumsum(activity.lengths), bins, side="right")
        both = (units[1:] == units[:-1]) & (stretch[1:] == stretch[:-1])
        first, unit = bins[:-1][both], units[:-1][both]
        length = np.diff(bins)[both]
        return _by_block(
            activity, blocks, first, unit, np.searchsorted(self.edges, length, "right") - 1, self.n
        )


@dataclass(frozen=True, kw_only=True)
class Fano:
    """Variance over mean of the counts in windows.

    The distance is |log a − log b|: the error of a variance is proportional to it. Without the logarithm one large
    burst in a copy weighs more than all else, and units of an exact model are too often outside the band.
    """

    width: int
    """Bins of a window."""
    name: str = "fano"
    title: str = "Fano factor"
    per_unit: bool = True

    def sums(self, activity: Activity, blocks: Blocks) -> np.ndarray:
        """Windows, Σ count, Σ count²."""
        windows = blocks.windows(self.width)
        counts = windows.counts(activity).astype(float)
        each = np.stack([np.ones_like(counts), counts, counts**2], -1)
        return sum_by(windows.block, each, len(blocks))

    def value(self, sums: np.ndarray) -> np.ndarray:
        """Unbiased variance over mean; NaN without an event."""
        n, total, squares = np.moveaxis(sums, -1, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = (squares - total**2 / n) / (n - 1)
            return np.where((total > 0) & (n > 1), variance / (total / n), np.nan)[..., None]

    def distance(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """|log a − log b|."""
        return log_ratio(a, b)[..., 0]


@dataclass(frozen=True, kw_only=True)
class Autocorrelogram:
    """Rate of a unit at a lag after its own event, over its mean rate, in classes of lags; 1 without memory.

    Pairs of events lie within a block. With n(t) the counts and L_b the lengths of the blocks, the value at lags
    l ∈ C is [Σ_l Σ_t n(t) n(t + l)] / [Σ_l Σ_b max(0, L_b − l)] / mean(n)². The distance is the root mean square over
    lags of √a − √b.
    """

    edges: np.ndarray
    """(K + 1,) edges of the classes in bins, the first is 1."""
    name: str = "autocorrelation"
    title: str = "autocorrelogram"
    per_unit: bool = True

    def sums(self, activity: Activity, blocks: Blocks) -> np.ndarray:
        """Pairs in each class, bins in which they could lie, events, bins."""
        units, bins = activity.trains
        block, longest, n = blocks.of(bins), int(self.edges[-1]) - 1, len(self.edges) - 1
        pairs = np.zeros((len(blocks), activity.n_units, n))
        for k in range(1, len(bins)):
            lag = bins[k:] - bins[:-k]
            near = (units[k:] == units[:-k]) & (lag <= longest)
            if not near.any():
                break
            near &= (block[k:] == block[:-k]) & (lag > 0)
            at = np.flatnonzero(near)
            kind = np.searchsorted(self.edges, lag[at], "right") - 1
            pairs += _by_block(activity, blocks, bins[at], units[at], kind, n)
        lags = np.arange(1, longest + 1)
        could = np.maximum(0, blocks.lengths[:, None] - lags)
        exposure = np.add.reduceat(could, self.edges[:-1] - 1, axis=1).astype(float)
        shape = (len(blocks), activity.n_units)
        events = _by_block(activity, blocks, activity.bins, activity.units)
        return np.concatenate(
            [
                pairs,
                np.broadcast_to(exposure[:, None], (*shape, n)),
                events[..., None],
                np.broadcast_to(blocks.lengths[:, None, None], (*shape, 1)),
            ],
            -1,
        )

    def value(self, sums: np.ndarray) -> np.ndarray:
        """Rate after an event over mean rate, by class of lags."""
        n = len(self.edges) - 1
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = sums[..., -2:-1] / sums[..., -1:]
            return sums[..., :n] / sums[..., n : 2 * n] / mean**2

    def distance(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Root mean square over the lags that both have."""
        gap = np.sqrt(a) - np.sqrt(b)
        weight = np.diff(self.edges) * np.isfinite(gap)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sqrt((np.nan_to_num(gap) ** 2 * weight).sum(-1) / weight.sum(-1))


def classes(longest: int, *, first: int = 0, singly: int = 16, step: float = 1.15) -> np.ndarray:
    """Edges of classes of whole numbers from `first` to `longest`: one by one, then each `step` times the one before.

    >>> classes(30, singly=4, step=1.5)
    array([ 0,  1,  2,  3,  4,  6,  9, 14, 21, 31])
    """
    edges = list(range(first, min(singly, longest) + 1))
    while edges[-1] <= longest:
        edges.append(min(longest + 1, max(edges[-1] + 1, round(edges[-1] * step))))
    return np.array(edges)


def cumulative(counts: np.ndarray) -> np.ndarray:
    """Cumulative shares along the last axis; NaN where there is nothing."""
    total = counts.sum(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, np.cumsum(counts, -1) / total, np.nan)


def kolmogorov_smirnov(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Largest difference of two cumulative distributions; 1 if just one of them is not there, NaN if both are not."""
    gap = np.abs(a - b).max(-1)
    missing = np.isnan(a[..., 0]) ^ np.isnan(b[..., 0])
    return np.where(missing, 1.0, gap)


def log_ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|log a − log b|; NaN where one of them is not above 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.abs(np.log(a) - np.log(b))
    return np.where(np.isfinite(ratio), ratio, np.nan)


def sum_by(group: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """Sums (n, ...) of the rows (W, ...) of each group; `group` rises."""
    edges = np.searchsorted(group, np.arange(n + 1))
    total = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, 0)])
    return total[edges[1:]] - total[edges[:-1]]


def _by_block(
    activity: Activity,
    blocks: Blocks,
    bins: np.ndarray,
    units: np.ndarray,
    kind: np.ndarray | None = None,
    n_kinds: int = 1,
) -> np.ndarray:
    """(M, N) numbers of events or, with kinds, (M, N, kinds)."""
    cell = blocks.of(bins) * activity.n_units + units
    cell = cell if kind is None else cell * n_kinds + kind
    found = np.bincount(cell, minlength=len(blocks) * activity.n_units * n_kinds).astype(float)
    shape = (len(blocks), activity.n_units)
    return found.reshape(shape if kind is None else (*shape, n_kinds))
