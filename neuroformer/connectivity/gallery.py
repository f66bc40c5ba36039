"""Every figure of a session that its estimates and its truth allow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from neuroformer.connectivity.figures import draw_matrices, draw_precision_recall
from neuroformer.connectivity.graph_figure import draw_graph
from neuroformer.connectivity.lag_figure import draw_lag_profiles
from neuroformer.connectivity.store import SessionConnectivity


def session_figures(
    session: SessionConnectivity, *, q: float = 0.05, positions: np.ndarray | None = None
) -> Iterator[tuple[str, Figure]]:
    """Yield (kind, figure): `matrices`, and where they can be drawn `precision_recall`, `lag_profiles` and `graph`.

    Args:
        session: Its estimates.
        q: False-discovery rate at which pairs are called.
        positions: (N, 2) or (N, 3) of the units, for the graph; without them the units lie on a circle.
    """
    yield "matrices", draw_matrices(session)
    if session.scorable:
        yield "precision_recall", draw_precision_recall(session, q=q)
    for kind, figure in (
        ("lag_profiles", draw_lag_profiles(session, q=q)),
        ("graph", draw_graph(session, q=q, positions=positions)),
    ):
        if figure is not None:
            yield kind, figure
