"""Which one of a session's estimates a figure of a single method shows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neuroformer.connectivity.estimate import ConnectivityMap
from neuroformer.connectivity.ranking import average_precision, off_diagonal
from neuroformer.connectivity.store import SessionConnectivity

PREFERRED = ("adjusted_coupling", "coupling")  # where no truth says which method is best


def leading_map(
    session: SessionConnectivity,
    *,
    name: str = "",
    suits: Callable[[ConnectivityMap], bool] = lambda estimate: True,
) -> ConnectivityMap | None:
    """The estimate called `name`, else the one of highest average precision, else the coupling, else one with p-values.

    Args:
        session: Its estimates.
        name: The one wanted; empty leaves the choice to the scores.
        suits: What the estimate must have; None comes back if none has it.
    """
    suitable = [estimate for estimate in session.maps if suits(estimate)]
    if name:
        suitable = [estimate for estimate in suitable if estimate.name == name]
    if not suitable:
        return None
    if session.scorable:
        assert session.weights is not None
        edge = off_diagonal(session.weights) != 0
        return max(suitable, key=lambda e: average_precision(np.abs(off_diagonal(e.matrix)), edge))
    return max(suitable, key=lambda e: ([e.name == name for name in PREFERRED], e.p_values is not None))
