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
from typing import Any

import numpy as np
import torch

from neuroformer.data import Recording, Vocabulary, find_sessions
from neuroformer.data.grid import Axis, Grid, make_grid
from neuroformer.data.motion import count_motion, make_motion, paths_of, with_unknown
from neuroformer.data.variable_entries import check_entry
from neuroformer.data.variables import VariableEntry
from neuroformer.decoding.fewshot_baselines import baseline_answer
from neuroformer.decoding.fewshot_scores import Answer, is_per_trial, pool_trials, score_answer
from neuroformer.errors import UserError
from neuroformer.evaluation.behavior_scores import INTERVAL_LEVEL
from neuroformer.inversion.filtering import forward, smooth
from neuroformer.inversion.onboarding import Tuning, infer_tuning, state_features, wide_prior
from neuroformer.inversion.summary import (
    posterior_mean,
    posterior_median,
    posterior_quantile,
    posterior_spread,
)
from neuroformer.linear_readout import read_out
from neuroformer.linear_readout.activity import Input, find_trials
from neuroformer.model import Neuroformer
from neuroformer.settings.fewshot import INVERTED, READOUTS, FewshotConfig
from neuroformer.settings.variables import LabelsConfig
from neuroformer.training.build import build_model
from neuroformer.training.checkpoint import TrainedModel, checkpoint_path, data_config, load_checkpoint
from neuroformer.training.knowledge import Knowledge


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
        inverts = grid is not None and knowledge is not None and knowledge.prior is not None
        self.grid: Grid | None = grid if inverts else None
        self.knowledge: Knowledge | None = knowledge
        self.readouts = dict(knowledge.readouts) if knowledge is not None else {}
        decoded = [n for n, entry in self.trained.vocabulary.variables.items() if entry.is_decoded]
        if not decoded:
            raise UserError(
                f"{config.run}: decodes nothing; pretrain with data.variables.NAME.role=both or target"
            )
        self.targets = config.targets or (self.grid.names if self.grid is not None else decoded)
        for name in self.targets:
            if name not in decoded:
                raise UserError(
                    f"targets: {name!r} is not decoded by {config.run}, which has {', '.join(decoded)}"
                )
        self.methods = self._offered()
        inverted = self.grid.names if self.grid is not None else []
        self.names = list(dict.fromkeys([*inverted, *self.targets]))
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
            for name in self.names:
                if name not in recording.variables:
                    raise UserError(f"{file}: has no {name!r}, which {config.run} decodes")
                check_entry(self.entry(name), recording.variables[name])
            if self.input == "traces" and not recording.session.has_traces:
                raise UserError(
                    f"{file}: has no traces, which are read here; choose input=events, or other methods"
                )

    def _offered(self) -> list[str]:
        """The methods that are asked for, or all that the run can do.

        Raises:
            UserError: one is asked for that it cannot do.
        """
        read_out = any(name in self.readouts for name in self.targets)
        asked = self.config.methods
        if not asked:
            ours = [*(INVERTED if self.grid is not None else ()), *(READOUTS if read_out else ())]
            usual = ["null", "ridge", "naive_bayes", "naive_bayes_motion", "logistic"]
            return [*ours, *usual, *(["ridge_centered"] if read_out else [])]
        for method in asked:
            if method in INVERTED and self.grid is None:
                raise UserError(
                    f"methods: {method} inverts the events, and {self.config.run} cannot be inverted; pretrain with "
                    "data.variables.NAME.role=both and no other variables, or leave the method out"
                )
            if method in READOUTS and not read_out:
                raise UserError(
                    f"methods: {method} needs a readout of {', '.join(self.targets)}, and {self.config.run} has "
                    f"{'those of ' + ', '.join(self.readouts) if self.readouts else 'none'}; pretrain with "
                    "linear_readout.enabled=true, or leave the method out"
                )
        return list(asked)

    @property
    def input(self) -> Input:
        """What baselines read."""
        if self.config.input != "auto":
            return self.config.input
        return next((r.kind for n, r in self.readouts.items() if n in self.targets), "events")

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
            variables={name: self.entry(name).settings for name in self.names},
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
                    for method in self.methods:
                        if amount == 0 and method not in ("readout", "readout_causal"):
                            continue  # nothing else says anything of an animal without a label
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
        answers: dict[str, Answer] = {}
        if cell.method in INVERTED:
            answers = self._inverted(recording, cell)
        else:
            for name in self.targets:
                answer = self._answered(recording, name, cell)
                if answer is not None:
                    answers[name] = answer
        used = 0
        for span in recording.part("train"):
            found = {n: recording.variable(n, span) for n in self.names}
            if self.grid is not None:
                used += int((self.grid.cells({n: found[n] for n in self.grid.names}) >= 0).sum())
            else:
                used += int(np.any([there.known for there in found.values()], axis=0).sum())
        scores = {
            name: score_answer(recording, self.entry(name), answer, when=self.config.when)
            for name, answer in answers.items()
        }
        return {**asdict(cell), "label_s": used * self.settings.bin_s, "scores": scores}

    def told(self, cell: Cell, found: dict[str, Any]) -> str:
        """A line about a cell: what it is and its first score."""
        first: dict[str, Any] = next(iter(found["scores"].values()), {})
        shown = next((f"{n} {first[n]['value']:.4g}" for n in ("mean_error", "accuracy") if n in first), "")
        return f"{cell.session} {cell.amount:g} seed {cell.seed} {cell.method}: {shown}"

    def _answered(self, recording: Recording, name: str, cell: Cell) -> Answer | None:
        """What a readout or a baseline says of a variable; None where it says nothing."""
        readout = self.readouts.get(name)
        if cell.method not in READOUTS:
            return baseline_answer(
                cell.method, recording, self.entry(name), kind=self.input,
                readout=None if readout is None else readout.config, decoders=self.config.decoders, seed=cell.seed,
            )  # fmt: skip
        if readout is None or (readout.per_trial and cell.method == "readout_causal"):
            return None  # there is but one readout of a trial
        said, _ = read_out(readout, recording, self.entry(name), cell.method)  # type: ignore[arg-type]
        return Answer(point=said.mean, spread=said.spread, probability=said.probability)

    def _inverted(self, recording: Recording, cell: Cell) -> dict[str, Answer]:
        assert self.grid is not None
        assert self.knowledge is not None
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
        answers = {name: self._answer(name, posteriors) for name in self.targets if name in self.grid.names}
        for name, answer in answers.items():
            if is_per_trial(self.entry(name)):
                trials = find_trials(recording, recording.part("test"))
                answers[name] = pool_trials(answer, recording, trials)
        return answers

    def _tuning(self, recording: Recording, cell: Cell) -> tuple[Tuning, Any]:
        """Tuning of the units and counts of the motion, with or without what other animals taught."""
        assert self.grid is not None
        assert self.knowledge is not None
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
        assert self.grid is not None
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


def _point(axis: Axis, probability: np.ndarray) -> np.ndarray:
    return posterior_median(axis, probability) if axis.period is None else posterior_mean(axis, probability)
