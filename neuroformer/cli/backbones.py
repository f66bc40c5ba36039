"""``neuroformer backbones``: language models as backbones of a decoder, with the controls that the claim needs."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from neuroformer.cli.command import Command
from neuroformer.settings.backbones import BackbonesConfig

if TYPE_CHECKING:
    from neuroformer.frames.scores import Scores


def run(config: BackbonesConfig) -> None:
    """Fit what is missing, print the table and the sentence, and write both with a figure."""
    from neuroformer.cells import open_folder, run_cells
    from neuroformer.files import atomic_path
    from neuroformer.frames.figure import draw
    from neuroformer.frames.run import Experiment
    from neuroformer.frames.scores import Scores, sentence
    from neuroformer.plotting import save_figure

    experiment = Experiment(config)
    out = Path(config.out)
    folder = open_folder(out, overwrite=config.overwrite, command=COMMAND.name, config=config)
    results = run_cells(experiment, out, workers=config.workers)
    scores = Scores(results)
    words = sentence(scores)
    rows = scores.rows()
    print(render(scores), words, sep="\n")
    with atomic_path(out / "table.csv") as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["target", "metric", "method", "mean", "low", "high", "minus", "difference", "low", "high"]
        )
        for row in rows:
            start = [row["target"], row["metric"], row["method"], row["mean"], *(row["interval"] or ["", ""])]
            writer.writerow([*start, "", "", "", ""])
            for control, d in row.get("minus", {}).items():
                writer.writerow([*start, control, d["mean"], *(d["interval"] or ["", ""])])
    save_figure(draw(scores), folder.figures / "backbones.png", dpi=150)
    about = {
        m: {
            k: a[k]
            for k in ("language_model", "causal", "n_trained", "n_parameters", "step", "penalty", "val_loss")
            if k in a
        }
        | {"seconds": sum(r["seconds"] for r in results if r["method"] == m)}
        for m, a in scores.about.items()
    }
    folder.finish(
        {
            "sentence": words,
            "sessions": scores.sessions,
            "seeds": config.seeds,
            "units": experiment.units,
            "methods": about,
            "rows": rows,
            "seconds": sum(r["seconds"] for r in results),
        }
    )
    print(f"results: {out}")


def render(scores: Scores) -> str:
    """A table per target: R², correlation and RMSE with intervals, and what a language model has over each control."""
    lines = []
    n = len(scores.sessions)
    width = max(map(len, scores.methods)) + 2
    for target in scores.targets:
        lines.append(f"{target}: mean of {n} session{'s' * (n > 1)} [95 % interval]")
        heads = ("R²", "correlation", "RMSE")
        lines.append(" " * width + "".join(f"{h:<28}" for h in heads) + "trained     looks ahead")
        for method in scores.methods:
            texts = [
                _number(scores.scores[target, m, method].value, scores.scores[target, m, method].interval)
                for m in ("r2", "correlation", "rmse")
            ]
            about = scores.about[method]
            ahead = "no" if about["causal"] else "yes"
            lines.append(
                f"{method:<{width}}"
                + "".join(f"{t:<28}" for t in texts)
                + f"{about['n_trained']:<12,}{ahead}"
            )
        for name in scores.language_models:
            lines.append(f"R² of {name} minus that of")
            for control in scores.controls_of(name):
                d = scores.difference(target, "r2", name, control)
                lines.append(f"  {control:<{width}}{_number(d.value, d.interval)}")
        lines.append("")
    return "\n".join(lines)


def _number(value: float, interval: tuple[float, float] | None) -> str:
    return (
        "–"
        if value != value
        else f"{value:.3g}" + (f" [{interval[0]:.3g}, {interval[1]:.3g}]" if interval else "")
    )


COMMAND = Command(
    name="neuroformer backbones",
    summary="Decode behaviour through language models as backbones, with their controls.",
    config=BackbonesConfig,
    run=run,
    examples=(
        "neuroformer backbones --config configs/nlp4neuro/worm.yaml out=out/backbones",
        "neuroformer backbones sessions=[fish.h5] targets=[tail] bin_s=1 models.gpt2.path=gpt2 out=out/fish",
    ),
)
