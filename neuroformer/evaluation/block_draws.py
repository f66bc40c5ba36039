"""Scores and their intervals by drawing blocks of time or trials with replacement.

Neighbouring bins are not independent, so bins are drawn a block at a time (Künsch 1989, Ann. Statist. 17:1217): the
blocks should be longer than the memory of the errors. Percentile intervals of few blocks are too narrow; their tails
are moved out as far as Student's t lies from the normal distribution (the expanded percentile interval of Hesterberg
2015, Amer. Statist. 69:371). Two methods scored on the same `BlockDraws` are drawn alike, so
that their difference has an interval of its own, narrower than the two together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, stdtrit

LEVEL = 0.95
_CHUNK = 2**22  # weights held at once


@dataclass(frozen=True, eq=False)
class Score:
    """A number, and what it might have been.

    Attributes:
        value: the score on all blocks; NaN where it is not defined.
        draws: (R,) the score on drawn blocks.
        n_blocks: number of blocks M.
    """

    value: float
    draws: np.ndarray
    n_blocks: int

    @property
    def interval(self) -> tuple[float, float] | None:
        """Expanded percentile interval at `LEVEL`; None where nothing could be drawn or the score is not defined."""
        known = self.draws[np.isfinite(self.draws)]
        if not len(known) or not math.isfinite(self.value):
            return None
        m = self.n_blocks
        tail = ndtr(-np.sqrt(m / (m - 1)) * stdtrit(m - 1, (1 + LEVEL) / 2))
        low, high = np.quantile(known, [tail, 1 - tail])
        return float(low), float(high)

    def __sub__(self, other: Score) -> Score:
        """Paired difference; both must be of the same draws."""
        if (len(self.draws), self.n_blocks) != (len(other.draws), other.n_blocks):
            raise ValueError(
                f"{len(self.draws)} draws of {self.n_blocks} blocks against {len(other.draws)} of {other.n_blocks}: "
                "score both on the same BlockDraws"
            )
        return Score(self.value - other.value, self.draws - other.draws, self.n_blocks)


class BlockDraws:
    """How often each sample counts: once each first, then in each of R draws of blocks.

    Args:
        block: (n,) whole number of the block of each sample.
        draws: number of draws; there are none with fewer than two blocks.
        seed: of the draws.
    """

    def __init__(self, block: np.ndarray, *, draws: int = 1000, seed: int = 0) -> None:
        """See the class."""
        if not len(block):
            raise ValueError("no sample to score")
        self._blocks, self._index = np.unique(block, return_inverse=True)
        m = len(self._blocks)
        drawn = (
            np.random.default_rng(seed).multinomial(m, np.full(m, 1 / m), size=draws)
            if m > 1
            else np.empty((0, m))
        )
        self._weights = np.concatenate([np.ones((1, m)), drawn])

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return len(self._blocks)

    @property
    def n_samples(self) -> int:
        """Number of samples n."""
        return len(self._index)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """(1 + R, k) weighted sums over the samples of (n, k) values."""
        by_block = np.zeros((self.n_blocks, values.shape[1]))
        np.add.at(by_block, self._index, values)
        found: np.ndarray = self._weights @ by_block
        return found

    def weights(self) -> Iterator[np.ndarray]:
        """Blocks of rows of the (1 + R, n) weights, in order."""
        rows = max(1, _CHUNK // self.n_samples)
        for first in range(0, len(self._weights), rows):
            yield self._weights[first : first + rows, self._index]

    def score(self, values: np.ndarray) -> Score:
        """From (1 + R,) values in the order of the draws."""
        return Score(float(values[0]), values[1:], self.n_blocks)


def time_blocks(lengths: Sequence[int], *, bin_s: float, block_s: float) -> np.ndarray:
    """Block of each bin when stretches are cut into pieces of `block_s` seconds; no block spans two stretches.

    Args:
        lengths: bins of each stretch.
        bin_s: width of a bin in seconds.
        block_s: length of a block in seconds; the last of a stretch is shorter.

    >>> time_blocks([5, 3], bin_s=0.5, block_s=1.0)
    array([0, 0, 1, 1, 2, 3, 3, 4])
    """
    bins = max(1, round(block_s / bin_s))
    found, first = [np.empty(0, dtype=np.int64)], 0
    for length in lengths:
        block = first + np.arange(length) // bins
        found.append(block)
        first = int(block[-1]) + 1 if length else first
    return np.concatenate(found)
