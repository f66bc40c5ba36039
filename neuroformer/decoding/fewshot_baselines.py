"""Baselines of the learning curve, on the same labels and the same input as the linear readouts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neuroformer.baselines.decoding import Target, build_decoder, decoders_for
from neuroformer.data import Recording
from neuroformer.data.variables import Binned, VariableEntry
from neuroformer.decoding.fewshot_scores import Answer, is_per_trial
from neuroformer.linear_readout.activity import (
    Input,
    Standard,
    find_trials,
    read_activity,
    window_means,
)
from neuroformer.settings.decoding import DecodersConfig
from neuroformer.settings.linear_readout import LinearReadoutConfig

CENTERED = "ridge_centered"
_TAPS = 9
"""A window is cut into no more stretches than this."""


def baseline_answer(
    method: str,
    recording: Recording,
    entry: VariableEntry,
    *,
    kind: Input,
    readout: LinearReadoutConfig | None,
    decoders: DecodersConfig,
    seed: int,
) -> Answer | None:
    """What a baseline says of a variable in the test part; None where it cannot decode such a variable.

    Args:
        method: name of the decoder, or `ridge_centered`: ridge with windows that reach as far after a bin as before.
        recording: the session, with the labels that the baseline may use.
        entry: the variable.
        kind: what it reads.
        readout: settings of the linear readout beside it, whose history and windows of trials it gets too.
        decoders: settings.
        seed: of what is drawn.
    """
    target = baseline_target(entry)
    name = "ridge" if method == CENTERED else method
    if name not in decoders_for(target) or (method == CENTERED and is_per_trial(entry)):
        return None
    if is_per_trial(entry):
        x, y, x_test = _of_trials(recording, target, kind, counts=name.startswith("naive"), windows=readout)
        bin_s, decoders = 1.0, _one_bin(decoders)
    else:
        x, y, x_test = _of_bins(recording, target, kind)
        bin_s = recording.bin_s
        decoders = _with_history(decoders, readout, bin_s, centered=method == CENTERED)
    decoder = build_decoder(name, target, bin_s=bin_s, config=decoders)
    said = decoder.fit(x, y, seed=seed).predict(x_test)
    if target.kind == "categorical":
        return Answer(probability=said.probability)
    return Answer(point=said.mean, spread=said.spread)


def baseline_target(entry: VariableEntry) -> Target:
    """A decoded variable as the baselines know it, with its range."""
    if entry.kind == "categorical":
        return Target(name=entry.name, kind="categorical", labels=entry.labels)
    bounds = None if entry.period is not None else tuple(zip(entry.lower, entry.upper, strict=True))
    return Target(name=entry.name, period=entry.period, unit=entry.unit, bounds=bounds)


def _of_bins(
    recording: Recording, target: Target, kind: Input
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    training, test = recording.part("train"), recording.part("test")
    x = [read_activity(recording, span, kind) for span in training]
    x_test = [read_activity(recording, span, kind) for span in test]
    if kind == "traces":  # missing samples at the mean, as the readouts have them
        standard = Standard.of(x)
        x, x_test = [standard(part) for part in x], [standard(part) for part in x_test]
    y = [_labels(target, recording.variable(target.name, span)) for span in training]
    return [part.astype(np.float32) for part in x], y, [part.astype(np.float32) for part in x_test]


def _of_trials(
    recording: Recording, target: Target, kind: Input, *, counts: bool, windows: LinearReadoutConfig | None
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """A trial as a bin, with the units' activity in each of its windows as features."""
    k = windows.windows if windows is not None else LinearReadoutConfig().windows
    parts, labels = [], []
    for part in ("train", "test"):
        trials = find_trials(recording, recording.part(part))
        raw = window_means(recording, trials, kind, k).reshape(len(trials), -1)
        if kind == "events" and counts:  # whole numbers, as Poisson counts are
            raw = np.rint(raw * np.repeat([[len(span) / k] for span in trials.spans], raw.shape[1], 1))
        elif kind == "events":
            raw = np.sqrt(raw)
        parts.append(raw)
        found = [recording.variable(target.name, span) for span in trials.spans]
        whole = [
            Binned(values=f.values[:1], known=np.array([f.known.all()])) for f in found
        ]  # a trial without all its labels has none
        labels.append(np.concatenate([_labels(target, one) for one in whole]))
    if kind == "traces":
        standard = Standard.of(parts[:1])
        parts = [standard(part) for part in parts]
    return [parts[0].astype(np.float32)], [labels[0]], [parts[1].astype(np.float32)]


def _one_bin(decoders: DecodersConfig) -> DecodersConfig:
    """Windows of one trial: the trial before says nothing."""
    window = {"windows_s": [1.0]}
    return replace(
        decoders,
        ridge=replace(decoders.ridge, taps=[1], **window),  # type: ignore[arg-type]
        logistic=replace(decoders.logistic, taps=[1], **window),  # type: ignore[arg-type]
        naive_bayes=replace(decoders.naive_bayes, **window),  # type: ignore[arg-type]
        kalman=replace(decoders.kalman, **window),  # type: ignore[arg-type]
        gru=replace(decoders.gru, window_s=1.0),
    )


def _with_history(
    decoders: DecodersConfig, readout: LinearReadoutConfig | None, bin_s: float, *, centered: bool
) -> DecodersConfig:
    """The history of the readout among those that are tried."""
    if readout is None and not centered:
        return decoders
    ridge = decoders.ridge
    if readout is None:
        return replace(decoders, ridge=replace(ridge, centered=True))
    past = readout.before_s + bin_s
    if centered:
        half = max(readout.before_s, readout.after_s)
        windows = [bin_s + 2 * part * half for part in (0.0, 0.25, 0.5, 1.0)]
        taps = sorted({1, 3, min(_TAPS, max(1, round(windows[-1] / bin_s)))})
        return replace(decoders, ridge=replace(ridge, windows_s=windows, taps=taps, centered=True))
    taps = sorted({*ridge.taps, min(_TAPS, max(1, round(past / bin_s)))})
    return replace(
        decoders,
        ridge=replace(ridge, windows_s=sorted({*ridge.windows_s, past}), taps=taps),
        logistic=replace(decoders.logistic, windows_s=sorted({*decoders.logistic.windows_s, past})),
        kalman=replace(decoders.kalman, windows_s=sorted({*decoders.kalman.windows_s, past})),
    )


def _labels(target: Target, found: Binned) -> np.ndarray:
    if target.kind == "categorical":
        return np.where(found.known, found.values, -1)
    return np.where(found.known[:, None], found.values, np.nan).astype(float)
