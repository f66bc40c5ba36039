"""Event counts of one session on a grid of bins, and the surrogates of them that break wiring but keep the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy import sparse

from neuroformer.errors import UserError
from neuroformer.session import Session

BLOCK_ENTRIES = 2**24  # bins × units held at once: 128 MB where counts are dense
EDGE_TOLERANCE = 1e-6  # bins; an event on an edge belongs to the later bin, however its time was rounded


@dataclass(frozen=True, kw_only=True, eq=False)
class BinnedCounts:
    """Counts of every unit in every bin of the valid intervals. N = units.

    Attributes:
        path: The session file, for messages.
        bin_s: Width of a bin in seconds.
        intervals: A (bins, N) float64 array of counts for each valid interval, on a grid from its start.
    """

    path: Path
    bin_s: float
    intervals: tuple[sparse.csr_array, ...]

    @property
    def n_units(self) -> int:
        """Number of units N, silent ones included."""
        return self.intervals[0].shape[1]

    @property
    def n_bins(self) -> int:
        """Number of bins of all intervals together."""
        return sum(counts.shape[0] for counts in self.intervals)

    @cached_property
    def totals(self) -> np.ndarray:
        """(N,) number of events of each unit."""
        return sum(counts.sum(axis=0) for counts in self.intervals)

    def shifted(self, rng: np.random.Generator, *, least_bins: int) -> BinnedCounts:
        """Shift every unit's train around within each interval, by an offset of its own.

        Keeps each unit's rate, bursts and refractoriness; breaks what any two units share, slow drive included.
        Offsets are uniform among those where any two units stay `least_bins` apart around the circle, or as far as
        the interval allows, so that no surrogate holds a pair at nearly its true lag.

        Args:
            rng: Source of the offsets.
            least_bins: Least shift of any unit against any other, in bins; more than the lags that are looked at.
        """
        return replace(
            self, intervals=tuple(_shift(counts, rng, least_bins=least_bins) for counts in self.intervals)
        )

    def jittered(self, rng: np.random.Generator, *, window_bins: int) -> BinnedCounts:
        """Redraw every event uniformly in the window of `window_bins` bins that holds it: interval jitter.

        Keeps every unit's count in every window, so whatever is shared more slowly than the window; breaks what is
        faster (Amarasingham, Harrison, Hatsopoulos & Geman 2012, J. Neurophysiol. 107:517). Windows lie side by
        side from the start of each interval; the last one is as long as what is left.

        Args:
            rng: Source of the new positions.
            window_bins: Width of a window in bins.
        """
        return replace(
            self, intervals=tuple(_jitter(counts, rng, window_bins=window_bins) for counts in self.intervals)
        )


def bin_events(session: Session, *, bin_s: float) -> BinnedCounts:
    """Count a session's events in bins.

    Args:
        session: The recording; its counts are held sparse, so memory goes with its events.
        bin_s: Width of a bin in seconds.

    Raises:
        UserError: No valid interval holds a whole bin.
    """
    intervals: list[list[sparse.csr_array]] = []
    for block, continues in binned_blocks(session, bin_s=bin_s):
        if not continues:
            intervals.append([])
        intervals[-1].append(block)
    if not intervals:
        raise UserError(
            f"{session.path}: no valid interval is as long as a bin of {bin_s:g} s; "
            "expected at least one, take narrower bins"
        )
    return BinnedCounts(
        path=Path(session.path),
        bin_s=bin_s,
        intervals=tuple(sparse.vstack(blocks, format="csr") for blocks in intervals),
    )


def binned_blocks(session: Session, *, bin_s: float) -> Iterator[tuple[sparse.csr_array, bool]]:
    """Yield (counts (bins, units), whether the block continues the one before it), in order of time.

    Each valid interval has its own grid of whole bins from its start; a last part of a bin is left out.
    """
    block_bins = max(BLOCK_ENTRIES // session.n_units, 1)
    for start, stop in session.intervals:
        n_bins = int((stop - start) / bin_s + EDGE_TOLERANCE)
        for first in range(0, n_bins, block_bins):
            last = min(first + block_bins, n_bins)
            edges = start + (np.array([first, last]) - EDGE_TOLERANCE) * bin_s
            events = session.events(max(edges[0], start), edges[1])
            bins = ((events.times - start) / bin_s + EDGE_TOLERANCE).astype(np.int64) - first
            bins = bins.clip(0, last - first - 1)
            yield _from_events(bins, events.units, shape=(last - first, session.n_units)), first > 0


def _shift(counts: sparse.csr_array, rng: np.random.Generator, *, least_bins: int) -> sparse.csr_array:
    n_bins, n_units = counts.shape
    least = min(least_bins, n_bins // n_units)
    # Sorted uniform draws with `least` bins put between neighbours: uniform over all sets of offsets that far apart.
    room = np.sort(rng.integers(0, n_bins - n_units * least + 1, size=n_units))
    offsets = rng.permutation(room + least * np.arange(n_units)) + rng.integers(n_bins)
    events = counts.tocoo()
    bins = (events.row.astype(np.int64) + offsets[events.col]) % n_bins
    return sparse.coo_array((events.data, (bins, events.col)), shape=counts.shape).tocsr()


def _jitter(counts: sparse.csr_array, rng: np.random.Generator, *, window_bins: int) -> sparse.csr_array:
    n_bins = counts.shape[0]
    stored = counts.tocoo()
    repeats = stored.data.astype(np.int64)  # several events of a bin move apart
    bins, units = np.repeat(stored.row.astype(np.int64), repeats), np.repeat(stored.col, repeats)
    first = bins // window_bins * window_bins
    width = np.minimum(window_bins, n_bins - first)
    return _from_events(first + rng.integers(0, width), units, shape=counts.shape)


def _from_events(bins: np.ndarray, units: np.ndarray, *, shape: tuple[int, int]) -> sparse.csr_array:
    return sparse.coo_array((np.ones(len(bins)), (bins, units)), shape=shape).tocsr()
