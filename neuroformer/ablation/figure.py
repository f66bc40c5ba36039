"""The ablation as a picture: each variant's difference from the full model, with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from neuroformer.ablation.variants import FULL
from neuroformer.plotting import INK, MUTED, PALETTE, new_figure, style

_EVENTS = {
    "bits_per_spike": ("given all it may know", PALETTE[0]),
    "bits_per_spike_known": ("… where behaviour is known", PALETTE[4]),
    "bits_per_spike_alone": ("from events alone", PALETTE[1]),
}


def draw_ablation(
    labels: Mapping[str, str], summary: Mapping[str, Mapping[str, Any]], units: Mapping[str, str]
) -> Figure:
    """Differences in bits per spike in the first panel, in each decoded variable's error in the others.

    Args:
        labels: of the variants.
        summary: of `neuroformer.ablation.table.summarize`.
        units: of the decoded variables.
    """
    variants = [name for name in summary if name != FULL]
    decoded = [name for name in summary[FULL] if name.startswith("error ")]
    n = 1 + len(decoded)
    figure = new_figure(width=3.2 + 2.6 * n, height=1.7 + 0.38 * max(2, len(variants)))
    with style():
        panels = figure.subplots(1, n, sharey=True, squeeze=False)[0]
        panel = panels[0]
        for k, (name, (words, colour)) in enumerate(_EVENTS.items()):
            _dots(panel, variants, summary, name, colour, shift=0.2 * (k - 1), label=words)
        value = summary[FULL]["bits_per_spike"]["value"]
        panel.set(title="Events", xlabel=f"bits/spike, minus full ({value:.3f})")
        panel.legend(loc="upper center", bbox_to_anchor=(0.3, -0.22), fontsize=7.5)
        for panel, name in zip(panels[1:], decoded, strict=True):
            _dots(panel, variants, summary, name, PALETTE[5], shift=0.0)
            variable = name.removeprefix("error ")
            unit = f" ({units[variable]})" if units.get(variable) else ""
            value = summary[FULL][name]["value"]
            panel.set(title=f"Reading {variable}", xlabel=f"error{unit}, minus full ({value:.3g})")
        for panel in panels:
            panel.axvline(0, color=INK, linewidth=0.8, zorder=0)
            panel.grid(axis="y")
            panel.tick_params(axis="y", length=0)
        panels[0].set_yticks(range(len(variants)), labels=[labels[v] for v in variants])
        panels[0].set_ylim(len(variants) - 0.5, -0.5)
        figure.supxlabel(
            "bars: 95 % of paired bootstraps over held-out blocks; events: left of 0 is worse than the full model; "
            "errors: right of 0 is worse",
            fontsize=7,
            color=MUTED,
        )
    return figure


def _dots(
    panel: Any,
    variants: list[str],
    summary: Mapping[str, Mapping[str, Any]],
    name: str,
    colour: str,
    *,
    shift: float,
    label: str | None = None,
) -> None:
    for k, variant in enumerate(variants):
        one = summary[variant].get(name, {})
        if "minus_full" not in one:
            continue
        low, high = one["minus_full_interval"]
        panel.plot([low, high], [k + shift] * 2, color=colour, linewidth=1.6)
        panel.plot(one["minus_full"], k + shift, "o", color=colour, markersize=4.5, label=label)
        label = None
