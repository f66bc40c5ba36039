"""``neuroformer demo``: simulate circuits and animals, pretrain, evaluate, read the wiring, decode behaviour, report.

Every step is a command that can be typed; the demo prints each before it runs it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neuroformer.cli.command import Command
from neuroformer.cli.config import build_config
from neuroformer.files import RunFolder, read_json
from neuroformer.settings.connectivity import BLOCK_ESTIMATORS
from neuroformer.settings.training import PretrainConfig

CIRCUITS = ("clean", "confounded")
ESTIMATORS = ("adjusted_coupling", "coupling", "attention_rollout", "poisson_glm",
              "partial_correlation", "jittered_ccg", "cross_correlation")  # fmt: skip
"""The quick ones: the GLM is there from the evaluation, and `neuroformer connectivity` has them all."""
ANIMALS = "new_animal"
"""Folder of the animals' run: the last in the report, which goes by name."""
OURS = ("pretrained", "scratch")
BASELINES = ("null", "ridge", "naive_bayes", "kalman")


@dataclass(kw_only=True)
class DemoConfig:
    """Two circuits whose wiring is known, and animals the last of which is new to the model.

    One circuit is fully observed, one has hidden neurons and slow shared drive. The animals share a rule; the model is
    pretrained on all but the last, whose behaviour is then decoded from few labels.
    """

    out: str = "out/demo"
    """Folder of the demo: a run folder per circuit and one of the animals, metrics.json and report.html."""
    overwrite: bool = False
    """Replace a finished demo in `out`."""
    clean: str = "configs/simulate/clean.yaml"
    """Settings of the fully observed circuit."""
    confounded: str = "configs/simulate/confounded.yaml"
    """Settings of the circuit with hidden neurons and slow shared drive."""
    pretrain: str = "configs/demo/pretrain.yaml"
    """Settings of pretraining on the fully observed circuit."""
    pretrain_confounded: str = "configs/demo/blocks.yaml"
    """Settings of pretraining on the circuit with hidden neurons: with a transformer block, whose self-attention is
    read out beside the other methods."""
    animals: str = "configs/simulate/many_animals.yaml"
    """Settings of the animals."""
    n_animals: int = 4
    """How many animals are simulated; the last is the new one."""
    animals_s: float = 200.0
    """Seconds of recording of each."""
    behavior: str = "configs/many_animals.yaml"
    """Settings of pretraining on all animals but the last."""
    behavior_steps: int = 100
    """Its training steps."""
    fractions: list[float] = field(default_factory=lambda: [0.02, 0.05, 0.1, 0.25])
    """Labels of the new animal that are used, as fractions of those of its training part."""
    duration_s: float | None = None
    """Seconds of the circuits' recordings, for a quick look; by default what their settings say."""
    steps: int | None = None
    """Training steps of the circuits, for a quick look; by default what the pretraining settings say."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.n_animals < 2:
            raise ValueError(
                f"n_animals={self.n_animals}: expected 2 or more, the last of which is the new one"
            )


def run(config: DemoConfig) -> None:
    """Run all steps; one table at the end."""
    started = time.monotonic()
    folder = RunFolder.create(
        Path(config.out), overwrite=config.overwrite, command=COMMAND.name, config=config
    )
    found = side_by_side(config, folder.path)
    behavior = found.pop(ANIMALS)
    metrics = {
        **found["clean"],
        "confounded": found["confounded"],
        "behavior": behavior,
        "seconds": time.monotonic() - started,
    }
    folder.finish(metrics)
    from neuroformer.cli import report
    from neuroformer.plotting import save_figure
    from neuroformer.report.collect import find_runs
    from neuroformer.report.overview import draw_overview

    save_figure(draw_overview(find_runs(folder.path)), folder.figures / "demo.png", dpi=150)
    _step(report.COMMAND, words=[f"run={folder.path}"])
    print(render(found))
    print(render_behavior(behavior))
    print(f"report: {folder.path / 'report.html'}")


def side_by_side(config: DemoConfig, out: Path) -> dict[str, dict[str, Any]]:
    """Two jobs at a time, a process and a core each: that is faster than two cores for one after the other.

    The animals, which take least, come when the first circuit is done.
    """
    print(f"two at a time, a core each; what the commands print goes to {out}/NAME/demo.log", flush=True)
    context = multiprocessing.get_context("spawn")
    with _one_thread(), ProcessPoolExecutor(max_workers=len(CIRCUITS), mp_context=context) as pool:
        jobs = {
            name: pool.submit(_circuit, config, out / name, getattr(config, name), name) for name in CIRCUITS
        }
        jobs[ANIMALS] = pool.submit(_animals, config, out / ANIMALS)
        return {name: job.result() for name, job in jobs.items()}


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Processes that start here compute in one thread each: two times two threads get in one another's way."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


def _circuit(config: DemoConfig, out: Path, settings: str, name: str) -> dict[str, Any]:
    """One circuit from the simulation to its wiring; returns what the table needs."""
    import torch

    import simulate.__main__ as simulation
    from neuroformer.cli import connectivity, evaluate, pretrain

    torch.set_num_threads(1)
    training = {"clean": config.pretrain, "confounded": config.pretrain_confounded}[name]
    log, again = _start(config, out)
    session = out / "simulate" / f"{name}.h5"
    words = [f"session_id={name}", f"out={session.parent}"]
    duration = [] if config.duration_s is None else [f"duration_s={config.duration_s:g}"]
    _step(simulation.COMMAND, log=log, files=[settings], words=[*words, *duration, *again])
    steps = [] if config.steps is None else _steps(config.steps)
    words = [f"data.sessions=[{session}]", f"out={out}", "trainer.enable_progress_bar=false"]
    _step(pretrain.COMMAND, log=log, files=[training], words=[*words, *steps, *again])
    _step(evaluate.COMMAND, log=log, words=[f"run={out}", *again])
    layers = build_config(PretrainConfig, [out / "config.yaml"]).model.trunk.layers
    estimators = [name for name in ESTIMATORS if layers or name not in BLOCK_ESTIMATORS]
    _step(connectivity.COMMAND, log=log, words=[f"run={out}", f"estimators=[{','.join(estimators)}]", *again])
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


def _animals(config: DemoConfig, out: Path) -> dict[str, Any]:
    """Animals from the simulation to the behaviour of the last one; returns what the table needs."""
    import torch

    import simulate.__main__ as simulation
    from neuroformer.cli import fewshot, pretrain

    torch.set_num_threads(1)
    log, again = _start(config, out)
    folder = out / "simulate"
    words = [f"animals={config.n_animals}", f"duration_s={config.animals_s:g}", f"out={folder}"]
    _step(simulation.COMMAND, log=log, files=[config.animals], words=[*words, *again])
    *known, new = [folder / f"animal_{k}.h5" for k in range(config.n_animals)]
    words = [
        f"data.sessions=[{','.join(map(str, known))}]",
        f"out={out}",
        "trainer.enable_progress_bar=false",
    ]
    steps = _steps(config.behavior_steps)
    _step(pretrain.COMMAND, log=log, files=[config.behavior], words=[*words, *steps, *again])
    words = [
        f"run={out}",
        f"sessions=[{new}]",
        f"out={out / 'fewshot'}",
        f"fractions=[{','.join(f'{fraction:g}' for fraction in config.fractions)}]",
        f"methods=[{','.join((*OURS, *BASELINES))}]",
    ]
    _step(fewshot.COMMAND, log=log, words=[*words, *again])
    return behavior_scores(read_json(out / "fewshot" / "metrics.json"))


def _start(config: DemoConfig, out: Path) -> tuple[Path, list[str]]:
    """A job's folder with an empty log, and the word that says whether what is there may be replaced."""
    out.mkdir(parents=True, exist_ok=True)
    log = out / "demo.log"
    log.unlink(missing_ok=True)
    return log, [f"overwrite={str(config.overwrite).lower()}"]


