"""How behaviour moves from one bin to the next: the prior over time that inversion needs, learned from labels.

A Markov chain on a grid of behaviour and one more state, in which it is unknown. Its transition probabilities are the
counts of labelled bins of all animals, with a random walk of the size of the observed steps as the prior of each row,
so that a cell that was never visited still leads somewhere near.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuroformer.data.grid import Axis, Grid
from neuroformer.data.recording import Recording

_WALK = 5.0  # how many observed steps the random walk of a row counts
_JUMP = 1e-4  # chance of a step to anywhere, so that a wrong turn can be left


@dataclass(frozen=True, kw_only=True, eq=False)
class MotionCounts:
    """What was seen of a chain.

    Attributes:
        visits: (G,) labelled bins in each cell.
        steps: (G, G) steps of [from, to] between neighbouring labelled bins.
        unknown: (2, 2) steps between known (0) and unknown (1) bins.
    """

    visits: np.ndarray
    steps: np.ndarray
    unknown: np.ndarray

    def __add__(self, other: MotionCounts) -> MotionCounts:
        """Of both."""
        return MotionCounts(
            visits=self.visits + other.visits,
            steps=self.steps + other.steps,
            unknown=self.unknown + other.unknown,
        )

    def state(self) -> dict[str, Any]:
        """Builtins only, for the checkpoint; steps that were not seen are left out."""
        start, stop = np.nonzero(self.steps)
        return {
            "visits": self.visits.tolist(),
            "steps": [start.tolist(), stop.tolist(), self.steps[start, stop].tolist()],
            "unknown": self.unknown.tolist(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> MotionCounts:
        """Rebuild from `state()`."""
        visits = np.asarray(state["visits"], float)
        steps = np.zeros((len(visits), len(visits)))
        start, stop, count = state["steps"]
        steps[start, stop] = count
        return cls(visits=visits, steps=steps, unknown=np.asarray(state["unknown"], float))


@dataclass(frozen=True, kw_only=True, eq=False)
class Motion:
    """A Markov chain.

    Attributes:
        start: (G,) probability of each state where nothing is known.
        step: (G, G) probability of [from, to] in the next bin; rows sum to 1.
    """

    start: np.ndarray
    step: np.ndarray


def count_motion(grid: Grid, paths: Iterable[np.ndarray]) -> MotionCounts:
    """Count in labelled stretches.

    Args:
        grid: of G cells.
        paths: (T,) cells each, −1 where unknown; no step between cells is counted across an unknown bin.
    """
    n = len(grid)
    visits, steps, unknown = np.zeros(n), np.zeros((n, n)), np.zeros((2, 2))
    for path in paths:
        known = path >= 0
        visits += np.bincount(path[known], minlength=n)
        pair = known[1:] & known[:-1]
        np.add.at(steps, (path[:-1][pair], path[1:][pair]), 1)
        np.add.at(unknown, ((~known[:-1]).astype(int), (~known[1:]).astype(int)), 1)
    return MotionCounts(visits=visits, steps=steps, unknown=unknown)


def make_motion(grid: Grid, counts: MotionCounts) -> Motion:
    """The chain on the G cells of a grid."""
    walk = np.ones((1, 1))
    for k, axis in enumerate(grid.axes):
        walk = np.kron(walk, _random_walk(axis, _marginal_steps(grid, counts.steps, k)))
    start = counts.visits + _smoothed(grid, counts.visits) + 0.1
    start /= start.sum()
    step = counts.steps + _WALK * walk
    step /= step.sum(1, keepdims=True)
    jump = 0.0 if all(axis.static for axis in grid.axes) else _JUMP
    return Motion(start=start, step=(1 - jump) * step + jump * start)


def with_unknown(motion: Motion, counts: MotionCounts) -> Motion:
    """The chain with one more state at the end, in which the behaviour is unknown, as often as it was in the data."""
    rate = (counts.unknown + 1) / (counts.unknown + 1).sum(1, keepdims=True)
    share = (counts.unknown.sum(0)[1] + 1) / (counts.unknown.sum() + 2)
    n = len(motion.start)
    step = np.zeros((n + 1, n + 1))
    step[:n, :n], step[:n, n] = rate[0, 0] * motion.step, rate[0, 1]
    step[n, :n], step[n, n] = rate[1, 0] * motion.start, rate[1, 1]
    return Motion(start=np.append((1 - share) * motion.start, share), step=step)


def paths_of(grid: Grid, recordings: Sequence[Recording]) -> Iterable[np.ndarray]:
    """Cells in the training bins of recordings that have all the grid's variables, −1 where a label is not used."""
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
