"""A circuit at a glance: wiring, raster and rates."""

import numpy as np
from matplotlib.figure import Figure

from neuroformer.plotting import EXCITATORY, INHIBITORY, draw_couplings, new_figure, style
from simulate.circuit import Circuit
from simulate.recording import place_events

RASTER_S = 5.0


def draw_circuit(circuit: Circuit) -> Figure:
    """Draw the wiring of all neurons, and raster and rates of the observed ones by cell type."""
    config, wiring = circuit.config, circuit.wiring
    seen = circuit.activity.of_first(config.units)
    inhibitory = wiring.inhibitory[: config.units]
    colors = np.where(inhibitory, INHIBITORY, EXCITATORY)
    events = place_events(seen)
    shown = slice(0, np.searchsorted(events.times, RASTER_S))

    figure = new_figure(width=11, height=3.6)
    with style():
        matrix, raster, rates = figure.subplots(1, 3, width_ratios=[1, 1.6, 0.8])
        draw_couplings(matrix, wiring.matrix(wiring.weight))
        matrix.set(title="Wiring", xlabel="target neuron", ylabel="source neuron")
        if config.hidden:
            matrix.axhline(config.units - 0.5, color="black", linewidth=0.8)
            matrix.axvline(config.units - 0.5, color="black", linewidth=0.8)
            matrix.set_title("Wiring (beyond the lines: hidden)")
        size = 200 / config.units
        units = events.units[shown]
        raster.scatter(events.times[shown], units, s=size, marker="|", c=colors[units], linewidths=0.8)
        raster.set(title=f"First {RASTER_S:g} s", xlabel="time (s)", ylabel="unit", ylim=(config.units, -1))
        bins = np.histogram_bin_edges(seen.rates_hz, bins=15)
        groups = [seen.rates_hz[~inhibitory], seen.rates_hz[inhibitory]]
        names = ["excitatory", "inhibitory"]
        rates.hist(groups, bins=bins, stacked=True, color=[EXCITATORY, INHIBITORY], label=names)
        rates.set(title="Rates", xlabel="events per second", ylabel="units")
        rates.legend()
    return figure
