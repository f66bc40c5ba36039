"""What a method says of a new animal's test part, and its scores: bin by bin, or trial by trial."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neuroformer.data import Recording
from neuroformer.data.variables import VariableEntry
from neuroformer.errors import UserError
from neuroformer.evaluation.behavior_scores import categorical_scores, circular_scores, continuous_scores
from neuroformer.evaluation.block_draws import BlockDraws, time_blocks
from neuroformer.linear_readout.activity import Trials, find_trials

BLOCK_S = 5.0
"""Seconds of the blocks of time that are drawn for the intervals; trials are drawn one by one."""
_PAIRED = {
    "mean_error",
    "median_error",
    "r2",
    "correlation",
    "accuracy",
    "balanced_accuracy",
    "auc",
    "log_loss",
    "coverage",
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a method says of one variable: point and spread, or probabilities.

    One array for each stretch of the test part or, of a variable that holds for a trial, one of all its trials.
    `bounds` are the ends of the 80 % interval, where the method has a posterior and not just a spread.
    """

    point: list[np.ndarray] | None = None
    spread: list[np.ndarray] | None = None
    bounds: tuple[list[np.ndarray], list[np.ndarray]] | None = None
    probability: list[np.ndarray] | None = None


def is_per_trial(entry: VariableEntry) -> bool:
    """Whether a variable has one value per trial, so that one thing is said of each."""
    return entry.settings.source == "trials"


def pool_trials(answer: Answer, recording: Recording, trials: Trials) -> Answer:
    """One answer per trial from one per bin: mean of log-probabilities, or of values."""
    found: dict[str, Any] = {}
    spans = recording.part("test")
    for name in ("point", "probability"):
        parts = getattr(answer, name)
        if parts is None:
            continue
        rows = []
        for trial in trials.spans:
            k = next(
                i for i, s in enumerate(spans) if s.epoch == trial.epoch and s.start <= trial.start < s.stop
            )
            here = parts[k][trial.start - spans[k].start : trial.stop - spans[k].start]
            rows.append(here.mean(0) if name == "point" else np.exp(np.log(np.maximum(here, 1e-12)).mean(0)))
        table = np.array(rows)
        found[name] = [table if name == "point" else table / table.sum(1, keepdims=True)]
    return Answer(**found)


def score_answer(recording: Recording, entry: VariableEntry, answer: Answer, *, when: str) -> dict[str, Any]:
    """Scores with intervals and, of those that are compared, their draws.

    Raises:
        UserError: nothing of the test part has a label.
    """
    truth, known, blocks = _trial_truth(recording, entry, when) if is_per_trial(entry) else _bin_truth(
        recording, entry, when
    )  # fmt: skip
    if not known.any():
        raise UserError(
            f"{recording.session.path}: no {'trial' if is_per_trial(entry) else 'bin'} of its test part has a known "
            f"{entry.name!r}{' under ' + when if when else ''}; choose another split"
        )
    draws = BlockDraws(blocks[known], draws=500)
    truth = truth[known]
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
    for key in _PAIRED & set(scores):  # of the same blocks for every method, so that methods can be paired
        found[key]["draws"] = [float(f"{x:.6g}") for x in scores[key].draws]
    unit = "trials" if is_per_trial(entry) else "bins"
    return found | {unit: {"value": int(known.sum()), "interval": None}}


def _bin_truth(
    recording: Recording, entry: VariableEntry, when: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    spans = recording.part("test")
    truths, asked = [], []
    for span in spans:
        truth = recording.variable(entry.name, span, all_labels=True)
        known = truth.known.copy()
        if when:
            reader = recording.variables[entry.name]
            known &= reader.holds(when, recording.epochs[span.epoch], span.start, span.stop)
        truths.append(truth.values)
        asked.append(known)
    blocks = time_blocks([len(span) for span in spans], bin_s=recording.bin_s, block_s=BLOCK_S)
    return np.concatenate(truths), np.concatenate(asked), blocks


def _trial_truth(
    recording: Recording, entry: VariableEntry, when: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    trials = find_trials(recording, recording.part("test"))
    values, known = [], []
    for span in trials.spans:
        truth = recording.variable(entry.name, span, all_labels=True)
        there = truth.known.copy()
        if when:
            reader = recording.variables[entry.name]
            there &= reader.holds(when, recording.epochs[span.epoch], span.start, span.stop)
        values.append(truth.values[0])
        known.append(bool(there.all()))
    return np.array(values), np.array(known, bool), np.arange(len(trials))
