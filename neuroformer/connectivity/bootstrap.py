"""Intervals for scores over pairs of units, by drawing units and not pairs.

Pairs of a network are not independent: all pairs of a source share its rate and its recording quality, and a method
that is wrong about one unit is wrong about many pairs at once. Drawing pairs one by one would give intervals that are
too narrow. So each draw takes N units with replacement and counts pair (i, j) as often as i and j were drawn together:

    weight[i, j] = m_i · m_j   for i ≠ j,      (m_1 … m_N) multinomial, N units in N draws

which is the vertex bootstrap of Snijders & Borgatti (1999, Connections 22:161), with the pairs of a unit and its own
copy left out instead of filled in; Davezies, D'Haultfœuille & Guyonvarch (2021, Ann. Statist. 49:845) show that it is
valid for arrays whose rows and columns are the same exchangeable units. Truth and estimate are drawn together. Where
the errors of pairs are independent after all, such intervals are too wide, by up to √3 (Owen 2007, Ann. Appl. Stat.
1:386): they err on the side of caution.

What an interval covers: which units this circuit happens to have and which of them were recorded. What it does not:
another recording of the same circuit, another training of the model, another rule of wiring; only more sessions tell.
A score without a single mistake (1, or 0 % called) has no spread to draw from, so its interval is a point; that is no
proof of perfection. Fewer than about ten units give rough intervals.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from neuroformer.connectivity.ranking import off_diagonal

LEVEL = 0.95
BLOCK_ENTRIES = 2**22  # weights held at once: 32 MB


def pair_weights(rng: np.random.Generator, *, n_units: int, draws: int) -> Iterator[np.ndarray]:
    """Yield blocks (b, P) of how often each of the P = N (N − 1) pairs counts: first once each, then `draws` draws.

    Pairs are in the order of `off_diagonal`. The first row of the first block is all ones: the score itself. Two
    methods on the same units that are given generators of the same state get the same draws, so their draws can be
    compared one by one.
    """
    counts = (
        rng.multinomial(n_units, np.full(n_units, 1 / n_units), size=draws)
        if draws
        else np.empty((0, n_units))
    )
    counts = np.concatenate([np.ones((1, n_units)), counts])
    block = max(1, BLOCK_ENTRIES // n_units**2)
    for first in range(0, len(counts), block):
        part = counts[first : first + block]
        yield np.stack([off_diagonal(np.outer(m, m)) for m in part])


def interval(draws: np.ndarray) -> tuple[float, float] | None:
    """Percentile interval of the draws that are numbers, at `LEVEL`; None where none is."""
    known = draws[~np.isnan(draws)]
    if not len(known):
        return None
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
