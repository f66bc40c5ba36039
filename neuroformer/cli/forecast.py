"""``neuroformer forecast``: every unit's next bins, given the past, beside baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuroformer.cli.command import Command
from neuroformer.settings.forecast import ForecastConfig

if TYPE_CHECKING:
    from neuroformer.forecasting.summary import Summary


def run(config: ForecastConfig) -> None:
    """Forecast, print a table per score and one sentence."""
    from neuroformer.forecasting import forecast
    from neuroformer.forecasting.scores import METRICS

    summary, metrics = forecast(config, command=COMMAND.name)
    for metric in METRICS[metrics["target"]]:
        print(render(summary, metric), end="\n\n")
    print(metrics["sentence"])
    print(f"results: {metrics['out']}")


def render(summary: Summary, metric: str) -> str:
    """Methods down, horizons across; the median of sessions, or the value [95 % interval] of one."""
    from neuroformer.forecasting.summary import NAMES, shown_horizons
    from neuroformer.plotting import method_label

    steps = shown_horizons(summary.horizon)
    several = len(summary.curves) > 1
    width, column = max(len(method_label(m)) for m in summary.methods) + 2, 9 if several else 24
    over = f"median of {len(summary.curves)} sessions" if several else "[95 % interval]"
    lines = [
        f"{NAMES[metric]}, {over}, by bins ahead ({summary.bin_s:g} s each)",
        " " * width + "".join(f"{h:<{column}}" for h in steps).rstrip(),
    ]
    for method in summary.methods:
        texts = []
        for h in steps:
            value = summary.median(method, metric)[h - 1]
            text = "" if value != value else f"{value:.3f}"
            if not several and text:
                score = next(iter(summary.curves.values()))[method].scores[metric][h - 1]
                text += f" [{score.interval[0]:.3f}, {score.interval[1]:.3f}]" if score.interval else ""
            texts.append(f"{text:<{column}}")
        lines.append(f"{method_label(method):<{width}}" + "".join(texts).rstrip())
    return "\n".join(lines)


COMMAND = Command(
    name="neuroformer forecast",
    summary="Forecast traces or counts of every unit, and score it by horizon beside baselines.",
    config=ForecastConfig,
    run=run,
    examples=(
        "neuroformer forecast --config configs/worm_forecast.yaml",
        "neuroformer forecast run=out/ca1 target=counts horizon=20 samples=100",
    ),
)
