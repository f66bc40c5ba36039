"""One page for one recording: generated activity green, recorded black, what its halves reach grey."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neuroformer.calibration.findings import Findings
from neuroformer.calibration.halves import Comparison
from neuroformer.calibration.horizon import Measure
from neuroformer.calibration.rescaling import PASSES, deviation
from neuroformer.plotting import INK, MUTED, PALETTE, method_color, new_figure, style

MODEL = method_color("model")
_BAND = "#c9d1d6"
_MOST_LINES = 60
_TOO_FEW = "no unit has min_events\nin the part"


def draw_page(found: Findings) -> Figure:
    """Twelve panels."""
    figure = new_figure(width=12.5, height=13.5)
    with style():
        panels = figure.subplots(4, 3).ravel()
        last: Callable[[Axes, Findings], None] = _responses if found.responses else _drift_fano
        draw = (_rates, _fano, _pairs, _intervals, _autocorrelogram, _rescaling, _events_per_bin, _active_units,
                _shares, _drift_rate, _drift_synchrony, last)  # fmt: skip
        for panel, one in zip(panels, draw, strict=True):
            one(panel, found)
        figure.suptitle(
            f"{found.session_id}: generated (green) beside recorded (black), {found.real.seconds:,.0f} s held out, "
            f"{found.n_copies} copies; grey: what halves of the recording reach",
            fontsize=11,
        )
    return figure


def _nothing(axes: Axes, why: str) -> None:
    axes.text(0.5, 0.5, why, ha="center", va="center", transform=axes.transAxes, color=MUTED)
    axes.set(xticks=[], yticks=[])


def _diagonal(axes: Axes, values: np.ndarray) -> None:
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    axes.plot([low, high], [low, high], color=MUTED, linewidth=1, zorder=0)


def _scatter(axes: Axes, each: Comparison) -> None:
    """Generated against recorded, with the range of the recorded halves."""
    shown = each.tested
    if not shown.any():
        _nothing(axes, _TOO_FEW)
        return
    x, y = each.real[shown, 0], each.generated[shown, 0]
    axes.hlines(y, each.low[shown, 0], each.high[shown, 0], color=_BAND, linewidth=1, zorder=0)
    colors = np.where(each.within[shown], MODEL, PALETTE[5])
    axes.scatter(x, y, s=12, c=list(colors), linewidths=0)
    _diagonal(axes, np.concatenate([x, y]))


def _rates(axes: Axes, found: Findings) -> None:
    each = found.units["rate"]
    axes.set(title="Rates of units", xlabel="recorded (Hz)", ylabel="generated (Hz)")
    other = ~each.tested & (each.real[:, 0] > 0) & (each.generated[:, 0] > 0)
    if each.tested.any():
        _scatter(axes, each)
    axes.scatter(each.real[other, 0], each.generated[other, 0], s=8, color=MUTED, alpha=0.5, linewidths=0)
    if not each.tested.any():
        _diagonal(axes, each.real[other, 0])
    if (other | each.tested).any() and (each.generated[each.tested] > 0).all():
        axes.set(xscale="log", yscale="log")
    _note(axes, f"r = {found.rates.whole:.3f} over all units\norange: outside the band, grey: not tested")


def _fano(axes: Axes, found: Findings) -> None:
    each = found.units["fano"]
    width = each.statistic.width * found.real.bin_s  # type: ignore[attr-defined]
    axes.set(title=f"Fano factor, windows of {width:g} s", xlabel="recorded", ylabel="generated")
    _scatter(axes, each)
    both = np.concatenate([each.real[each.tested], each.generated[each.tested]])
    if len(both) and np.nanmin(both) > 0 and np.nanmax(both) > 5 * np.nanmin(both):
        axes.set(xscale="log", yscale="log")


def _pairs(axes: Axes, found: Findings) -> None:
    real, generated = found.correlations
    upper = np.triu_indices(len(real), 1)
    x, y = real[upper], generated[upper]
    known = np.isfinite(x) & np.isfinite(y)
    kind = "Noise correlations" if found.noise else "Correlations"
    axes.set(title=f"{kind} of pairs", xlabel="recorded", ylabel="generated")
    if not known.any():
        _nothing(axes, "no two units that vary")
        return
    many = known.sum() > 2000
    axes.scatter(x[known], y[known], s=3 if many else 8, alpha=0.25 if many else 0.6, color=MODEL, linewidths=0,
                 rasterized=many)  # fmt: skip
    _diagonal(axes, y[known])
    ratio = found.pairs.ratio
    words = f"{ratio:.2f} of the ceiling" if np.isfinite(ratio) else "ceiling not above 0"
    _note(axes, f"halves: r = {found.pairs.generated:.2f}\nceiling {found.pairs.ceiling:.2f}; {words}")


def _curves(axes: Axes, x: np.ndarray, each: Comparison) -> bool:
    """Mean unit: band, recorded, generated. False if there is nothing to show."""
    shown = each.tested
    if not shown.any():
        _nothing(axes, _TOO_FEW)
        return False
    arrays = (each.low[shown], each.high[shown], each.real[shown], each.generated[shown])
    low, high, real, generated = (_mean(values) for values in arrays)
    axes.fill_between(x, low, high, color=_BAND, linewidth=0, label="halves, typical unit")
    axes.plot(x, real, color=INK, label="recorded")
    axes.plot(x, generated, color=MODEL, label="generated")
    return True


def _mean(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: np.ndarray = np.where(known, values, 0).sum(0) / known.sum(0)
    return mean


def _intervals(axes: Axes, found: Findings) -> None:
    each = found.units["interval"]
    axes.set(title="Intervals, mean over units", xlabel="interval (s)", ylabel="share of intervals up to it")
    # A class ends where the next begins; an interval of k bins lasts k · bin_s, give or take a bin.
    if _curves(axes, each.statistic.edges[1:] * found.real.bin_s, each):  # type: ignore[attr-defined]
        axes.set(xscale="log", ylim=(0, 1))
        axes.legend(loc="lower right")


def _autocorrelogram(axes: Axes, found: Findings) -> None:
    each = found.units["autocorrelation"]
    edges = each.statistic.edges  # type: ignore[attr-defined]
    axes.set(
        title="Autocorrelogram, mean over units",
        xlabel="time after an event (s)",
        ylabel="rate over mean rate",
    )
    if _curves(axes, (edges[:-1] + edges[1:] - 1) / 2 * found.real.bin_s, each):
        axes.set_ylim(bottom=0)
        axes.axhline(1, color=MUTED, linewidth=1, zorder=0)


def _rescaling(axes: Axes, found: Findings) -> None:
    rescaled = found.rescaled
    axes.set(
        title="Time rescaling on the recorded events", xlabel="expected share", ylabel="found less expected"
    )
    units = np.flatnonzero(rescaled.tested)
    if not len(units):
        _nothing(axes, _TOO_FEW)
        return
    grid = np.linspace(0, 1, 201)
    half = 1.36 / np.sqrt(np.median([len(rescaled.uniform[u]) for u in units]))
    axes.fill_between([0, 1], -half, half, color=_BAND, linewidth=0)
    for unit in units[np.unique(np.linspace(0, len(units) - 1, _MOST_LINES).astype(int))]:
        fails = rescaled.p[unit] < PASSES
        color, alpha = (PALETTE[5], 0.8) if fails else (MODEL, 0.3)
        axes.plot(grid, deviation(rescaled.uniform[unit], grid), color=color, linewidth=0.7, alpha=alpha)
    pooled = np.concatenate([rescaled.uniform[u] for u in units])
    axes.plot(grid, deviation(pooled, grid), color=INK)
    axes.set_xlim(0, 1)
    _note(
        axes,
        f"{rescaled.share:.0%} of {len(units)} units pass (95 % if exact)\nblack: all events together",
        top=True,
    )


def _tail(axes: Axes, each: Comparison, x: np.ndarray) -> None:
    """Share of windows with more than x, on a logarithmic axis."""
    low, high, real, generated = (1 - v[0] for v in (each.high, each.low, each.real, each.generated))
    shown = slice(0, int(np.flatnonzero(np.maximum(real, generated) > 1e-12).max(initial=0)) + 1)
    floor = max(float(np.min(np.where(real[shown] > 1e-12, real[shown], 1))), 1e-6) / 3
    axes.fill_between(
        x[shown], np.maximum(low, floor)[shown], np.maximum(high, floor)[shown], color=_BAND, linewidth=0
    )
    for values, color in ((real, INK), (generated, MODEL)):
        axes.plot(x[shown], np.where(values > 1e-12, values, np.nan)[shown], color=color)
    axes.set(yscale="log", ylim=(floor, 1))


def _events_per_bin(axes: Axes, found: Findings) -> None:
    each = found.population["events_per_bin"]
    bin_ms = found.real.bin_s * 1e3
    axes.set(
        title="Events of all units in a bin",
        xlabel=f"events in {bin_ms:g} ms",
        ylabel="share of bins with more",
    )
    _tail(axes, each, each.statistic.edges[1:] - 1)  # type: ignore[attr-defined]


def _active_units(axes: Axes, found: Findings) -> None:
    each = found.population["active_units"]
    seconds = each.statistic.width * found.real.bin_s  # type: ignore[attr-defined]
    axes.set(
        title="Units active together",
        xlabel=f"units active in {seconds:g} s",
        ylabel="share of windows with more",
    )
    _tail(axes, each, each.statistic.edges[1:] - 1)  # type: ignore[attr-defined]


def _shares(axes: Axes, found: Findings) -> None:
    axes.set(title="Units within the band", xlabel="share of tested units")
    labels = {"rate": "rate", "interval": "intervals", "fano": "Fano", "autocorrelation": "autocorr."}
    place = np.arange(len(labels) + 1)[::-1]
    shares = [found.units[name].share for name in labels] + [found.rescaled.share]
    exact = [found.units[name].exact_share for name in labels] + [1 - PASSES]
    alike = [found.units[name].alike_share for name in labels]
    axes.barh(place, np.nan_to_num(shares), color=MODEL, height=0.6)
    axes.scatter(exact, place, marker="|", s=200, color=INK, label="an exact model", zorder=3)
    axes.scatter(alike, place[:-1], s=18, color=PALETTE[1], label="not told from copies", zorder=3)
    axes.set_yticks(place, [*labels.values(), "rescaling"])
    axes.set(xlim=(0, 1.02), ylim=(-1.3, place[0] + 0.6))
    axes.legend(loc="lower left", ncols=2)


def _drift(axes: Axes, found: Findings, name: Measure, title: str, label: str) -> None:
    horizon = found.horizon
    edges = horizon.edges_s.copy()
    edges[0] = edges[1] / 3  # 0 has no place on a logarithmic axis
    middle = np.sqrt(edges[:-1] * edges[1:])
    axes.fill_between(
        edges,
        np.append(horizon.low[name], horizon.low[name][-1:]),
        np.append(horizon.high[name], horizon.high[name][-1:]),
        step="post",
        color=_BAND,
        linewidth=0,
    )
    axes.plot(middle, horizon.real[name], "o-", color=INK, markersize=4, linewidth=1)
    axes.plot(middle, horizon.generated[name], "o-", color=MODEL, markersize=4)
    axes.set(title=title, xlabel="time since the real past (s)", ylabel=label, xscale="log")


def _drift_rate(axes: Axes, found: Findings) -> None:
    _drift(axes, found, "rate", "Drift of the rate", "rate of the mean unit (Hz)")


def _drift_synchrony(axes: Axes, found: Findings) -> None:
    _drift(axes, found, "synchrony", "Drift of synchrony", "variance of the sum / sum of variances")


def _drift_fano(axes: Axes, found: Findings) -> None:
    _drift(axes, found, "fano", "Drift of the Fano factor", "variance / mean of counts")


def _responses(axes: Axes, found: Findings) -> None:
    axes.set(title="Responses to stimuli", xlabel="stimulus", ylabel="r over time, mean over units")
    place = np.arange(len(found.responses))
    for shift, name, color in ((-0.2, "ceiling", _BAND), (0.2, "generated", MODEL)):
        values = [float(_mean(getattr(each, name))) for each in found.responses]
        axes.bar(place + shift, np.nan_to_num(values), width=0.4, color=color, label=name)
    axes.set_xticks(place, [each.label for each in found.responses], rotation=45 if len(place) > 6 else 0)
    axes.legend()


def _note(axes: Axes, text: str, *, top: bool = False) -> None:
    x, y, align = (0.98, 0.98, "right") if top else (0.04, 0.97, "left")
    axes.text(x, y, text, transform=axes.transAxes, ha=align, va="top", fontsize=8, color=MUTED,
              bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1})  # fmt: skip
