"""A posterior on a grid as numbers: mean, median, spread, intervals, probabilities; angles come round.

Legend: T bins, K cells of an axis.
"""

from __future__ import annotations

import numpy as np

from neuroformer.data.grid import Axis


def posterior_mean(axis: Axis, probability: np.ndarray) -> np.ndarray:
    """(T,) mean, of an angle the direction of the mean vector; probability is (T, K)."""
    if axis.period is None:
        found: np.ndarray = probability @ axis.centres
        return found
    turn = axis.period / (2 * np.pi)
    angle = axis.centres / turn
    return np.arctan2(probability @ np.sin(angle), probability @ np.cos(angle)) % (2 * np.pi) * turn


def posterior_spread(axis: Axis, probability: np.ndarray) -> np.ndarray:
    """(T,) standard deviation, that of uniform cells included; of an angle about its mean, the short way round."""
    width = np.diff(axis.edges).mean()
    off = difference(axis, axis.centres[None], posterior_mean(axis, probability)[:, None])
    return np.sqrt((probability * off**2).sum(1) + width**2 / 12)


def posterior_median(axis: Axis, probability: np.ndarray) -> np.ndarray:
    """(T,) median; of an angle that about its mean."""
    return posterior_quantile(axis, probability, 0.5)


def posterior_quantile(axis: Axis, probability: np.ndarray, level: float) -> np.ndarray:
    """(T,) quantile, cells taken as uniform; of an angle counted from half a turn before its mean."""
    if axis.period is None:
        return _quantile(axis.edges, probability, level)
    mean = posterior_mean(axis, probability)
    n = len(axis)
    cut = (axis.cell(mean) + (n + 1) // 2) % n  # the cell opposite
    order = (cut[:, None] + np.arange(n)) % n
    rolled = np.take_along_axis(probability, order, 1)
    width = axis.period / n
    return (cut * width + _quantile(np.arange(n + 1) * width, rolled, level)) % axis.period


def difference(axis: Axis, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A − b, for angles the short way round."""
    if axis.period is None:
        return a - b
    return (a - b + axis.period / 2) % axis.period - axis.period / 2


def _quantile(edges: np.ndarray, probability: np.ndarray, level: float) -> np.ndarray:
    below = np.concatenate([np.zeros((len(probability), 1)), probability.cumsum(1)], 1)
    below /= below[:, -1:]
    cell = np.clip((below <= level).sum(1) - 1, 0, probability.shape[1] - 1)
    row = np.arange(len(probability))
    inside = probability[row, cell] / probability.sum(1)
    part = np.clip((level - below[row, cell]) / np.maximum(inside, 1e-300), 0, 1)
    found: np.ndarray = edges[cell] + part * (edges[cell + 1] - edges[cell])
    return found
