"""One figure of several runs: how well each is predicted, and its wiring or the behaviour of a new animal."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neuroformer.decoding.learning_curve import draw_panel, panels_of
from neuroformer.plotting import draw_couplings, new_figure, style
from neuroformer.report.collect import Fewshot, Run
from neuroformer.report.lead import leading_estimator
from neuroformer.report.sections.likelihood import draw_scores
from neuroformer.report.sections.wiring import unit_order


def draw_overview(runs: Sequence[Run]) -> Figure:
    """A row per run: held-out bits per spike, the known wiring, and the coupling read from the model.

    A run with a learning curve of a new animal has the curves in place of the wiring.

    Args:
        runs: finished runs on simulated sessions, evaluated and with their connectivity or learning curve.
    """
    figure = new_figure(width=9.2, height=2.9 * len(runs))
    with style():
        grid = figure.subplots(len(runs), 3, squeeze=False, width_ratios=(1.5, 1, 1))
        for row, run in zip(grid, runs, strict=True):
            scores, curves = run.likelihoods(), run.fewshot()
            if curves is not None:
                _draw_curves(row[1:] if scores else row, curves)
                if not scores:
                    continue
            draw_scores(row[0], scores)
            row[0].set_title(f"{run.name}: held-out prediction")
            if curves is not None:
                continue
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


def _draw_curves(row: Sequence[Axes], found: Fewshot) -> None:
    """Error against labels of the first variables, and the names of the methods once."""
    panels = [key for key in panels_of(found.rows) if key[1] in ("mean_error", "accuracy")][:2]
    for axes, (target, metric) in zip(row, panels, strict=False):
        unit = found.units.get(target, "")
        draw_panel(axes, found.rows, target, metric, unit=unit, amounts=found.amounts)
        axes.set_title(f"new animal: {target}")
    for axes in row[len(panels) :]:
        axes.set_axis_off()
    if not panels:
        return
    if len(panels) < len(row):
        row[len(panels)].legend(*row[0].get_legend_handles_labels(), loc="center left")
    else:
        row[-1].legend(fontsize=6.5)
