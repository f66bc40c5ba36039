"""One figure of several runs: how well each is predicted, and its known wiring beside the one read out."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from neuroformer.plotting import draw_couplings, new_figure, style
from neuroformer.report.collect import Run
from neuroformer.report.lead import leading_estimator
from neuroformer.report.sections.likelihood import draw_scores
from neuroformer.report.sections.wiring import unit_order


def draw_overview(runs: Sequence[Run]) -> Figure:
    """A row per run: held-out bits per spike, the known wiring, and the coupling read from the model.

    Args:
        runs: finished runs on simulated sessions, evaluated and with their connectivity.
    """
    figure = new_figure(width=9.2, height=2.9 * len(runs))
    with style():
        grid = figure.subplots(len(runs), 3, squeeze=False, width_ratios=(1.5, 1, 1))
        for row, run in zip(grid, runs, strict=True):
            draw_scores(row[0], run.likelihoods())
            row[0].set_title(f"{run.name}: held-out prediction")
            session = next(iter(run.couplings() or ()), None)
            estimator = None if session is None else leading_estimator(session.estimates)
            if session is None or session.truth is None or estimator is None:
                for axes in row[1:]:
                    axes.set_axis_off()
                continue
            order = unit_order(session.truth)
            precision = run.wiring_scores().get(estimator, {}).get("average_precision")
            titles = ("wiring put in", "read out" if precision is None else f"read out (AP {precision:.3f})")
            for axes, matrix, title in zip(
                row[1:], (session.truth, session.estimates[estimator]), titles, strict=True
            ):
                draw_couplings(axes, np.asarray(matrix)[np.ix_(order, order)])
                axes.set_title(title)
    return figure
