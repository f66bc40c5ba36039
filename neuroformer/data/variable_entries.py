"""What a model keeps of each variable, learned from the training part of the sessions that have it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neuroformer.data.recording import Recording
from neuroformer.data.variables import VariableEntry, VariableReader
from neuroformer.errors import UserError
from neuroformer.settings.variables import VariableConfig

_TAIL = 0.005  # of the values on either side lies outside the range


def learn_variable(name: str, config: VariableConfig, recordings: Sequence[Recording]) -> VariableEntry:
    """The entry of a variable.

    Raises:
        UserError: no session has it, or sessions disagree on its kind, shape, unit or period.
    """
    having = [r for r in recordings if name in r.variables]
    if not having:
        files = ", ".join(str(r.session.path) for r in recordings[:3])
        raise UserError(
            f"data.variables.{name}: none of the sessions has {config.source} {name!r} ({files} ...)"
        )
    readers = [r.variables[name] for r in having]
    labels: tuple[str, ...] = readers[0].info.labels
    for reader in readers[1:]:
        check_alike(name, readers[0], reader)
        labels += tuple(label for label in reader.info.labels if label not in labels)
    first = readers[0]
    about: dict[str, Any] = {
        "name": name,
        "settings": config,
        "kind": first.info.kind,
        "shape": first.shape,
        "unit": first.info.unit,
        "period": first.info.period,
        "interval_s": max(r.interval_s for r in readers),
    }
    if config.limits is not None and (first.info.kind != "continuous" or first.info.period is not None):
        kind = "circular" if first.info.kind == "continuous" else first.info.kind
        raise UserError(
            f"data.variables.{name}.limits={config.limits}: {name!r} is {kind} in {first.session.path} and has no "
            "limits; leave them out"
        )
    if first.info.kind == "categorical":
        return VariableEntry(**about, labels=labels)
    if first.info.kind == "frames":
        mean, scale = _pixels(having, name)
        return VariableEntry(**about, mean=(mean,), scale=(scale,))
    values = np.concatenate([_values(r, name) for r in having])
    if not len(values):
        raise UserError(
            f"data.variables.{name}: no value is known in the training part of any session; check data.variables.{name}"
            ".when and data.labels"
        )
    if first.info.period is not None:
        n = values.shape[1]
        return VariableEntry(**about, mean=(0.0,) * n, scale=(first.info.period / (2 * np.pi),) * n,
                             lower=(0.0,) * n, upper=(float(first.info.period),) * n)  # fmt: skip
    scale = values.std(0)
    if not (scale > 0).all():
        raise UserError(
            f"data.variables.{name}: has one and the same value in all training bins; leave it out"
        )
    lower, upper = (
        (np.full(values.shape[1], limit) for limit in config.limits)
        if config.limits is not None
        else np.quantile(values, [_TAIL, 1 - _TAIL], axis=0)
    )
    return VariableEntry(**about, mean=tuple(map(float, values.mean(0))), scale=tuple(map(float, scale)),
                         lower=tuple(map(float, lower)),
                         upper=tuple(map(float, np.maximum(upper, lower + 1e-6 * scale))))  # fmt: skip


def check_entry(entry: VariableEntry, reader: VariableReader) -> None:
    """Refuse a session whose variable is not what the model knows under its name.

    Raises:
        UserError: what differs.
    """
    path = reader.session.path
    for what, found, expected in (
        ("kind", reader.info.kind, entry.kind),
        ("shape", reader.shape, entry.shape),
        ("unit", reader.info.unit, entry.unit),
        ("period", reader.info.period, entry.period),
    ):
        if found != expected:
            raise UserError(
                f"{path}: {entry.name!r} has {what} {found!r}, the model knows it with {expected!r}; convert the "
                "session anew, or give the variable another name"
            )
    new = [label for label in reader.info.labels if label not in entry.labels]
    if new:
        raise UserError(
            f"{path}: {entry.name!r} has the label {new[0]!r}, the model knows {', '.join(entry.labels)}; rename the "
            "label or pretrain with it"
        )


def check_alike(name: str, first: VariableReader, other: VariableReader) -> None:
    """Refuse sessions that mean different things by one name.

    Raises:
        UserError: what differs.
    """
    for what, a, b in (
        ("kind", first.info.kind, other.info.kind),
        ("shape", first.shape, other.shape),
        ("unit", first.info.unit, other.info.unit),
        ("period", first.info.period, other.info.period),
    ):
        if a != b:
            raise UserError(
                f"{other.session.path}: {name!r} has {what} {b!r}, but {a!r} in {first.session.path}; convert one of "
                "them anew, or leave it out"
            )


def _values(recording: Recording, name: str) -> np.ndarray:
    parts = [np.zeros((0, *recording.variables[name].shape))]
    for span in recording.spans["train"]:
        found = recording.variable(name, span)
        parts.append(found.values[found.known])
    return np.concatenate(parts)


def _pixels(recordings: Sequence[Recording], name: str, most: int = 200) -> tuple[float, float]:
    """Mean and standard deviation of the pixels of some frames from the start of each session's training part."""
    found = []
    for recording in recordings:
        span = recording.spans["train"][0]
        reader = recording.variables[name]
        stop = min(span.stop, span.start + int(most * reader.interval_s / recording.bin_s) + 1)
        found.append(reader.frames(recording.epochs[span.epoch], span.start, stop).values.ravel())
    pixels = np.concatenate(found)
    return (float(pixels.mean()), float(pixels.std()) or 1.0) if len(pixels) else (0.0, 1.0)
