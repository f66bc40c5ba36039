"""From the cells' results to the numbers of the table: means over seeds, and model against the best of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuroformer.settings.connectivity import (
    BLOCK_ESTIMATORS,
    CLASSICAL_ESTIMATORS,
    GLM_ESTIMATORS,
    MODEL_ESTIMATORS,
)

LEAD = "adjusted_coupling"
GLMS = tuple(name for name in GLM_ESTIMATORS if name != "adjusted_glm")
RIVALS = (*CLASSICAL_ESTIMATORS, *GLMS)  # what people use now; the adjusted GLM is ours as well
OURS = (*MODEL_ESTIMATORS, *BLOCK_ESTIMATORS)
NO_EDGES = "unconnected"

Results = Mapping[str, Mapping[int, Mapping[str, Any]]]
"""Content of the cells' metrics.json by circuit and seed."""


def score(results: Results, circuit: str, method: str, name: str) -> np.ndarray:
    """(seeds,) one score of one method on one circuit; NaN where it is not known."""
    values = [cell["connectivity"].get(method, {}).get(name) for cell in results[circuit].values()]
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def called(results: Results, circuit: str, method: str) -> np.ndarray:
    """(seeds,) share of all pairs that a method calls."""
    cells = results[circuit].values()
    values = [cell["calls"][circuit].get(method, {}).get("called_share") for cell in cells]
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def methods(results: Results) -> list[str]:
    """All methods found, best mean average precision over circuits first."""
    found = {name for cells in results.values() for cell in cells.values() for name in cell["connectivity"]}
    circuits = [name for name in results if name != NO_EDGES]

    def mean(method: str) -> float:
        values = [
            np.nanmean(v)
            for c in circuits
            if not np.isnan(v := score(results, c, method, "average_precision")).all()
        ]
        return float(np.mean(values)) if values else -1.0

    return sorted(found, key=mean, reverse=True)


def best_of(results: Results, circuit: str, names: Sequence[str]) -> tuple[str, np.ndarray] | None:
    """The method of the highest mean average precision on a circuit, and its (seeds,) values.

    Of the methods that were run on every seed, as a mean over fewer is no match; None without any.
    """
    values = {name: score(results, circuit, name, "average_precision") for name in names}
    known = {name: value for name, value in values.items() if not np.isnan(value).any()}
    if not known:
        return None
    best = max(known, key=lambda name: float(known[name].mean()))
    return best, known[best]


def strongest_glm(results: Results, circuit: str) -> np.ndarray:
    """(seeds,) average precision of whichever GLM is best on each seed, chosen with the truth in sight."""
    values = np.array([score(results, circuit, name, "average_precision") for name in GLMS])
    return np.nanmax(values, axis=0)
