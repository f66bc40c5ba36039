"""Figures of `neuroformer decode`: behaviour over time against truth, and scores of all methods.

The stretch of time that is drawn is the one with the most labelled bins, not the one that is decoded best.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from neuroformer.baselines.decoding import Target
from neuroformer.decoding.methods import Estimate
from neuroformer.decoding.scoring import HALF_WIDTH, headline
from neuroformer.plotting import (
    INK,
    MUTED,
    PALETTE,
    SEQUENTIAL,
    method_color,
    method_label,
    new_figure,
    style,
)
from neuroformer.settings.decode import OURS

if TYPE_CHECKING:
    from neuroformer.decoding.results import Result
    from neuroformer.decoding.session import SessionDecoding

_BESIDE = ("inversion", "combined", "readout", "inversion_causal", "ridge", "naive_bayes")
"""Methods that are drawn over time, in order of preference."""
_PANELS = 3
_SCORES = {
    "continuous": ("mean_error", "r2", "coverage"),
    "circular": ("mean_error", "circular_correlation", "coverage"),
    "categorical": ("balanced_accuracy", "auc", "log_loss"),
}
_NAMES = {
    "mean_error": "mean error",
    "r2": "R²",
    "coverage": "coverage of 80 % intervals",
    "circular_correlation": "circular correlation",
    "balanced_accuracy": "balanced accuracy",
    "auc": "AUC",
    "log_loss": "log-loss (nats)",
}


def best_window(known: Sequence[np.ndarray], n_bins: int) -> tuple[int, slice]:
    """Stretch and bins of the window of up to `n_bins` with the most known bins, the first of equals.

    >>> best_window([np.array([True, False, False]), np.array([False, True, True])], 2)
    (1, slice(1, 3, None))
    """
    best, where = -1, (0, slice(0, 0))
    for k, found in enumerate(known):
        size = min(n_bins, len(found))
        total = np.concatenate([[0], np.cumsum(found)])
        counts = total[size:] - total[: len(total) - size]
        at = int(counts.argmax())
        if counts[at] > best:
            best, where = int(counts[at]), (k, slice(at, at + size))
    return where


def draw_behavior(session: SessionDecoding, *, window_s: float) -> dict[str, Figure]:
    """Behaviour over time by some methods against truth, a figure per variable; none without a label."""
    figures = {}
    for name, target in session.targets.items():
        truth, estimates = session.truth[name], session.estimates[name]
        methods = [m for m in _BESIDE if m in estimates][:_PANELS]
        if not truth.n_known or not methods:
            continue
        k, bins = best_window(truth.known, round(window_s / session.bin_s))
        time = session.test.time[k][bins]
        values, known = truth.values[k][bins], truth.known[k][bins]
        if target.kind == "categorical":
            figures[name] = _categorical(session, target, methods, k, bins, time, values, known)
        else:
            figures[name] = _continuous(session, target, methods, k, bins, time, values, known)
    return figures


def _continuous(
    session: SessionDecoding,
    target: Target,
    methods: list[str],
    k: int,
    bins: slice,
    time: np.ndarray,
    values: np.ndarray,
    known: np.ndarray,
) -> Figure:
    n_dims = values.shape[1]
    estimates = session.estimates[target.name]
    mapped = next((m for m in methods if estimates[m].posterior is not None), None)
    rows = [(m, d) for m in methods for d in range(n_dims)]
    n_rows = len(rows) + (mapped is not None)
    figure = new_figure(width=8.0, height=0.8 + 1.35 * n_rows)
    unit = f" ({target.unit})" if target.unit else ""
    with style():
        panels = figure.subplots(n_rows, 1, sharex=True, squeeze=False)[:, 0]
        for (method, d), panel in zip(rows, panels, strict=False):
            estimate = estimates[method]
            assert estimate.mean is not None
            color, mean = method_color(method), estimate.mean[k][bins, d]
            if estimate.spread is not None:
                factor = session.factors[target.name].get(method, np.ones(n_dims))[d]
                _band(
                    panel, time, mean, HALF_WIDTH * factor * estimate.spread[k][bins, d], color, target.period
                )
            panel.plot(time, _broken(mean, target.period), color=color, linewidth=1.2)
            panel.plot(time, np.where(known, values[:, d], np.nan), ".", color=INK, markersize=2.2)
            which = f" {d + 1}" if n_dims > 1 else ""
            panel.set_title(f"{method_label(method)}{which}", color=color, fontsize=9)
            panel.set_ylabel(f"{target.name}{unit}")
            panel.set_ylim(*_limits(session, target, methods, k, bins, d))
            _not_scored(panel, time, known, session.bin_s)
        if mapped is not None:
            _heat_map(figure, panels[-1], estimates[mapped], k, bins, time, values, known, session.bin_s)
            panels[-1].set_title(f"{method_label(mapped)}: posterior", color=method_color(mapped), fontsize=9)
            panels[-1].set_ylabel(f"{target.name}{unit}")
        panels[-1].set_xlabel("time (s)")
        panels[-1].set_xlim(time[0] - session.bin_s / 2, time[-1] + session.bin_s / 2)
        figure.suptitle(
            f"{session.session_id}: dots truth, line decoded, band 80 % interval; grey: not scored",
            x=0.01, ha="left", fontsize=8.5, color=MUTED,
        )  # fmt: skip
    return figure


def _limits(
    session: SessionDecoding, target: Target, methods: list[str], k: int, bins: slice, d: int
) -> tuple[float, float]:
    """Of a variable's axis: the range of truth and means, not of bands."""
    if target.period is not None:
        return 0.0, target.period
    parts = [session.truth[target.name].values[k][bins, d]]
    for method in methods:
        mean = session.estimates[target.name][method].mean
        if mean is not None:
            parts.append(mean[k][bins, d])
    together = np.concatenate(parts)
    low, high = np.nanmin(together), np.nanmax(together)
    margin = 0.08 * (high - low) or 1.0
    return float(low - margin), float(high + margin)


