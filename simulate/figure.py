"""A circuit at a glance: wiring, raster and rates."""

import numpy as np
from matplotlib.figure import Figure

from neuroformer.plotting import EXCITATORY, INHIBITORY, draw_couplings, new_figure, style
from neuroformer.session import SessionData
from simulate.circuit import Circuit
from simulate.recording import place_events
from simulate.timelines import draw_timelines, mark_states, timelines

RASTER_S = 5.0


def draw_circuit(circuit: Circuit, session: SessionData | None = None) -> Figure:
    """Draw the wiring of all neurons, and raster and rates of the observed ones by cell type.

    Args:
        circuit: What was simulated.
        session: What was recorded of it; traces, stimulus and behaviour are drawn below, a row each.
    """
    config, wiring = circuit.config, circuit.wiring
    seen = circuit.activity.of_first(config.units)
    inhibitory = wiring.inhibitory[: config.units]
    colors = np.where(inhibitory, INHIBITORY, EXCITATORY)
    events = place_events(seen)
    shown = slice(0, np.searchsorted(events.times, RASTER_S))

    below = timelines(session) if session else []
    figure = new_figure(width=11, height=3.6 + sum(line.height for line in below))
    with style():
        heights = [3.6, *(line.height for line in below)]
        grid = figure.add_gridspec(len(heights), 3, width_ratios=[1, 1.6, 0.8], height_ratios=heights)
        matrix, raster, rates = (figure.add_subplot(grid[0, k]) for k in range(3))
        draw_timelines(figure, grid, below, circuit.inputs, stop=seen.n_steps * seen.dt)
        draw_couplings(matrix, wiring.matrix(wiring.weight))
        matrix.set(title="Wiring", xlabel="target neuron", ylabel="source neuron")
        if config.hidden:
            matrix.axhline(config.units - 0.5, color="black", linewidth=0.8)
            matrix.axvline(config.units - 0.5, color="black", linewidth=0.8)
            matrix.set_title("Wiring (beyond the lines: hidden)")
        size = 200 / config.units
        units = events.units[shown]
        raster.scatter(events.times[shown], units, s=size, marker="|", c=colors[units], linewidths=0.8)
        shaded = " (shaded: higher states)" if circuit.inputs.states else ""
        raster.set(
            title=f"First {RASTER_S:g} s{shaded}", xlabel="time (s)", ylabel="unit", ylim=(config.units, -1)
        )
        bins = np.histogram_bin_edges(seen.rates_hz, bins=15)
        groups = [seen.rates_hz[~inhibitory], seen.rates_hz[inhibitory]]
        names = ["excitatory", "inhibitory"]
        rates.hist(groups, bins=bins.tolist(), stacked=True, color=[EXCITATORY, INHIBITORY], label=names)
        rates.set(title="Rates", xlabel="events per second", ylabel="units")
        rates.set_ylim(0, 1.25 * rates.get_ylim()[1])  # room for the legend
        rates.legend()
        mark_states(raster, circuit.inputs)
    return figure
