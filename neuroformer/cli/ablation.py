"""``neuroformer ablation``: what each modality, task and part of the model is worth."""

from __future__ import annotations

import math
from typing import Any

from neuroformer.cli.command import Command
from neuroformer.settings.ablation import AblationConfig

_COLUMNS = {
    "bits_per_spike": "bits/spike",
    "bits_per_spike_known": "where known",
    "bits_per_spike_alone": "events alone",
    "bits_per_spike_gain": "gain by knowing",
}


def run(config: AblationConfig) -> None:
    """Train, score and print the table."""
    from neuroformer.ablation.run import ablate

    metrics = ablate(config, command=COMMAND.name, progress=lambda line: print(line, flush=True))
    print(render(metrics))
    print(f"table, figure and runs: {config.out}")


def render(metrics: dict[str, Any]) -> str:
    """A line per variant: each measure, and in brackets its difference from the full model with the interval."""
    summary, units = metrics["variants"], metrics["units"]
    measures = list(dict.fromkeys(n for about in summary.values() for n in about if not n.startswith("nll ")))
    heads = {}
    for name in measures:
        variable = name.partition(" ")[2]
        unit = f" ({units[variable]})" if units.get(variable) else ""
        heads[name] = _COLUMNS.get(name, f"error {variable}{unit}")
    cells = {variant: [_cell(about.get(name)) for name in measures] for variant, about in summary.items()}
    widths = [
        max(len(head), *(len(row[k]) for row in cells.values())) for k, head in enumerate(heads.values())
    ]
    label = max(len(text) for text in metrics["labels"].values())
    lines = [
        f"{metrics['part']}: {metrics['test_seconds']:,.0f} s, {metrics['n_events']:,} events, behaviour known in "
        f"{metrics['known_share']:.0%} of the bins; in brackets minus full, 95 % interval",
        "  ".join([" " * label, *(h.ljust(w) for h, w in zip(heads.values(), widths, strict=True))]).rstrip(),
    ]
    for variant, row in cells.items():
        text = [metrics["labels"][variant].ljust(label)]
        lines.append("  ".join([*text, *(c.ljust(w) for c, w in zip(row, widths, strict=True))]).rstrip())
    lines += metrics["sentences"]
    if metrics["seeds"] == 1:
        lines.append("intervals are over held-out time; seeds=3 tells how much training itself varies")
    return "\n".join(lines)


def _cell(one: dict[str, Any] | None) -> str:
    if one is None:
        return "–"
    if "minus_full" not in one:
        low, high = one["interval"]
        return f"{one['value']:.4g} [{low:.3g}, {high:.3g}]"
    low, high = one["minus_full_interval"]
    ends = f"{low:+.3g} to {high:+.3g}" if math.isfinite(low) else "too little time"
    return f"{one['value']:.4g} ({one['minus_full']:+.3g}: {ends})"


COMMAND = Command(
    name="neuroformer ablation",
    summary="Train a model without each of its parts, and say what each is worth.",
    config=AblationConfig,
    run=run,
    examples=(
        "neuroformer ablation --config out/ca1/config.yaml out=out/ablation",
        "neuroformer ablation --config run.yaml out=out/ablation 'variants=[events_only, no_trunk]' seeds=3",
    ),
)