def _band(
    panel: Axes, time: np.ndarray, mean: np.ndarray, half: np.ndarray, color: str, period: float | None
) -> None:
    """An interval; of a circular variable it comes round."""
    if period is not None:
        half = np.minimum(half, period / 2)
    for shift in (0.0,) if period is None else (-period, 0.0, period):
        panel.fill_between(
            time,
            mean - half + shift,
            mean + half + shift,
            color=to_rgba(color, 0.22),
            linewidth=0,
            step="mid",
        )


def _broken(values: np.ndarray, period: float | None) -> np.ndarray:
    """A line that is not drawn across the turn."""
    if period is None:
        return values
    found = values.astype(float).copy()
    found[1:][np.abs(np.diff(values)) > period / 2] = np.nan
    return found


def _not_scored(panel: Axes, time: np.ndarray, known: np.ndarray, bin_s: float) -> None:
    edges = np.flatnonzero(np.diff(np.concatenate([[True], known, [True]]).astype(int)))
    for a, b in zip(edges[::2], edges[1::2], strict=True):
        panel.axvspan(time[a] - bin_s / 2, time[b - 1] + bin_s / 2, color="#eef0f2", linewidth=0, zorder=0)


def _heat_map(
    figure: Figure,
    panel: Axes,
    estimate: Estimate,
    k: int,
    bins: slice,
    time: np.ndarray,
    values: np.ndarray,
    known: np.ndarray,
    bin_s: float,
) -> None:
    assert estimate.posterior is not None
    assert estimate.axis is not None
    posterior = estimate.posterior[k][bins]
    edges = np.append(time - bin_s / 2, time[-1] + bin_s / 2)
    drawn = panel.pcolormesh(
        edges, estimate.axis.edges, posterior.T, cmap=SEQUENTIAL, vmin=0, rasterized=True,
        vmax=float(np.quantile(posterior.max(1), 0.9)),
    )  # fmt: skip
    panel.plot(time, np.where(known, values[:, 0], np.nan), ".", color="#D55E00", markersize=2.0)
    bar = figure.colorbar(drawn, ax=panel, shrink=0.9, aspect=10, pad=0.01)
    bar.outline.set_visible(False)
    bar.set_label("probability")