def _steps(steps: int) -> list[str]:
    """The words for that many training steps, with a validation half-way and at the end."""
    return [f"optim.steps={steps}", f"val_every={max(1, steps // 2)}"]


def behavior_scores(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What metrics.json says of the new animal: its first score for each variable and amount of labels.

    Args:
        metrics: of `neuroformer fewshot`.

    Returns:
        `sentence`, and by variable `metric`, `unit`, its own `sentence` and `labels`: the amount, seconds, and means
        and intervals of the pretrained model, the same model from scratch, and the best baseline on the test part.
    """
    from neuroformer.decoding.learning_curve import ERRORS, sentences

    variables: dict[str, Any] = {}
    for target in dict.fromkeys(row["target"] for row in metrics["rows"]):
        metric = next(row["metric"] for row in metrics["rows"] if row["target"] == target)
        rows = [row for row in metrics["rows"] if (row["target"], row["metric"]) == (target, metric)]
        labels = []
        for amount in sorted({row["amount"] for row in rows}):
            here = {row["method"]: row for row in rows if row["amount"] == amount}
            rivals = [here[name] for name in BASELINES if name in here]
            best = (min if metric in ERRORS else max)(rivals, key=lambda row: row["mean"])
            labels.append(
                {
                    "amount": amount,
                    "label_s": best["label_s"],
                    **{name: _mean(here[name]) for name in OURS},
                    "best_baseline": {"method": best["method"], **_mean(best)},
                }
            )
        unit = metrics["units"][target]
        words = sentences(rows, units=metrics["units"], amounts=metrics["amounts"])[target]
        variables[target] = {"metric": metric, "unit": unit, "sentence": words, "labels": labels}
    return {"sentence": metrics["sentence"], "variables": variables}


def _mean(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"mean": row["mean"], "interval": row["interval"]}


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
        for estimator in dict.fromkeys(name for f in found.values() for name in f["connectivity"]):
            values = [f["connectivity"].get(estimator, {}).get(score) for f in found.values()]
            row(f"  {method_label(estimator)}", values)
    return "\n".join([*lines, ""])


def render_behavior(found: Mapping[str, Any]) -> str:
    """Errors in the new animal by amount of labels, and who wins."""
    from neuroformer.decoding.learning_curve import method_name

    lines = []
    for target, scores in found["variables"].items():
        unit = f" ({scores['unit']})" if scores["unit"] and scores["metric"] != "accuracy" else ""
        shares = "".join(f"{format(100 * entry['amount'], 'g') + ' %':>14}" for entry in scores["labels"])
        lines.append(f"{f'new animal, {target}':<34}{shares}  of its labels")
        lines.append(f"{scores['metric'].replace('_', ' ')}{unit}")
        rows: Sequence[tuple[str, str]] = [(method_name(name), name) for name in OURS]
        for label, name in (*rows, ("best baseline", "best_baseline")):
            lines.append(
                f"{'  ' + label:<34}" + "".join(f"{entry[name]['mean']:>14.4f}" for entry in scores["labels"])
            )
        lines.append(
            f"{'':<34}"
            + "".join(f"{method_name(entry['best_baseline']['method']):>14}" for entry in scores["labels"])
        )
        lines += [scores["sentence"], ""]
    return "\n".join(lines)


COMMAND = Command(
    name="neuroformer demo",
    summary="Simulate circuits and animals, train, evaluate and report, in a few minutes.",
    config=DemoConfig,
    run=run,
    examples=(
        "neuroformer demo --config configs/demo.yaml",
        "neuroformer demo duration_s=60 steps=50 animals_s=60 behavior_steps=50 out=out/quick",
    ),
)
