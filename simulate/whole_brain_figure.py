"""A whole brain at a glance: the map with its drivers, traces, and the tail."""

import numpy as np
from matplotlib.figure import Figure

from neuroformer.plotting import EXCITATORY, MUTED, new_figure, style
from simulate.whole_brain import WholeBrain
from simulate.whole_brain_config import WholeBrainConfig

_SHOWN_S = 200.0
_ROWS = 8


def draw_whole_brain(brain: WholeBrain, config: WholeBrainConfig) -> Figure:
    """Positions from above, some drivers' and others' ΔF/F, and the tail angle."""
    drives = brain.weights != 0
    figure = new_figure(width=11, height=4)
    with style():
        grid = figure.add_gridspec(2, 2, width_ratios=[1, 1.2], height_ratios=[2.2, 1])
        above = figure.add_subplot(grid[:, 0])
        x, y = brain.position[:, 0], brain.position[:, 1]
        size = np.clip(20_000 / len(drives), 0.5, 12)
        above.scatter(x[~drives], y[~drives], s=size, color=MUTED, alpha=0.25, linewidths=0)
        above.scatter(x[drives], y[drives], s=14, color=EXCITATORY, label="move the tail")
        above.set(aspect="equal", xlabel="µm (back: right)", ylabel="µm")
        above.set_title(f"{len(drives):,} neurons from above")
        above.legend(loc="upper left")
        n = min(len(brain.tail), round(_SHOWN_S * config.frame_rate_hz))
        times = np.arange(n) / config.frame_rate_hz
        rows = [*np.flatnonzero(drives)[: _ROWS // 2], *np.flatnonzero(~drives)[: _ROWS // 2]]
        traces, tail = figure.add_subplot(grid[0, 1]), figure.add_subplot(grid[1, 1])
        step = 5 * brain.traces[:n, rows].std()
        for k, j in enumerate(rows):
            colour = EXCITATORY if drives[j] else MUTED
            traces.plot(times, brain.traces[:n, j] - k * step, color=colour, linewidth=0.7)
        traces.set(title="ΔF/F", yticks=[])
        traces.tick_params(labelbottom=False)
        tail.plot(times, brain.tail[:n], color="black", linewidth=0.7)
        tail.set(xlabel="time (s)", ylabel="tail (deg)")
    return figure
