"""Events ↔ tokens: every event is one token (unit, bin, level), in order of (bin, unit)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from neuroformer.data.clock import Epoch
from neuroformer.session import Events


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """A stretch of a stream: one token per event, sorted by (bin, unit, level).

    Attributes:
        bins: (E,) int64, bins since the start of the epoch.
        units: (E,) int32, unit of the session.
        levels: (E,) int16, amplitude level; 0 where the session has no amplitudes.
    """

    bins: np.ndarray
    units: np.ndarray
    levels: np.ndarray

    def __len__(self) -> int:
        """Number of tokens."""
        return len(self.bins)

    def gaps(self) -> np.ndarray:
        """(E,) int64: bins since the previous token (the first: bins since the start of the epoch)."""
        return np.diff(self.bins, prepend=0)


def tokenize(events: Events, epoch: Epoch, edges: np.ndarray | None = None) -> Tokens:
    """Cut events into tokens on the clock of an epoch; events outside its whole bins are left out.

    Args:
        events: events with times in seconds.
        epoch: the clock of the tokens.
        edges: (K − 1,) inner edges of K amplitude levels, rising; none for one level.

    >>> epoch = Epoch(start=10.0, bin_s=0.5, n_bins=4)
    >>> tokens = tokenize(Events(times=np.array([10.1, 11.5, 11.7, 12.2]), units=np.array([2, 1, 0, 0])), epoch)
    >>> tokens.bins, tokens.units, tokens.gaps()  # the last event lies after the last whole bin
    (array([0, 3, 3]), array([2, 0, 1], dtype=int32), array([0, 3, 0]))
    """
    bins = epoch.bin_of(events.times)
    inside = (bins >= 0) & (bins < epoch.n_bins)
    bins, units = bins[inside], events.units[inside]
    if edges is None or len(edges) == 0 or events.amplitudes is None:
        levels = np.zeros(len(bins), np.int16)
    else:
        levels = np.searchsorted(edges, events.amplitudes[inside], side="right").astype(np.int16)
    order = _order(bins, units, levels)
    return Tokens(bins=bins[order], units=units[order].astype(np.int32), levels=levels[order])


def _order(bins: np.ndarray, units: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Indices that sort by (bin, unit, level); as one number a token, sorting is nine times as fast as `lexsort`."""
    n_units, n_levels = int(units.max(initial=0)) + 1, int(levels.max(initial=0)) + 1
    if int(bins.max(initial=0)) >= 2**62 // (n_units * n_levels):
        return np.lexsort((levels, units, bins))
    return np.argsort((bins * n_units + units) * n_levels + levels, kind="stable")


def detokenize(tokens: Tokens, epoch: Epoch, amplitudes: np.ndarray | None = None) -> Events:
    """Turn tokens back into events: m events of a unit in one bin are spread evenly inside it.

    `tokenize(detokenize(tokens, epoch), epoch)` gives back the bins and units exactly.

    Args:
        tokens: the stretch of a stream.
        epoch: the clock of the tokens.
        amplitudes: (K,) amplitude that stands for each level; none for spikes.
    """
    cell = tokens.bins * (int(tokens.units.max(initial=0)) + 1) + tokens.units
    _, first, inverse, size = np.unique(cell, return_index=True, return_inverse=True, return_counts=True)
    rank = np.arange(len(cell)) - first[inverse]  # tokens of a cell are neighbours: they are sorted
    times = epoch.start + (tokens.bins + (rank + 0.5) / size[inverse]) * epoch.bin_s
    order = np.argsort(times, kind="stable")
    return Events(
        times=times[order],
        units=tokens.units[order].astype(np.int32),
        amplitudes=None if amplitudes is None else amplitudes[tokens.levels][order].astype(np.float32),
    )


def level_edges(amplitudes: np.ndarray, n_levels: int) -> np.ndarray:
    """Inner edges that cut amplitudes into `n_levels` equally frequent levels; equal edges are merged.

    Returns:
        (K − 1,) float64 with K ≤ n_levels; empty where all amplitudes are equal or `n_levels` is 1. Every edge is one
        of the amplitudes and belongs to the level above it, so that no level is empty.

    >>> level_edges(np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0]), 4)
    array([2.])
    """
    if n_levels <= 1 or len(amplitudes) == 0:
        return np.zeros(0)
    shares = np.arange(1, n_levels) / n_levels
    quantiles = np.quantile(amplitudes.astype(np.float64), shares, method="higher")
    return np.unique(quantiles[quantiles > amplitudes.min()])


def vector_quantised_edges(amplitudes: np.ndarray, n_levels: int, *, rounds: int = 200) -> np.ndarray:
    """Inner edges of `n_levels` codes that lie close to the logarithm of the amplitudes: 1-D vector quantisation.

    Lloyd's algorithm (1982, IEEE Trans. Inf. Theory 28:129) from the quantiles. In one dimension a code's cell is an
    interval, so that it is given by its edges as `level_edges` are.

    Args:
        amplitudes: above 0.
        n_levels: codes wanted; empty ones and equal edges are left out.
        rounds: at most.

    >>> vector_quantised_edges(np.array([1.0, 1.1, 1.2, 8.0, 9.0]), 2)
    array([8.])
    """
    edges = level_edges(amplitudes, n_levels)
    if not len(edges):
        return edges
    ordered = np.sort(amplitudes.astype(np.float64))
    logs = np.log(ordered)
    sums = np.concatenate([[0.0], np.cumsum(logs)])
    first = np.searchsorted(ordered, edges)  # of every code but the lowest
    for _ in range(rounds):
        cuts = np.concatenate([[0], first, [len(logs)]])
        centres = np.diff(sums[cuts]) / np.diff(cuts)
        moved = np.unique(np.searchsorted(logs, 0.5 * (centres[1:] + centres[:-1])))
        moved = moved[(moved > 0) & (moved < len(logs))]
        if np.array_equal(moved, first):
            break
        first = moved
    return np.unique(ordered[first])


LEVEL_EDGES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "quantile": level_edges,
    "vector_quantised": vector_quantised_edges,
}
"""Inner edges of levels, by the setting `level_code`."""