def _categorical(
    session: SessionDecoding,
    target: Target,
    methods: list[str],
    k: int,
    bins: slice,
    time: np.ndarray,
    values: np.ndarray,
    known: np.ndarray,
) -> Figure:
    colors = [PALETTE[i % len(PALETTE)] for i in range(target.n_classes)]
    figure = new_figure(width=8.0, height=1.1 + 1.15 * len(methods))
    edges = np.append(time - session.bin_s / 2, time[-1] + session.bin_s / 2)
    with style():
        panels = figure.subplots(
            len(methods) + 1, 1, sharex=True, squeeze=False, height_ratios=[0.25] + [1.0] * len(methods)
        )[:, 0]
        for label, color in enumerate(colors):
            there = known & (values == label)
            panels[0].fill_between(
                edges, 0, np.append(there, False).astype(float), step="post", color=color, linewidth=0,
                label=target.labels[label],
            )  # fmt: skip
        panels[0].set(yticks=[], ylim=(0, 1))
        panels[0].set_title(f"{target.name}: truth", fontsize=9)
        panels[0].legend(
            loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=min(6, target.n_classes), borderaxespad=0.1
        )
        for method, panel in zip(methods, panels[1:], strict=True):
            probability = session.estimates[target.name][method].probability
            assert probability is not None
            shown = probability[k][bins]
            base = np.zeros(len(shown) + 1)
            for label, color in enumerate(colors):
                top = base + np.append(shown[:, label], shown[-1, label])
                panel.fill_between(edges, base, top, step="post", color=color, linewidth=0)
                base = top
            panel.set(ylim=(0, 1), yticks=[0, 0.5, 1], ylabel="probability")
            panel.set_title(method_label(method), color=method_color(method), fontsize=9)
        panels[-1].set_xlabel("time (s)")
        panels[-1].set_xlim(edges[0], edges[-1])
        figure.suptitle(
            f"{session.session_id}: white in the truth is not scored",
            x=0.01, ha="left", fontsize=8.5, color=MUTED,
        )  # fmt: skip
    return figure


def draw_scores(targets: dict[str, Target], results: Sequence[Result]) -> dict[str, Figure]:
    """Scores with intervals, a figure per variable: all sessions together and, paler, each."""
    figures = {}
    for name, target in targets.items():
        for level in ("bin", "trial"):
            mine = [r for r in results if r.variable == name and r.level == level]
            if mine:
                figures[name if level == "bin" else f"{name}_trials"] = _scores(target, level, mine)
    return figures


def _scores(target: Target, level: str, results: list[Result]) -> Figure:
    kind = "circular" if target.period is not None else target.kind
    columns = [c for c in _SCORES[kind] if any(c in r.scores for r in results)]
    methods = list(dict.fromkeys(r.method for r in results))
    methods.sort(key=lambda m: (m not in OURS, OURS.index(m) if m in OURS else 0))
    sessions = list(dict.fromkeys(r.session for r in results))
    main = "all" if "all" in sessions else sessions[0]
    figure = new_figure(width=1.6 + 2.4 * len(columns), height=1.1 + 0.3 * len(methods))
    with style():
        panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
        for column, panel in zip(columns, panels, strict=True):
            for row, method in enumerate(methods):
                for result in (r for r in results if r.method == method and column in r.scores):
                    score, color = result.scores[column], method_color(method)
                    if result.session != main:
                        panel.plot(score.value, row, ".", color=color, alpha=0.35, markersize=5)
                        continue
                    panel.plot(score.value, row, "o", color=color, markersize=5)
                    if score.interval is not None:
                        panel.plot(score.interval, [row, row], color=color, linewidth=1.6)
            if column == "coverage":
                panel.axvline(0.8, color=MUTED, linewidth=0.8, linestyle=":")
                panel.set_xlim(0, 1)
            unit = f" ({target.unit})" if column == "mean_error" and target.unit else ""
            panel.set_xlabel(_NAMES[column] + unit)
            panel.grid(axis="x")
        panels[0].set_yticks(range(len(methods)), labels=[method_label(m) for m in methods])
        panels[0].set_ylim(len(methods) - 0.5, -0.5)
        what = "per trial" if level == "trial" else "bin by bin"
        others = "; dots: single sessions" if len(sessions) > 1 else ""
        figure.suptitle(
            f"{target.name}, {what}, compared by {_NAMES[headline(target)]}; 95 % intervals{others}",
            x=0.01, ha="left", fontsize=8.5, color=MUTED,
        )  # fmt: skip
    return figure
