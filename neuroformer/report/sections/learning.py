"""Learning curves: how training and validation went."""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neuroformer.plotting import INK, MUTED, method_color, new_figure, style
from neuroformer.report.blocks import Block, Drawing, Missing, Section, number
from neuroformer.report.collect import Run, pretrain_command

# A running median over this share of the curve shows the trend of a noisy loss.
_SMOOTHING = 0.05


def blocks(run: Run) -> Iterator[Block]:
    """Training loss and validation score by step."""
    log = run.table("log.csv")
    if not log or "step" not in log:
        yield Missing("There is no log of training here (log.csv).", pretrain_command(run.path))
        return
    panels = [
        name
        for name in ("train_nll", "val_bits_per_spike")
        if name in log and np.isfinite(_floats(log[name])).any()
    ]
    if not panels:
        yield Missing(
            "The log of training holds no finished step yet (log.csv).",
            pretrain_command(run.path),
        )
        return
    yield Drawing(
        figure=draw(log, panels),
        title="Learning curves",
        caption="Left: negative log-likelihood per event of the training batches (faint: every logged step, bold: "
        "running median); lower is better. Right: bits per spike on the validation part, which sets no weights; higher "
        "is better, and 0 is constant rates. The ring marks the best checkpoint, which all other sections use. "
        "A right-hand curve that falls while the left one still improves means over-fitting.",
    )


SECTION = Section(slug="learning", title="Learning curves", blocks=blocks)


def draw(log: dict[str, np.ndarray], panels: Sequence[str]) -> Figure:
    """One panel per logged quantity against the step of the optimiser."""
    figure = new_figure(width=3.9 * len(panels), height=2.8)
    with style():
        for axes, name in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            value = _floats(log[name])
            known = np.isfinite(value)
            step, value = _floats(log["step"])[known], value[known]
            if name == "train_nll":
                _draw_training(axes, step, value)
            else:
                _draw_validation(axes, step, value)
            axes.set_xlabel("training step")
            axes.locator_params(axis="x", integer=True)
            axes.grid(axis="y")
            axes.margins(x=0.02)
    return figure


def _draw_training(axes: Axes, step: np.ndarray, value: np.ndarray) -> None:
    axes.plot(step, value, color=MUTED, alpha=0.35, linewidth=0.9)
    axes.plot(step, running_median(value), color=INK)
    # The first steps can be so far off that nothing else shows.
    low, high = np.quantile(value, [0.0, 0.98])
    if high > low:
        axes.set_ylim(low - 0.05 * (high - low), high + 0.08 * (high - low))
    axes.set(title="Training", ylabel="negative log-likelihood\n(nats per event)")


def _draw_validation(axes: Axes, step: np.ndarray, value: np.ndarray) -> None:
    color = method_color("model")
    best = int(np.argmax(value))
    axes.plot(step, value, color=color, marker="o", markersize=3.5)
    axes.plot(step[best], value[best], "o", markersize=11, mfc="none", mec=color, clip_on=False)
    axes.set_title(
        f"best {number(value[best])} at step {step[best]:,.0f}", loc="right", fontsize=9, weight="normal"
    )
    # From a bad start the curve would be a corner: show where it settles.
    low = max(float(value.min()), float(np.quantile(value, 0.1)) - float(np.ptp(value[best // 2 :])))
    if value[best] > low:
        span = value[best] - low
        axes.set_ylim(low - 0.1 * span, value[best] + 0.15 * span)
    axes.set(title="Validation", ylabel="bits per spike")


def running_median(value: np.ndarray) -> np.ndarray:
    """Median over a window that is centred, and shrinks towards the ends."""
    half = int(_SMOOTHING * len(value) / 2)
    return np.array([np.median(value[max(0, i - half) : i + half + 1]) for i in range(len(value))])


def _floats(column: np.ndarray) -> np.ndarray:
    """The column as numbers; a text column (a cell that is no number) has none."""
    return column if column.dtype.kind == "f" else np.full(len(column), np.nan)
