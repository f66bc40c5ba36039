"""``neuroformer demo``: simulate two circuits, pretrain, evaluate, read the wiring, report.

Every step is a command that can be typed; the demo prints each before it runs it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuroformer.cli.command import Command
from neuroformer.cli.config import build_config
from neuroformer.files import RunFolder, read_json

CIRCUITS = ("clean", "confounded")
ESTIMATORS = ("adjusted_coupling", "coupling", "attention_rollout", "poisson_glm",
              "partial_correlation", "jittered_ccg", "cross_correlation")  # fmt: skip
"""The quick ones: the GLM is there from the evaluation, and `neuroformer connectivity` has them all."""


@dataclass(kw_only=True)
class DemoConfig:
    """Two circuits whose wiring is known: one fully observed, one with hidden neurons and slow shared drive."""

    out: str = "out/demo"
    """Folder of the demo: one run folder per circuit, metrics.json and report.html."""
    overwrite: bool = False
    """Replace a finished demo in `out`."""
    clean: str = "configs/simulate/clean.yaml"
    """Settings of the fully observed circuit."""
    confounded: str = "configs/simulate/confounded.yaml"
    """Settings of the circuit with hidden neurons and slow shared drive."""
    pretrain: str = "configs/demo/pretrain.yaml"
    """Settings of the two pretraining runs."""
    duration_s: float | None = None
    """Seconds of simulated recording, for a quick look; by default what the circuits say."""
    steps: int | None = None
    """Training steps, for a quick look; by default what the pretraining settings say."""


def run(config: DemoConfig) -> None:
    """Run all steps; one table at the end."""
    started = time.monotonic()
    folder = RunFolder.create(
        Path(config.out), overwrite=config.overwrite, command=COMMAND.name, config=config
    )
    found = side_by_side(config, folder.path)
    metrics = {**found["clean"], "confounded": found["confounded"], "seconds": time.monotonic() - started}
    folder.finish(metrics)
    from neuroformer.cli import report
    from neuroformer.plotting import save_figure
    from neuroformer.report.collect import find_runs
    from neuroformer.report.overview import draw_overview

    save_figure(draw_overview(find_runs(folder.path)), folder.figures / "demo.png", dpi=150)
    _step(report.COMMAND, words=[f"run={folder.path}"])
    print(render(found))
    print(f"report: {folder.path / 'report.html'}")


def side_by_side(config: DemoConfig, out: Path) -> dict[str, dict[str, Any]]:
    """Both circuits at once, a process and a core each: that is faster than two cores for one after the other."""
    print(
        f"both circuits at once, a core each; what the commands print goes to {out}/NAME/demo.log", flush=True
    )
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=len(CIRCUITS), mp_context=context) as pool:
        jobs = {
            name: pool.submit(_circuit, config, out / name, getattr(config, name), name) for name in CIRCUITS
        }
        return {name: job.result() for name, job in jobs.items()}


def _circuit(config: DemoConfig, out: Path, settings: str, name: str) -> dict[str, Any]:
    """One circuit from the simulation to its wiring; returns what the table needs."""
    import torch

    import simulate.__main__ as simulation
    from neuroformer.cli import connectivity, evaluate, pretrain

    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    log = out / "demo.log"
    log.unlink(missing_ok=True)
    again = [f"overwrite={str(config.overwrite).lower()}"]
    session = out / "simulate" / f"{name}.h5"
    words = [f"session_id={name}", f"out={session.parent}"]
    duration = [] if config.duration_s is None else [f"duration_s={config.duration_s:g}"]
    _step(simulation.COMMAND, log=log, files=[settings], words=[*words, *duration, *again])
    steps = (
        []
        if config.steps is None
        else [f"optim.steps={config.steps}", f"val_every={max(1, config.steps // 2)}"]
    )
    words = [f"data.sessions=[{session}]", f"out={out}", "trainer.enable_progress_bar=false"]
    _step(pretrain.COMMAND, log=log, files=[config.pretrain], words=[*words, *steps, *again])
    _step(evaluate.COMMAND, log=log, words=[f"run={out}", *again])
    _step(connectivity.COMMAND, log=log, words=[f"run={out}", f"estimators=[{','.join(ESTIMATORS)}]", *again])
    scores, wiring = (
        read_json(out / "evaluate" / "metrics.json"),
        read_json(out / "connectivity" / "metrics.json"),
    )
    return {
        "bits_per_spike": scores["bits_per_spike"],
        "intervals": scores["intervals"],
        "fraction_of_truth": scores["fraction_of_truth"],
        "connectivity": wiring["connectivity"],
    }


def _step(
    command: Command, *, words: list[str], files: list[str] | None = None, log: Path | None = None
) -> None:
    """Print a command as one would type it, then run it in this process.

    Args:
        command: what to run.
        words: its `key=value` settings.
        files: its `--config` files.
        log: where its own output goes; by default to the terminal.
    """
    typed = " ".join([command.name, *(f"--config {file}" for file in files or []), *words])
    print(f"$ {typed}", flush=True)
    settings = build_config(command.config, [Path(file) for file in files or []], words)
    if log is None:
        command.run(settings)
        return
    with log.open("a") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        print(f"$ {typed}", flush=True)
        command.run(settings)


def render(found: dict[str, dict[str, Any]]) -> str:
    """Scores of both circuits side by side."""
    from neuroformer.plotting import method_label

    lines = ["", f"{'':<34}" + "".join(f"{name:>14}" for name in found)]

    def row(label: str, values: list[float | None]) -> None:
        lines.append(
            f"{label:<34}" + "".join(f"{'–' if v is None else format(v, '.4f'):>14}" for v in values)
        )

    lines.append("bits per spike, held out")
    for method in found["clean"]["bits_per_spike"]:
        row(f"  {method_label(method)}", [f["bits_per_spike"].get(method) for f in found.values()])
    row("  model, fraction of the truth", [f["fraction_of_truth"]["value"] for f in found.values()])
    for score, label in (
        ("average_precision", "average precision of the wiring"),
        ("auroc", "area under the ROC curve"),
    ):
        lines.append(label)
        for estimator in found["clean"]["connectivity"]:
            values = [f["connectivity"].get(estimator, {}).get(score) for f in found.values()]
            row(f"  {method_label(estimator)}", values)
    return "\n".join([*lines, ""])


COMMAND = Command(
    name="neuroformer demo",
    summary="Simulate circuits, train, evaluate and report, in a few minutes.",
    config=DemoConfig,
    run=run,
    examples=(
        "neuroformer demo --config configs/demo.yaml",
        "neuroformer demo duration_s=60 steps=50 out=out/quick",
    ),
)
