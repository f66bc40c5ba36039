"""Figures of `neuroformer forecast`: score against horizon, and forecasts beside what happened."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from neuroformer.forecasting.problem import Forecast, Problem
from neuroformer.forecasting.scores import METRICS
from neuroformer.forecasting.summary import NAMES, Summary
from neuroformer.plotting import INK, MUTED, method_label, new_figure, style
from neuroformer.settings.forecast import OURS

_DRAWN = ("direct", "rollout", "last", "autoregression")
_PANELS = 2
# Far apart, as many lines lie close together here.
_COLORS = {
    "direct": "#009E73",
    "rollout": "#0072B2",
    "mean": MUTED,
    "last": "#D55E00",
    "conditioned_mean": "#56B4E9",
    "decay": "#B3A400",
    "autoregression": "#E69F00",
    "linear": "#CC79A7",
    "glm_rollout": "#44206B",
}


def _color(method: str) -> str:
    return _COLORS[method]


def draw_curves(summary: Summary, kind: str) -> Figure:
    """Every score against the horizon in seconds: the median of sessions with their quartiles, or one's interval."""
    metrics = METRICS[kind]
    seconds = summary.bin_s * np.arange(1, summary.horizon + 1)
    several = len(summary.curves) > 1
    figure = new_figure(width=3.4 * len(metrics) + 1.6, height=3.4)
    with style():
        panels = figure.subplots(1, len(metrics), squeeze=False)[0]
        for metric, panel in zip(metrics, panels, strict=True):
            for method in summary.methods:
                middle = summary.median(method, metric)
                if not np.isfinite(middle).any():
                    continue
                ours, color = method in OURS, _color(method)
                panel.plot(
                    seconds, middle, color=color, label=method_label(method), linewidth=2.0 if ours else 1.2,
                    linestyle="-" if ours else "--", zorder=3 if ours else 2,
                )  # fmt: skip
                if several:
                    low, high = np.nanquantile(summary.values(method, metric), [0.25, 0.75], axis=0)
                else:
                    scores = next(iter(summary.curves.values()))[method].scores[metric]
                    bands = np.array([score.interval or (np.nan, np.nan) for score in scores])
                    low, high = bands.T
                if ours:
                    panel.fill_between(seconds, low, high, color=to_rgba(color, 0.15), linewidth=0)
            panel.set(xlabel="horizon (s)", ylabel=NAMES[metric])
            panel.set_xlim(0, seconds[-1])
            if metric == "bits_per_spike":
                # A baseline far below the training rate would leave no room for the others.
                top = max(float(np.nanmax(summary.median(m, metric))) for m in summary.methods)
                panel.set_ylim(bottom=max(panel.get_ylim()[0], -2 * max(top, 0.1)))
        handles, labels = panels[0].get_legend_handles_labels()
        panels[-1].legend(handles, labels, loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0)
        bands_are = (
            f"median of {len(summary.curves)} sessions, bands: quartiles"
            if several
            else "bands: 95 % intervals"
        )
        figure.suptitle(f"{bands_are} (ours)", x=0.01, ha="left", fontsize=8.5, color=MUTED)
    return figure


def draw_examples(problem: Problem, forecasts: Mapping[str, Forecast], units: int) -> Figure | None:
    """Forecasts from origins a horizon apart, beside what happened, of the units that vary most in the part."""
    methods = [m for m in _DRAWN if m in forecasts][: _PANELS + 1]
    if not units or not methods:
        return None
    series, rows = problem.series, problem.origins
    which = int(rows.epoch[0])
    here = rows.epoch == which
    truth = np.nan_to_num(problem.truth[:, 0], nan=0.0)
    spread = truth.std(0)
    shown = np.argsort(-spread, kind="stable")[:units]
    step = int(np.median(np.diff(rows.at[here]))) if here.sum() > 1 else 1
    every = max(1, round(problem.horizon / step))
    picked = np.flatnonzero(here)[::every]
    bin_s = series.recording.bin_s
    epoch = series.recording.epochs[which]
    first, last = int(rows.at[picked[0]]), int(rows.at[picked[-1]]) + problem.horizon
    bins = np.arange(first, last + 1)
    values = np.where(series.known[which][bins], series.values[which][bins], np.nan)
    figure = new_figure(width=8.0, height=0.8 + 1.3 * len(shown))
    with style():
        panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
        for unit, panel in zip(shown, panels, strict=True):
            panel.plot(epoch.time_of(bins + 0.5), values[:, unit], color=INK, linewidth=1.0, label="truth")
            for method in methods:
                for k, origin in enumerate(picked):
                    at = rows.at[origin]
                    ahead = at + np.arange(0, problem.horizon + 1)
                    path = np.concatenate(
                        [[series.values[which][at, unit]], forecasts[method].values[origin, :, unit]]
                    )
                    panel.plot(
                        epoch.time_of(ahead + 0.5), path, color=_color(method), linewidth=1.2,
                        label=method_label(method) if k == 0 else None,
                    )  # fmt: skip
            panel.set_ylabel(f"unit {unit}")
        panels[0].legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(methods) + 1)
        panels[-1].set_xlabel("time (s)")
        panels[-1].set_xlim(float(epoch.time_of(first)), float(epoch.time_of(last)) + bin_s)
        figure.suptitle(
            f"{series.recording.session_id}: standard deviations of the training part; units that vary most",
            x=0.01, ha="left", fontsize=8.5, color=MUTED,
        )  # fmt: skip
    return figure
