"""Deletion and insertion: what a model loses without its most salient units, and what it has of them alone.

A deleted unit stands at its training mean while the model predicts; the model is not trained again. The same is done
with units in random orders. (Petsiuk, Das & Saenko 2018, arXiv 1806.07421; for images, there.)

Legend: K numbers of units, M blocks of time, D numbers that a model predicts, R random orders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Errors = Callable[[np.ndarray], np.ndarray]
"""From which units are kept (N,) bool to the squared errors (T, D) of every bin, NaN where the truth is unknown."""


def curve(errors: Errors, order: np.ndarray, counts: Sequence[int], *, insert: bool) -> np.ndarray:
    """(K, T, D) squared errors without the first units of an order, or with these alone.

    Args:
        errors: of the model with some of its units.
        order: (N,) units.
        counts: K numbers of units.
        insert: whether the first units are all that is kept, instead of all that is deleted.
    """
    found = []
    for k in counts:
        kept = np.full(len(order), not insert)
        kept[order[:k]] = insert
        found.append(errors(kept))
    return np.stack(found)


def by_block(errors: np.ndarray, block: np.ndarray) -> np.ndarray:
    """(..., M, 2) sum of squared errors (..., T) in each block and how many there are; NaN counts as none."""
    known = np.isfinite(errors)
    names, index = np.unique(block, return_inverse=True)
    mark = (index[:, None] == np.arange(len(names))).astype(float)  # (T, M)
    return np.stack([np.where(known, errors, 0) @ mark, known.astype(float) @ mark], -1)


def area(counts: Sequence[int], values: np.ndarray) -> np.ndarray:
    """Mean height of curves (..., K) over the logarithm of the number of units."""
    x = np.log(np.asarray(counts, float))
    if len(x) < 2:
        return np.asarray(values)[..., 0]
    found: np.ndarray = np.trapezoid(values, x, axis=-1) / (x[-1] - x[0])
    return found


def spread_counts(counts: Sequence[int], n: int) -> list[int]:
    """Those of the counts that are fewer than n units, in order."""
    return sorted({k for k in counts if 1 <= k < n})
