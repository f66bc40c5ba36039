"""Raster of held-out data beside the prediction: same units, same time."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from neuroformer.plotting import INK, SEQUENTIAL, method_color, new_figure, style
from neuroformer.report.blocks import Block, Drawing, Missing, Section, plural
from neuroformer.report.collect import Raster, Run

# The stretch shown: from the start of what was saved, until there is enough to see.
_EVENTS_TO_SEE = 1500
_SHORTEST_BINS = 150


def blocks(run: Run) -> Iterator[Block]:
    """The first stretch of the saved raster."""
    raster = run.raster()
    if raster is None:
        yield Missing(
            "No stretch of data and prediction was saved (evaluate/raster.npz).",
            f"neuroformer evaluate run={run.path} overwrite=true",
        )
        return
    if not raster.counts.size:
        yield Missing("The saved stretch of data and prediction is empty (evaluate/raster.npz).")
        return
    raster = first_stretch(raster)
    seconds = len(raster.time) * raster.bin_s
    yield Drawing(
        figure=draw(raster),
        title="Data beside prediction",
        caption=f"{seconds:.3g} s of held-out recording of session {raster.session_id}, "
        f"{plural(raster.counts.shape[1], 'unit')}, the most active on top. "
        "Top: recorded events. Middle: intensity that the model predicts for each unit from the bins before; darker is "
        "more events per second, on a square-root scale so that quiet units show too. "
        "Bottom: events of all units per second, recorded and predicted. "
        "Dark stretches of the middle panel should lie where events are dense in the top one.",
    )


SECTION = Section(slug="raster", title="Data beside prediction", blocks=blocks)


def first_stretch(raster: Raster) -> Raster:
    """The beginning of the raster, long enough to hold something to see; units sorted by rate, most active first."""
    running = np.cumsum(raster.counts.sum(axis=1))
    stop = max(_SHORTEST_BINS, int(np.searchsorted(running, _EVENTS_TO_SEE)) + 1)
    order = np.argsort(-raster.counts.sum(axis=0), kind="stable")
    return Raster(
        time=raster.time[:stop],
        counts=raster.counts[:stop, order],
        intensity=raster.intensity[:stop, order],
        bin_s=raster.bin_s,
        session_id=raster.session_id,
    )


def draw(raster: Raster) -> Figure:
    """Events, predicted intensity and the population's rate, on one time axis."""
    n_units = raster.counts.shape[1]
    extent = (raster.time[0], raster.time[0] + len(raster.time) * raster.bin_s, n_units - 0.5, -0.5)
    figure = new_figure(width=7.8, height=6.2)
    with style():
        events, prediction, population = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1.3))
        _draw_events(events, raster)
        rate = raster.intensity.T / raster.bin_s
        image = prediction.imshow(
            rate,
            cmap=SEQUENTIAL,
            norm=PowerNorm(0.5, vmin=0, vmax=_upper(rate)),
            aspect="auto",
            extent=extent,
            interpolation="nearest",
        )
        bar = figure.colorbar(image, ax=prediction, pad=0.01, aspect=18, label="events / s")
        bar.outline.set_visible(False)
        _draw_population(population, raster)
        for axes, title in ((events, "Recorded events"), (prediction, "Predicted intensity")):
            axes.set(ylim=(n_units - 0.5, -0.5), ylabel="unit, by rate", title=title)
            axes.locator_params(axis="y", integer=True)
        population.set(xlim=extent[:2], xlabel="time in the recording (s)")
    return figure


def _draw_events(axes: Axes, raster: Raster) -> None:
    bins, units = np.nonzero(raster.counts)
    n_units = raster.counts.shape[1]
    # A tick for each event, as high as its row where there are few units.
    size = float(np.clip(110 / n_units, 0.8, 6))
    axes.plot(
        raster.time[bins] + raster.bin_s / 2,
        units,
        "|",
        color=INK,
        markersize=size,
        markeredgewidth=0.7,
        rasterized=True,
    )


def _draw_population(axes: Axes, raster: Raster) -> None:
    middle = raster.time + raster.bin_s / 2
    # Averaged over a hundredth of the stretch: single bins of a few milliseconds are mostly 0 or 1.
    width = max(1, len(middle) // 100)
    for values, color, label, line in (
        (raster.counts, INK, "recorded", 1.0),
        (raster.intensity, method_color("model"), "predicted", 1.8),
    ):
        rate = values.sum(axis=1) / raster.bin_s
        axes.plot(middle, moving_average(rate, width), color=color, linewidth=line, label=label)
    axes.set(ylabel="events / s", title="All units")
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.1)
    axes.grid(axis="y")


def moving_average(values: np.ndarray, width: int) -> np.ndarray:
    """Centred mean over `width` values, over fewer at the ends."""
    window = np.ones(min(width, len(values)))
    return np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")


def _upper(rate: np.ndarray) -> float:
    finite = rate[np.isfinite(rate)]
    return float(np.quantile(finite, 0.995)) or 1.0 if finite.size else 1.0
