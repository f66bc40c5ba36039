"""Held-out likelihood against baselines: the whole population, unit by unit, session by session."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neuroformer.plotting import INK, MUTED, method_color, method_label, new_figure, style
from neuroformer.report.blocks import Block, Drawing, Missing, Section, Table, number
from neuroformer.report.collect import Run, Score


def blocks(run: Run) -> Iterator[Block]:
    """Scores with intervals, the model against the GLM for each unit, and a table by session."""
    scores = run.likelihoods()
    if not scores:
        yield Missing(
            "The model has not been scored on held-out time.", f"neuroformer evaluate run={run.path}"
        )
        return
    units = run.table("evaluate/per_unit.csv")
    pairs = _pairs(units)
    if pairs is None:
        yield Missing(
            "Scores of single units are missing (evaluate/per_unit.csv with columns model and poisson_glm).",
            f"neuroformer evaluate run={run.path} overwrite=true",
        )
    caption = (
        "Left: bits per spike on held-out time with 95 % intervals (bootstrap over blocks of time); further right is "
        "better, and 0 is constant firing rates."
    )
    if pairs is not None:
        model, glm, _ = pairs
        wins = int(np.sum(model > glm))
        caption += (
            f" Right: one dot per unit, its area growing with the number of events; above the diagonal the model "
            f"predicts the unit better than the Poisson GLM does ({wins:,} of {len(model):,} units)."
        )
        hidden = len(model) - int(np.sum(_inside(model, glm)))
        if hidden:
            caption += f" {hidden:,} units with extreme scores lie outside the frame."
    yield Drawing(figure=draw(scores, pairs), title="Likelihood against baselines", caption=caption)
    yield from _session_table(run)


SECTION = Section(slug="likelihood", title="Prediction", blocks=blocks)

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]


def draw(scores: Mapping[str, Score], pairs: Pairs | None) -> Figure:
    """The scores as dots with intervals and, where known, the scatter of units."""
    height = max(2.6, 0.8 + 0.42 * len(scores))
    figure = new_figure(width=7.8, height=3.3 if pairs is not None else height)
    with style():
        if pairs is None:
            draw_scores(figure.subplots(), scores)
        else:
            left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
            draw_scores(left, scores)
            _draw_units(right, *pairs)
    return figure


def draw_scores(axes: Axes, scores: Mapping[str, Score]) -> None:
    """One row per method: a dot at its bits per spike, a line over its interval."""
    for row, (name, score) in enumerate(reversed(list(scores.items()))):
        color = method_color(name)
        if score.bounds is not None:
            axes.plot(score.bounds, (row, row), color=color, linewidth=5, alpha=0.35)
        axes.plot(score.value, row, "o", color=color, markersize=8)
        axes.annotate(
            number(score.value),
            (max(score.value, *score.bounds) if score.bounds else score.value, row),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            color=INK,
        )
    axes.axvline(0, color=MUTED, linewidth=0.8)
    axes.set_yticks(range(len(scores)), [method_label(name) for name in reversed(list(scores))])
    axes.set(ylim=(-0.6, len(scores) - 0.4), xlabel="bits per spike", title="All units together")
    axes.margins(x=0.18)
    axes.locator_params(axis="x", nbins=6)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _draw_units(axes: Axes, model: np.ndarray, glm: np.ndarray, events: np.ndarray) -> None:
    shown = _inside(model, glm)
    model, glm, events = model[shown], glm[shown], events[shown]
    low, high = min(model.min(), glm.min()), max(model.max(), glm.max())
    pad = 0.06 * (high - low) or 0.1
    limits = (low - pad, high + pad)
    axes.plot(limits, limits, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    # Hundreds of units need smaller dots.
    area = (8 + 40 * np.sqrt(events / max(events.max(), 1))) * min(1.0, 8 / np.sqrt(len(model)))
    axes.scatter(
        glm, model, s=area, color=method_color("model"), alpha=0.6, linewidth=0.4, edgecolor="white",
        rasterized=len(model) > 500,
    )  # fmt: skip
    axes.set(xlim=limits, ylim=limits, aspect="equal", title="Each unit")
    axes.set(xlabel="Poisson GLM (bits per spike)", ylabel="Neuroformer (bits per spike)")
    axes.grid(True)


def _inside(model: np.ndarray, glm: np.ndarray) -> np.ndarray:
    """Units within the bulk of the scores: one with a handful of events can have any score."""
    both = np.concatenate([model, glm])
    low, middle, high = np.quantile(both, [0.02, 0.5, 0.98])
    reach = 3 * max(high - middle, middle - low)
    return (np.minimum(model, glm) >= middle - reach) & (np.maximum(model, glm) <= middle + reach)


def _pairs(units: Mapping[str, np.ndarray] | None) -> Pairs | None:
    """Bits per spike by model and GLM and the events of each unit that has all; `None` where no unit has."""
    if not units or any(
        name not in units or units[name].dtype.kind != "f" for name in ("model", "poisson_glm")
    ):
        return None
    model, glm = units["model"], units["poisson_glm"]
    events = units.get("n_events", np.ones(len(model)))
    if events.dtype.kind != "f":
        events = np.ones(len(model))
    known = np.isfinite(model) & np.isfinite(glm) & np.isfinite(events)
    return (model[known], glm[known], events[known]) if known.any() else None


def _session_table(run: Run) -> Iterator[Table]:
    sessions: dict[str, Any] = (run.metrics("evaluate") or {}).get("sessions") or {}
    if len(sessions) < 2:
        return
    names = list(run.likelihoods())
    yield Table(
        columns=("session", "events", *(method_label(name) for name in names)),
        rows=[
            (session, _events(entry), *(number(entry.get("bits_per_spike", {}).get(name)) for name in names))
            for session, entry in sessions.items()
        ],
        summary=f"Bits per spike of each of the {len(sessions)} sessions",
    )


def _events(entry: Mapping[str, Any]) -> str:
    events = entry.get("n_events")
    return f"{events:,}" if isinstance(events, int) else "–"
