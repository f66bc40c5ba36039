"""``neuroformer fewshot``: the learning curve of a new animal."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from neuroformer.cli.command import Command
from neuroformer.settings.fewshot import FewshotConfig


def run(config: FewshotConfig) -> None:
    """Compute, print the table and one sentence, and write both with a figure."""
    from neuroformer.cells import open_folder, run_cells
    from neuroformer.decoding.fewshot import Experiment
    from neuroformer.decoding.learning_curve import SHARE, draw, sentences, summarise
    from neuroformer.files import atomic_path
    from neuroformer.plotting import save_figure

    experiment = Experiment(config)
    out = Path(config.out)
    folder = open_folder(out, overwrite=config.overwrite, command=COMMAND.name, config=config)
    results = run_cells(experiment, out)
    rows = summarise(results, scale=config.scale)
    amounts = "minutes" if config.minutes else SHARE
    units = {
        name: config.scale_name or (experiment.entry(name).unit if config.scale == 1 else "")
        for name in experiment.targets
    }
    words = list(sentences(rows, units=units, amounts=amounts).values())
    print(render(rows, amounts), *words, sep="\n")
    with atomic_path(out / "table.csv") as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["target", "metric", "labels", "label_s", "method", "sessions", "mean", "low", "high",
                         "pretrained_minus_this", "low", "high"])  # fmt: skip
        for r in rows:
            writer.writerow([r["target"], r["metric"], r["amount"], r["label_s"], r["method"], r["sessions"], r["mean"],
                             *(r["interval"] or ["", ""]), r["difference"]["mean"],
                             *(r["difference"]["interval"] or ["", ""])])  # fmt: skip
    save_figure(draw(rows, units=units, amounts=amounts), folder.figures / "fewshot.png", dpi=150)
    folder.finish(
        {"sentence": " ".join(words), "amounts": amounts, "units": units, "rows": rows, "cells": len(results)}
    )
    print(f"results: {out}")


def render(rows: list[dict[str, Any]], amounts: str) -> str:
    """A table per variable and score: methods down, amounts of labels across, mean [95 % interval]."""
    from neuroformer.decoding.learning_curve import amount_label

    lines = []
    for target, metric in dict.fromkeys((r["target"], r["metric"]) for r in rows):
        here = [r for r in rows if (r["target"], r["metric"]) == (target, metric)]
        columns = sorted({r["amount"] for r in here})
        methods = list(dict.fromkeys(r["method"] for r in here))
        width = max(len(m) for m in methods) + 2
        lines.append(
            f"{target}: {metric.replace('_', ' ')}, mean of {here[0]['sessions']} session(s) [95 % interval]"
        )
        lines.append(" " * width + "".join(f"{amount_label(c, amounts):<24}" for c in columns).rstrip())
        for method in methods:
            texts = []
            for column in columns:
                row = next((r for r in here if r["method"] == method and r["amount"] == column), None)
                interval = row and row["interval"]
                text = "" if row is None else f"{row['mean']:.3g}"
                texts.append(f"{text + (f' [{interval[0]:.3g}, {interval[1]:.3g}]' if interval else ''):<24}")
            lines.append(f"{method:<{width}}" + "".join(texts).rstrip())
        lines.append("")
    return "\n".join(lines)


COMMAND = Command(
    name="neuroformer fewshot",
    summary="Decode a new animal from few labels, beside what a lab does with the same labels.",
    config=FewshotConfig,
    run=run,
    examples=(
        "neuroformer fewshot run=out/ca1 'sessions=[sessions/C11_M1_*.h5]' out=out/fewshot 'minutes=[0.25,0.5,2]'",
    ),
)
