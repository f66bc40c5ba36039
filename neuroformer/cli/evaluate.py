"""``neuroformer evaluate``: held-out scores beside the baselines."""

from __future__ import annotations

import math
from typing import Any

from neuroformer.cli.command import Command
from neuroformer.plotting import method_label
from neuroformer.settings.evaluation import EvaluateConfig


def run(config: EvaluateConfig) -> None:
    """Score and print one table."""
    from neuroformer.evaluation.run import evaluate

    summary = evaluate(config, command=COMMAND.name)
    print(render(summary))
    print(
        f"results: {config.out or config.run + '/evaluate'}    next: neuroformer connectivity run={config.run}"
    )


def render(summary: dict[str, Any]) -> str:
    """The table of one summary: a line per method, then the differences that matter."""
    scores, intervals = summary["bits_per_spike"], summary["intervals"]["bits_per_spike"]
    lines = [
        f"bits per spike on {summary['test_seconds']:,.0f} s held out, {summary['n_events']:,} events (95 % interval)"
    ]
    for name in sorted(scores, key=lambda n: -scores[n]):
        lines.append(f"  {method_label(name):<28} {scores[name]:8.4f}   {_interval(intervals[name])}")
    for name, found in summary["difference"].items():
        if name != "model_minus_homogeneous_poisson":
            label = method_label(name.removeprefix("model_minus_"))
            lines.append(f"  model − {label:<20} {found['value']:+8.4f}   {_interval(found['interval'])}")
    if "fraction_of_truth" in summary:
        fraction = summary["fraction_of_truth"]
        lines.append(
            f"  model, fraction of the truth {fraction['value']:8.4f}   {_interval(fraction['interval'])}"
        )
    if "level_bits_per_event" in summary:
        lines.append(
            f"  amplitude levels: {summary['level_bits_per_event']:.4f} bits per event above their frequencies"
        )
    return "\n".join(lines)


def _interval(ends: list[float]) -> str:
    low, high = ends
    return f"[{low:.4f}, {high:.4f}]" if math.isfinite(low) else "(too little time for an interval)"


COMMAND = Command(
    name="neuroformer evaluate",
    summary="Score a trained model on held-out time beside its baselines.",
    config=EvaluateConfig,
    run=run,
    positional="run",
    examples=("neuroformer evaluate run=out/ca1", "neuroformer evaluate run=out/ca1 part=val glm=false"),
)
