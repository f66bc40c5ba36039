"""How behaviour moves from one bin to the next: the prior over time that inversion needs, learned from labels.

A Markov chain on the grid. Its transition probabilities are the counts of labelled bins of all animals, with a
random walk of the size of the observed steps as the prior of each row, so that a cell that was never visited still leads
somewhere near.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from neuroformer.data import Recording
from neuroformer.decoding.grid import Axis, Grid

_WALK = 5.0  # how many observed steps the random walk of a row counts
_JUMP = 1e-4  # chance of a step to anywhere, so that a wrong turn can be left


@dataclass(frozen=True, kw_only=True)
class Motion:
    """A Markov chain on a grid.

    Attributes:
        start: (G,) probability of each cell where nothing is known.
        step: (G, G) probability of [from, to] in the next bin; rows sum to 1.
    """

    start: np.ndarray
    step: np.ndarray


def learn_motion(grid: Grid, paths: Iterable[np.ndarray]) -> Motion:
    """Learn from labelled stretches.

    Args:
        grid: of G cells.
        paths: (T,) cells each, −1 where unknown; no step is counted across an unknown bin.
    """
    n = len(grid)
    visits, steps = np.zeros(n), np.zeros((n, n))
    for path in paths:
        known = path >= 0
        visits += np.bincount(path[known], minlength=n)
        pair = known[1:] & known[:-1]
        np.add.at(steps, (path[:-1][pair], path[1:][pair]), 1)
    walk = np.ones((1, 1))
    for k, axis in enumerate(grid.axes):
        walk = np.kron(walk, _random_walk(axis, _marginal_steps(grid, steps, k)))
    start = visits + _smoothed(grid, visits) + 0.1
    start /= start.sum()
    step = steps + _WALK * walk
    step /= step.sum(1, keepdims=True)
    return Motion(start=start, step=(1 - _JUMP) * step + _JUMP * start)


def paths_of(grid: Grid, recordings: Sequence[Recording]) -> Iterable[np.ndarray]:
    """Cells of the labelled training bins of recordings that have all the grid's variables."""
    for recording in recordings:
        if all(name in recording.variables for name in grid.names):
            for span in recording.part("train"):
                yield grid.cells({name: recording.variable(name, span) for name in grid.names})


def _marginal_steps(grid: Grid, steps: np.ndarray, k: int) -> np.ndarray:
    n = len(grid.axes)
    full = steps.reshape(*grid.shape, *grid.shape)
    others = tuple(i for i in range(2 * n) if i not in (k, n + k))
    summed: np.ndarray = full.sum(others)
    return summed


def _random_walk(axis: Axis, steps: np.ndarray) -> np.ndarray:
    """(K, K) steps as large as the observed ones on average, wherever they start; rows sum to 1."""
    n = len(axis)
    if axis.static:
        return np.eye(n)
    if axis.labels:  # a label stays, or changes to any other, at the observed rate
        stay = (np.trace(steps) + 1) / (steps.sum() + 2)
        return np.where(np.eye(n, dtype=bool), stay, (1 - stay) / max(1, n - 1)) if n > 1 else np.ones((1, 1))
    offset = np.arange(n)[None] - np.arange(n)[:, None]
    if axis.period is not None:
        offset = (offset + n // 2) % n - n // 2
    total = steps.sum()
    variance = (steps * offset**2).sum() / total if total else 1.0
    walk = np.exp(-0.5 * offset**2 / max(variance, 0.25))
    found: np.ndarray = walk / walk.sum(1, keepdims=True)
    return found


def _smoothed(grid: Grid, visits: np.ndarray) -> np.ndarray:
    full = visits.reshape(grid.shape)
    for k, axis in enumerate(grid.axes):
        if len(axis) > 2 and not axis.labels:
            walk = _random_walk(axis, np.zeros((len(axis), len(axis))))
            full = np.moveaxis(np.tensordot(walk, full, (0, k)), 0, k)
    return full.ravel()
