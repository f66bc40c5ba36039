"""`neuroformer ablation`: train and score every variant, keep what is finished, write one table."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from neuroformer.ablation.figure import draw_ablation
from neuroformer.ablation.scoring import BinScores, known_bins, load_scores, save_scores, score_session
from neuroformer.ablation.table import rows, sentences, summarize
from neuroformer.ablation.variants import FULL, Variant, make_variants
from neuroformer.data import RecordingsModule
from neuroformer.errors import UserError
from neuroformer.evaluation.trained_run import load_run
from neuroformer.files import RunFolder, atomic_path, read_json
from neuroformer.plotting import save_figure
from neuroformer.settings.ablation import AblationConfig
from neuroformer.settings.training import PretrainConfig
from neuroformer.training.run import check_trainer_keys, context_of, pretrain


def ablate(
    config: AblationConfig,
    *,
    command: str = "neuroformer ablation",
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Train and score the full model and its variants.

    Args:
        config: the full model's settings, and which variants.
        command: name of the command, for metrics.json.
        progress: told what is done next.

    Returns:
        The content of metrics.json.

    Raises:
        UserError: for bad files or settings.
    """
    check_trainer_keys(config.trainer)
    out = Path(config.out)
    if (out / "checkpoints").exists():
        raise UserError(f"{out}: holds a pretrain run; give the ablation a folder of its own, out=DIR")
    variants = make_variants(
        same_split(_pretrain_config(config), config.alignment_weight),
        config.variants,
        alignment_weight=config.alignment_weight,
    )
    full = variants[0].config
    data = RecordingsModule(
        config=full.data, context_bins=context_of(full.model, full.data)
    )  # first: is it there?
    folder = RunFolder.create(out, overwrite=config.overwrite, command=command, config=config)
    scores: dict[str, list[dict[str, BinScores]]] = {}
    runs: dict[str, list[dict[str, Any]]] = {}
    total = len(variants) * config.seeds
    for variant in variants:
        for k in range(config.seeds):
            place = folder.path / "runs" / variant.name / f"seed_{config.seed + k}"
            done = sum(map(len, scores.values()))
            found, metrics, kept = _train_and_score(variant, place, config, seed=config.seed + k)
            progress(
                f"[{done + 1}/{total}] {variant.label}, seed {config.seed + k}" + (": kept" if kept else "")
            )
            scores.setdefault(variant.name, []).append(found)
            runs.setdefault(variant.name, []).append(metrics)
    known = {r.session_id: known_bins(r, config.part, config.when) for r in data.recordings}
    _check_same_bins(scores)
    summary = summarize(scores, known, block_s=config.block_s, seed=config.seed)
    labels = {v.name: v.label for v in variants}
    units = {name: entry.unit for name, entry in data.vocabulary.variables.items()}
    with atomic_path(folder.path / "table.csv") as temporary, temporary.open("w", newline="") as file:
        csv.writer(file).writerows(rows(labels, summary))
    save_figure(draw_ablation(labels, summary, units), folder.figures / "ablation.png")
    full_scores = scores[FULL][0].values()
    metrics = {
        "part": config.part,
        "test_seconds": float(sum(len(s.time) for s in full_scores) * full.data.bin_s),
        "n_events": int(sum(s.events.sum() for s in full_scores)),
        "known_share": float(np.concatenate(list(known.values())).mean()),
        "seeds": config.seeds,
        "units": units,
        "labels": labels,
        "variants": summary,
        "runs": runs,
        "sentences": sentences(labels, summary, units),
    }
    folder.finish(metrics)
    return metrics


def same_split(config: PretrainConfig, alignment_weight: float) -> PretrainConfig:
    """The settings with a gap between the parts that suits all variants, so that they train and test on the same bins.

    A variant that looks back less would by default have smaller gaps, and more to train on. All variants count,
    whatever was asked for: the bins must not depend on that either.
    """
    needed = max(
        context_of(v.config.model, v.config.data)
        for v in make_variants(config, alignment_weight=alignment_weight)
    )
    gap_s = needed * config.data.bin_s
    if config.data.split.gap_s is not None:
        gap_s = max(gap_s, config.data.split.gap_s)
    split = dataclasses.replace(config.data.split, gap_s=gap_s)
    return dataclasses.replace(config, data=dataclasses.replace(config.data, split=split))


def _pretrain_config(config: AblationConfig) -> PretrainConfig:
    names = [field.name for field in dataclasses.fields(PretrainConfig)]
    return PretrainConfig(**{name: getattr(config, name) for name in names})


def _train_and_score(
    variant: Variant, place: Path, config: AblationConfig, *, seed: int
) -> tuple[dict[str, BinScores], dict[str, Any], bool]:
    """Scores by session and the content of the run's metrics.json; whether the run was there already."""
    wanted = dataclasses.replace(
        variant.config, out=str(place), overwrite=True, resume=None, wandb=None, seed=seed
    )
    scores_file, metrics_file = place / "scores.npz", place / "metrics.json"
    kept = metrics_file.is_file() and _same_settings(place / "config.yaml", wanted)
    if not kept:
        scores_file.unlink(missing_ok=True)
        pretrain(wanted, command="neuroformer ablation")
    metrics = read_json(metrics_file)
    about = {k: metrics.get(k) for k in ("val_bits_per_spike", "val_decode_nll", "parameters", "seconds")}
    found = load_scores(scores_file, config.part)
    if found is None:
        run = load_run(place)
        found = {
            recording.session_id: score_session(
                run.trained.model, run.trained.vocabulary, run.data, recording, variant, config.part
            )
            for recording in run.data.recordings
        }
        save_scores(scores_file, found, config.part)
    return found, about, kept


def _same_settings(path: Path, wanted: PretrainConfig) -> bool:
    """Whether a run's config.yaml says what is wanted; the folder may have been moved."""
    if not path.is_file():
        return False
    now = OmegaConf.to_container(OmegaConf.structured(wanted))
    then = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(now, dict)
    return isinstance(then, dict) and {**then, "out": ""} == {**now, "out": ""}


def _check_same_bins(scores: dict[str, list[dict[str, BinScores]]]) -> None:
    """All variants were scored on the same events of the same bins against the same null."""
    for name, runs in scores.items():
        for run in runs:
            for session, found in run.items():
                full = scores[FULL][0][session]
                if not (
                    np.array_equal(found.time, full.time)
                    and np.array_equal(found.events, full.events)
                    and math.isclose(found.null.sum(), full.null.sum(), rel_tol=1e-6)
                ):
                    raise UserError(
                        f"{session}: variant {name} was scored on other bins than the full model (has the session file "
                        "changed since?); remove the runs/ folder and start again"
                    )
