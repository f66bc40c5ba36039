"""The learning curve of a new animal: how well its behaviour is decoded from how many labels, by whom.

Every method gets the same labels of the training part and is scored on the same bins of the test part. A cell (session,
amount of labels, seed, method) is computed once and kept, so that a run that was stopped goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neuroformer.baselines.decoding import Target, build_decoder, decoders_for
from neuroformer.data import Recording, Vocabulary, find_sessions
from neuroformer.data.grid import Axis, Grid, make_grid
from neuroformer.data.motion import count_motion, make_motion, paths_of, with_unknown
from neuroformer.data.variable_entries import check_entry
from neuroformer.data.variables import Binned, VariableEntry
from neuroformer.errors import UserError
from neuroformer.evaluation.behavior_scores import (
    INTERVAL_LEVEL,
    categorical_scores,
    circular_scores,
    continuous_scores,
)
from neuroformer.evaluation.block_draws import BlockDraws, time_blocks
from neuroformer.files import read_json, write_json
from neuroformer.inversion.filtering import forward, smooth
from neuroformer.inversion.onboarding import Tuning, infer_tuning, state_features, wide_prior
from neuroformer.inversion.summary import (
    posterior_mean,
    posterior_median,
    posterior_quantile,
    posterior_spread,
)
from neuroformer.model import Neuroformer
from neuroformer.settings.fewshot import BASELINES, FewshotConfig
from neuroformer.settings.variables import LabelsConfig
from neuroformer.training.build import build_model
from neuroformer.training.checkpoint import TrainedModel, checkpoint_path, data_config, load_checkpoint
from neuroformer.training.knowledge import Knowledge

_BLOCK_S = 5.0
_PAIRED = {"mean_error", "median_error", "r2", "accuracy", "balanced_accuracy", "auc", "log_loss"}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One fit.

    Attributes:
        session: its id.
        file: of the session.
        amount: of labels, a fraction or minutes.
        seed: of the stretch of labels.
        method: whose fit.
    """

    session: str
    file: str
    amount: float
    seed: int
    method: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a method says of one variable in the test part, stretch by stretch: point and spread, or probabilities.

    `bounds` are the ends of the 80 % interval, where the method has a posterior and not just a spread.
    """

    point: list[np.ndarray] | None = None
    spread: list[np.ndarray] | None = None
    bounds: tuple[list[np.ndarray], list[np.ndarray]] | None = None
    probability: list[np.ndarray] | None = None


class Experiment:
    """The sessions, the model and the settings of a learning curve.

    Args:
        config: the settings.

    Raises:
        UserError: the run cannot be inverted, or a session was in it.
    """

    def __init__(self, config: FewshotConfig) -> None:
        self.config = config
        self.trained: TrainedModel = load_checkpoint(checkpoint_path(config.run, config.checkpoint))
        self.model: Neuroformer = self.trained.model
        grid, knowledge = make_grid(self.trained.vocabulary), self.trained.knowledge
        if grid is None or knowledge is None or knowledge.prior is None:
            raise UserError(
                f"{config.run}: cannot be inverted; pretrain with data.variables.NAME.role=both and no other variables"
            )
        self.grid: Grid = grid
        self.knowledge: Knowledge = knowledge
        self.targets = config.targets or grid.names
        for name in self.targets:
            if name not in grid.names:
                raise UserError(
                    f"targets: {name!r} is not inverted by {config.run}, which has {', '.join(grid.names)}"
                )
        self.files = find_sessions(config.sessions)
        settings = data_config(self.trained.settings["data"])
        self.settings = replace(settings, split=config.split or settings.split)
        for file in self.files:
            recording = self.recording(str(file), LabelsConfig())
            if recording.session_id in self.trained.vocabulary:
                raise UserError(
                    f"{file}: session {recording.session_id!r} was in the training of {config.run}; name sessions of "
                    "animals that it has not seen"
                )
            for name in grid.names:
                if name not in recording.variables:
                    raise UserError(f"{file}: has no {name!r}, which {config.run} decodes")
                check_entry(self.entry(name), recording.variables[name])

    def entry(self, name: str) -> VariableEntry:
        """What the model knows of a variable."""
        return self.trained.vocabulary.variables[name]

    def recording(self, file: str, labels: LabelsConfig) -> Recording:
        """A session with some of its labels."""
        found = Recording(
            file,
            bin_s=self.settings.bin_s,
            split=self.settings.split,
            context_bins=self.model.context,
            variables={name: self.entry(name).settings for name in self.grid.names},
            labels=labels,
        )
        for name, reader in found.variables.items():
            reader.use_labels(self.entry(name).labels)
        return found

    @property
    def amounts(self) -> list[float]:
        """Of labels, rising."""
        return sorted(self.config.minutes or self.config.fractions)

    def cells(self) -> Iterator[Cell]:
        """All cells, those with few labels first."""
        for amount in self.amounts:
            for seed in self.config.seeds:
                for file in self.files:
                    name = self.recording(str(file), LabelsConfig()).session_id
                    for method in self.config.methods:
                        yield Cell(session=name, file=str(file), amount=amount, seed=seed, method=method)

    def key(self, cell: Cell) -> str:
        """Stands for everything that a cell depends on."""
        told = asdict(self.config)
        for name in (
            "out",
            "overwrite",
            "sessions",
            "fractions",
            "minutes",
            "seeds",
            "methods",
            "scale",
            "scale_name",
        ):
            told.pop(name)
        told |= {"cell": asdict(cell), "minutes": bool(self.config.minutes), "step": self.trained.step}
        return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:24]

    def labels(self, cell: Cell) -> LabelsConfig:
        """Which labels a cell has."""
        amount = {"minutes" if self.config.minutes else "fraction": cell.amount}
        start = {"start": "first"} if cell.seed == 0 else {"start": "random", "seed": cell.seed}
        return LabelsConfig(when=self.config.when, **amount, **start)  # type: ignore[arg-type]

    def run(self, cell: Cell) -> dict[str, Any]:
        """Fit and score one cell: scores by variable, and the seconds of labels that were used."""
        recording = self.recording(cell.file, self.labels(cell))
        answers = self._baseline(recording, cell) if cell.method in BASELINES else self._ours(recording, cell)
        used = sum(
            int((self.grid.cells({n: recording.variable(n, span) for n in self.grid.names}) >= 0).sum())
            for span in recording.part("train")
        )
        scores = {name: self._score(recording, name, answer) for name, answer in answers.items()}
        return {**asdict(cell), "label_s": used * self.settings.bin_s, "scores": scores}

    def _ours(self, recording: Recording, cell: Cell) -> dict[str, Answer]:
        tuning, chain_counts = self._tuning(recording, cell)
        chain = with_unknown(make_motion(self.grid, chain_counts), chain_counts)
        posteriors = []
        for span in recording.part("test"):
            score = self.knowledge.evidence * tuning.evidence(recording.counts(span).astype(float))
            found, _ = forward(score, chain)
            if cell.method != "pretrained_causal":
                found = smooth(score, chain, found)
            cells = found[:, : len(self.grid)]
            posteriors.append(cells / cells.sum(1, keepdims=True))
        return {name: self._answer(name, posteriors) for name in self.targets}

    def _tuning(self, recording: Recording, cell: Cell) -> tuple[Tuning, Any]:
        """Tuning of the units and counts of the motion, with or without what other animals taught."""
        own = count_motion(self.grid, paths_of(self.grid, [recording]))
        rounds = 0 if cell.method == "pretrained_labels_only" else self.config.rounds
        if cell.method != "scratch":
            assert self.knowledge.prior is not None
            motion = self.knowledge.motion + own
            model, prior = self.model, self.knowledge.prior
        else:
            motion = own
            vocabulary = Vocabulary(bin_s=self.settings.bin_s)
            vocabulary.variables = dict(self.trained.vocabulary.variables)
            vocabulary.add(recording.entry(1))
            torch.manual_seed(cell.seed)
            model = build_model(self.model.config, vocabulary, n_levels=1).eval()
            entry = next(iter(vocabulary))
            prior = wide_prior(state_features(model, self.grid), float(entry.train_rate.mean()))
        found = infer_tuning(
            model, recording, self.grid, motion, prior, rounds=rounds, evidence=self.knowledge.evidence
        )
        return found, motion

    def _answer(self, name: str, posteriors: list[np.ndarray]) -> Answer:
        axes = [(k, axis) for k, axis in enumerate(self.grid.axes) if axis.name == name]
        marginals = [[self.grid.marginal(p, k) for p in posteriors] for k, _ in axes]
        if axes[0][1].labels:
            return Answer(probability=marginals[0])
        low = (1 - INTERVAL_LEVEL) / 2

        def each(summary: Callable[[Axis, np.ndarray], np.ndarray]) -> list[np.ndarray]:
            return [
                np.stack([summary(axis, m[i]) for (_, axis), m in zip(axes, marginals, strict=True)], 1)
                for i in range(len(posteriors))
            ]

        return Answer(
            point=each(_point),
            spread=each(posterior_spread),
            bounds=(
                each(partial(posterior_quantile, level=low)),
                each(partial(posterior_quantile, level=1 - low)),
            ),
        )

    def _baseline(self, recording: Recording, cell: Cell) -> dict[str, Answer]:
        found = {}
        training, test = recording.part("train"), recording.part("test")
        x = [recording.counts(span).astype(np.float32) for span in training]
        x_test = [recording.counts(span).astype(np.float32) for span in test]
        for name in self.targets:
            target = self._target(name)
            if cell.method not in decoders_for(target):
                continue
            y = [_labels(target, recording.variable(name, span)) for span in training]
            decoder = build_decoder(
                cell.method, target, bin_s=self.settings.bin_s, config=self.config.decoders
            )
            said = decoder.fit(x, y, seed=cell.seed).predict(x_test)
            found[name] = (
                Answer(probability=said.probability)
                if target.kind == "categorical"
                else Answer(point=said.mean, spread=said.spread)
            )
        return found

    def _target(self, name: str) -> Target:
        entry = self.entry(name)
        if entry.kind == "categorical":
            return Target(name=name, kind="categorical", labels=entry.labels)
        bounds = None if entry.period is not None else tuple(zip(entry.lower, entry.upper, strict=True))
        return Target(name=name, period=entry.period, unit=entry.unit, bounds=bounds)

    def _score(self, recording: Recording, name: str, answer: Answer) -> dict[str, Any]:
        spans, entry = recording.part("test"), self.entry(name)
        truths, asked = [], []
        for span in spans:
            truth = recording.variable(name, span, all_labels=True)
            known = truth.known.copy()
            if self.config.when:
                reader = recording.variables[name]
                known &= reader.holds(self.config.when, recording.epochs[span.epoch], span.start, span.stop)
            truths.append(truth.values)
            asked.append(known)
        known = np.concatenate(asked)
        if not known.any():
            raise UserError(
                f"{recording.session.path}: no bin of its test part has a known {name!r} "
                f"{'under ' + self.config.when if self.config.when else ''}; choose another split"
            )
        blocks = time_blocks([len(span) for span in spans], bin_s=self.settings.bin_s, block_s=_BLOCK_S)
        draws = BlockDraws(blocks[known], draws=500)
        truth = np.concatenate(truths)[known]
        if answer.probability is not None:
            scores = categorical_scores(truth, np.concatenate(answer.probability)[known], draws)
        else:
            assert answer.point is not None
            point = np.concatenate(answer.point)[known]
            spread = None if answer.spread is None else np.concatenate(answer.spread)[known]
            bounds = None
            if answer.bounds is not None:
                lower, upper = (np.concatenate(ends)[known] for ends in answer.bounds)
                bounds = (lower, upper)
            scores = (
                continuous_scores(truth, point, draws, spread=spread, bounds=bounds)
                if entry.period is None
                else circular_scores(truth, point, draws, period=entry.period, spread=spread, bounds=bounds)
            )
        found: dict[str, Any] = {key: {"value": s.value, "interval": s.interval} for key, s in scores.items()}
        for key in _PAIRED & set(
            scores
        ):  # of the same blocks for every method, so that methods can be paired
            found[key]["draws"] = [float(f"{x:.6g}") for x in scores[key].draws]
        return found | {"bins": {"value": int(known.sum()), "interval": None}}


def run_cells(experiment: Experiment, folder: Path, *, report: Any = print) -> list[dict[str, Any]]:
    """Compute what is not there yet; all results in the order of the cells."""
    results = []
    cells = list(experiment.cells())
    for k, cell in enumerate(cells):
        path = folder / "cells" / f"{experiment.key(cell)}.json"
        if not path.exists():
            found = experiment.run(cell)
            write_json(path, found)
            first: dict[str, Any] = next(iter(found["scores"].values()), {})
            shown = next(
                (f"{n} {first[n]['value']:.4g}" for n in ("mean_error", "accuracy") if n in first), ""
            )
            report(
                f"{k + 1}/{len(cells)} {cell.session} {cell.amount:g} seed {cell.seed} {cell.method}: {shown}"
            )
        results.append(read_json(path))
    return results


def _point(axis: Axis, probability: np.ndarray) -> np.ndarray:
    return posterior_median(axis, probability) if axis.period is None else posterior_mean(axis, probability)


def _labels(target: Target, found: Binned) -> np.ndarray:
    if target.kind == "categorical":
        return np.where(found.known, found.values, -1)
    return np.where(found.known[:, None], found.values, np.nan).astype(float)
