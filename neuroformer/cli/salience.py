"""``neuroformer salience``: which units fitted backbones decode from, and whether losing these hurts."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from neuroformer.cli.command import Command
from neuroformer.cli.config import build_config
from neuroformer.errors import UserError
from neuroformer.settings.backbones import BackbonesConfig
from neuroformer.settings.salience import SalienceConfig

_COLUMNS = (
    "target", "model", "salience", "deleted", "rmse", "rise", "rise_interval", "random_rise", "random_range",
    "minus_random", "minus_random_interval", "random_that_hurt_as_much", "random_orders", "deletion_area",
    "insertion_area", "retrained_rise", "retrained_random_rise", "shuffled_weights_rank_correlation",
    "average_precision", "completeness_error", "windows",
)  # fmt: skip


def run(config: SalienceConfig) -> None:
    """Explain what is missing, print a sentence per model and salience, and write table, numbers and figures."""
    from neuroformer.cells import open_folder, run_cells
    from neuroformer.files import atomic_path
    from neuroformer.plotting import save_figure
    from neuroformer.salience.figure import draw
    from neuroformer.salience.run import SalienceExperiment
    from neuroformer.salience.scores import SalienceScores, rows, sentence

    experiment = SalienceExperiment(config, read_run(config.run))
    out = Path(config.out)
    folder = open_folder(out, overwrite=config.overwrite, command=COMMAND.name, config=config)
    results = run_cells(experiment, out)
    scores = [
        SalienceScores([r for r in results if r["model"] == m], seed=config.seed) for m in experiment.models
    ]
    units = experiment.fits.units
    table = [row for one in scores for row in rows(one, units)]
    sentences = [sentence(row) for row in table]
    print(*sentences, sep="\n")
    with atomic_path(out / "table.csv") as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*_COLUMNS, "seed_rank_correlation", "seed_overlap", "seed_overlap_by_chance"])
        for row in table:
            seeds = row["seed_agreement"] or {}
            told = [seeds.get(k, "") for k in ("rank_correlation", "overlap", "chance")]
            writer.writerow([*(_cell(row[c]) for c in _COLUMNS), *told])
    with atomic_path(out / "units.csv") as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["session", "model", "seed", "target", "salience", "unit", "value"])
        for r in results:
            for target, found in r["targets"].items():
                for s, values in found["saliences"].items():
                    start = (r["session"], r["model"], r["seed"], target, s)
                    writer.writerows([*start, k, f"{v:.6g}"] for k, v in enumerate(values["units"]))
    for target in scores[0].targets:
        figure = draw(scores, target, units[target], experiment.positions())
        save_figure(figure, folder.figures / f"salience_{target}.png", dpi=150)
    folder.finish({
        "sentences": sentences, "run": config.run, "rows": table, "sessions": scores[0].sessions,
        "seconds": sum(r["seconds"] for r in results),
    })  # fmt: skip
    print(f"results: {out}")


def read_run(folder: str) -> BackbonesConfig:
    """Settings of a finished run of neuroformer backbones.

    Raises:
        UserError: the folder is none.
    """
    from neuroformer.files import read_json

    told = read_json(Path(folder) / "metrics.json")
    if told.get("command") != "neuroformer backbones":
        raise UserError(
            f"run={folder}: a run of {told.get('command')}, expected one of neuroformer backbones"
        )
    found: BackbonesConfig = build_config(BackbonesConfig, [Path(folder) / "config.yaml"])
    if not found.keep_models:
        raise UserError(
            f"run={folder}: kept no models; run neuroformer backbones again with keep_models=true"
        )
    return found


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return " to ".join(f"{v:.6g}" for v in value) if isinstance(value, list | tuple) else value


COMMAND = Command(
    name="neuroformer salience",
    summary="Tell which units fitted backbones decode from, and test it by deleting them.",
    config=SalienceConfig,
    run=run,
    examples=(
        "neuroformer backbones --config configs/nlp4neuro/worm.yaml keep_models=true out=out/worm",
        "neuroformer salience run=out/worm out=out/worm_salience",
        "neuroformer salience run=out/fish out=out/fish_salience truth=drives_tail models=[trunk,ridge]",
    ),
)
