"""Activity in stretches, the blocks of time that halves are made of, and the windows that events are counted in.

Legend: T bins of all stretches together, E events, N units, M blocks, W windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class Activity:
    """Events of N units in contiguous stretches of time.

    Attributes:
        lengths: bins of each stretch; bins count through, stretch after stretch.
        n_units: N.
        bin_s: width of a bin in seconds.
        bins: (E,) int64 bin of each event, in any order; an event that is there twice counts twice.
        units: (E,) int64.
    """

    lengths: tuple[int, ...]
    n_units: int
    bin_s: float
    bins: np.ndarray
    units: np.ndarray

    @classmethod
    def from_counts(cls, stretches: Sequence[np.ndarray], *, bin_s: float) -> Activity:
        """From counts (bins, N) of each stretch."""
        counts = np.concatenate(stretches)
        bins, units = np.nonzero(counts)
        repeats = counts[bins, units].astype(np.int64)
        return cls(
            lengths=tuple(len(stretch) for stretch in stretches),
            n_units=counts.shape[1],
            bin_s=bin_s,
            bins=np.repeat(bins, repeats),
            units=np.repeat(units, repeats),
        )

    @property
    def n_bins(self) -> int:
        """T."""
        return sum(self.lengths)

    @property
    def seconds(self) -> float:
        """Length of all stretches together."""
        return self.n_bins * self.bin_s

    @cached_property
    def events(self) -> np.ndarray:
        """(N,) number of events of each unit."""
        return np.bincount(self.units, minlength=self.n_units)

    @cached_property
    def trains(self) -> tuple[np.ndarray, np.ndarray]:
        """Units and bins of the events, one unit after the other and each in order of time."""
        order = np.lexsort((self.bins, self.units))
        return self.units[order], self.bins[order]

    def counts(self) -> np.ndarray:
        """(T, N) int64 events in each bin."""
        cells = np.bincount(self.bins * self.n_units + self.units, minlength=self.n_bins * self.n_units)
        return cells.reshape(self.n_bins, self.n_units)


@dataclass(frozen=True, kw_only=True, eq=False)
class Blocks:
    """Time cut into blocks; none spans two stretches.

    Attributes:
        start: (M,) first bin of each, bins counted through.
        stop: (M,) the bin after its last.
        stretch: (M,) its stretch.
    """

    start: np.ndarray
    stop: np.ndarray
    stretch: np.ndarray

    @classmethod
    def cut(cls, lengths: Sequence[int], *, bins: int) -> Blocks:
        """Cut every stretch into equal blocks of `bins` bins or, where that does not come out even, a little more.

        A stretch shorter than `bins` is one block.

        >>> blocks = Blocks.cut([10, 3], bins=4)
        >>> blocks.start, blocks.stop
        (array([ 0,  5, 10]), array([ 5, 10, 13]))
        """
        start, stop, stretch, first = [], [], [], 0
        for k, length in enumerate(lengths):
            n = max(1, length // bins)
            edges = first + np.round(np.linspace(0, length, n + 1)).astype(np.int64)
            start.append(edges[:-1])
            stop.append(edges[1:])
            stretch.append(np.full(n, k))
            first += length
        return cls(start=np.concatenate(start), stop=np.concatenate(stop), stretch=np.concatenate(stretch))

    def __len__(self) -> int:
        """M."""
        return len(self.start)

    @property
    def lengths(self) -> np.ndarray:
        """(M,) bins of each block."""
        return self.stop - self.start

    def of(self, bins: np.ndarray) -> np.ndarray:
        """Block of each bin."""
        return np.searchsorted(self.stop, bins, side="right")

    def windows(self, width: int) -> Windows:
        """Tile each block with windows of `width` bins from its start; what is left at its end is not used."""
        n = self.lengths // width
        block = np.repeat(np.arange(len(self)), n)
        place = np.arange(len(block)) - np.repeat(np.cumsum(n) - n, n)
        return Windows(start=self.start[block] + place * width, width=width, block=block)


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """Windows of equal width that do not overlap, in order of time.

    Attributes:
        start: (W,) first bin of each, rising.
        width: in bins.
        block: (W,) the block that each belongs to.
        condition: (W,) what the window shares with others: stimulus and time since its onset. None without trials.
    """

    start: np.ndarray
    width: int
    block: np.ndarray
    condition: np.ndarray | None = None

    def __len__(self) -> int:
        """W."""
        return len(self.start)

    def counts(self, activity: Activity) -> np.ndarray:
        """(W, N) int64 events in each window."""
        window = np.searchsorted(self.start, activity.bins, side="right") - 1
        inside = window >= 0
        inside[inside] = activity.bins[inside] < self.start[window[inside]] + self.width
        cells = window[inside] * activity.n_units + activity.units[inside]
        return np.bincount(cells, minlength=len(self) * activity.n_units).reshape(len(self), activity.n_units)
