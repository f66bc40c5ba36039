"""``neuroformer latents``: the states of a trained model, bin by bin."""

from __future__ import annotations

from typing import Any

from neuroformer.cli.command import Command
from neuroformer.settings.latents import LatentsConfig


def run(config: LatentsConfig) -> None:
    """Export and print where the files are."""
    from neuroformer.decoding.latents import export_latents

    metrics = export_latents(config, command=COMMAND.name)
    print(render(metrics))
    print(f"one npz a session, and figures: {config.out or config.run + '/latents'}")


def render(metrics: dict[str, Any]) -> str:
    """What was written, and how well aligned latents match."""
    widths = ", ".join(f"{name} ({width})" for name, width in metrics["latents"].items()) or "none"
    lines = [f"latents: {widths}"]
    for session_id, about in metrics["sessions"].items():
        lines.append(f"  {session_id}: {about['bins']:,} bins of {metrics['bin_s']:g} s")
        for pair, score in about["matching"].items():
            lines.append(
                f"    {pair}: own moment found among {1 / score['chance']:.0f} in {score['accuracy']:.1%} "
                f"of {score['moments']:,} (chance {score['chance']:.0%})"
            )
    return "\n".join(lines)


COMMAND = Command(
    name="neuroformer latents",
    summary="Export and plot what a model makes of each bin.",
    config=LatentsConfig,
    run=run,
    positional="run",
    examples=("neuroformer latents run=out/ca1", "neuroformer latents run=out/ca1 part=all out=out/latents"),
)
