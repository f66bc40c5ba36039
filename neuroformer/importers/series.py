"""Stimulus and behaviour variables of a recording."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from neuroformer.errors import UserError
from neuroformer.importers.array_file import ArrayFile
from neuroformer.importers.clocks import read_clock
from neuroformer.importers.mapping import Clock, Series
from neuroformer.session import TimeSeries

MISSING = -1  # code of a category that was not measured


def read_series(
    spec: Series, where: str, clock: Clock, trial_starts: np.ndarray | None, file: ArrayFile, notes: list[str]
) -> TimeSeries | None:
    """One variable, or None when it was not measured at all.

    Args:
        spec: What the mapping says of it.
        where: Its key in the mapping, for messages.
        clock: The recording's clock, for a variable without its own.
        trial_starts: Begin of each trial (trials,), seconds, for a variable with a value per trial.
        file: The recording.
        notes: Takes what was left out.

    Raises:
        UserError: Arrays that do not fit what the mapping says.
    """
    values = _columns(spec, where, file)
    if spec.per == "trial":
        if trial_starts is None or len(trial_starts) != len(values):
            found = "no trials" if trial_starts is None else f"{len(trial_starts)} trials"
            raise UserError(
                f"{where}: has {len(values)} rows, expected one a trial; the recording has {found}"
            )
        order = np.argsort(trial_starts, kind="stable")
        times, values = trial_starts[order], values[order]
    else:
        own = f"{where}.clock" if spec.clock is not None else "clock"
        ticks = read_clock(spec.clock or clock, file, own, notes, len(values))
        times, values = ticks.times, ticks.pick(values)
    if spec.kind == "frames":
        if values.ndim not in (3, 4):
            raise UserError(
                f"{where}: frames have shape {values.shape}, expected (samples, height, width[, colours])"
            )
        return TimeSeries(timestamps=times, values=values, kind="frames", unit=spec.unit)
    if values.ndim > 2:
        raise UserError(
            f"{where}: has shape {values.shape}, expected (samples,) or (samples, columns); or kind: frames"
        )
    if spec.kind == "categorical":
        codes, labels = _categories(values, spec, where)
        if (codes == MISSING).all():
            notes.append(f"{where}: never measured, left out")
            return None
        return TimeSeries(timestamps=times, values=codes, kind="categorical", unit=spec.unit, labels=labels)
    numbers = _numbers(values, spec, where, notes)
    if not np.isfinite(numbers).any():
        notes.append(f"{where}: never measured, left out")
        return None
    return TimeSeries(timestamps=times, values=numbers, kind="continuous", unit=spec.unit, period=spec.period)


def _columns(spec: Series, where: str, file: ArrayFile) -> np.ndarray:
    if bool(spec.key) == bool(spec.keys):
        raise UserError(f"{where}: expected either {where}.key or {where}.keys in the mapping")
    if spec.key:
        values = file.array(spec.key, f"{where}.key")
        if spec.kind != "frames" and values.ndim > 1 and sum(size != 1 for size in values.shape) <= 1:
            values = values.reshape(-1)  # MATLAB's (1, samples)
    else:
        columns = [file.vector(key, f"{where}.keys") for key in spec.keys]
        if len({len(column) for column in columns}) > 1:
            raise UserError(
                f"{where}.keys: found {[len(column) for column in columns]} rows, expected equally many"
            )
        values = np.stack(columns, axis=1)
    if values.ndim == 0 or not len(values):
        raise UserError(f"{where}: {spec.key or spec.keys} has no samples")
    return values


def _numbers(values: np.ndarray, spec: Series, where: str, notes: list[str]) -> np.ndarray:
    if values.dtype.kind not in "biuf":
        raise UserError(f"{where}: holds {values.dtype}, expected numbers; or say kind: categorical")
    numbers = values.astype(np.float64)
    unmeasured = ~np.isfinite(numbers) | np.isin(numbers, spec.missing)
    if spec.valid:
        low, high = spec.valid if len(spec.valid) == 2 else (np.nan, np.nan)
        if not low < high:
            raise UserError(f"{where}.valid: found {spec.valid}, expected [lowest, highest]")
        wild = ~unmeasured & ((numbers < low) | (numbers > high))
        if wild.any():
            count = np.count_nonzero(wild)
            notes.append(f"{where}: {count} of {wild.size} samples outside {low:g} … {high:g}, made missing")
        unmeasured |= wild
    numbers = numbers * spec.scale + spec.offset
    numbers[unmeasured] = np.nan
    return numbers.astype(np.float32)


def _categories(values: np.ndarray, spec: Series, where: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Codes (T,) or (T, D) int16, -1 where missing, and the categories' names."""
    text = values.dtype.kind == "U"
    unmeasured = np.isin(values, [""]) if text else ~np.isfinite(values) | np.isin(values, spec.missing)
    found = np.unique(values[~unmeasured])
    raw: list[Any] = list(spec.values) or (list(range(len(spec.labels))) if not text else list(spec.labels))
    if not raw:
        raw = found.tolist()
    labels = tuple(spec.labels) or tuple(_name(value) for value in raw)
    if len(labels) != len(raw):
        raise UserError(
            f"{where}: found {len(raw)} values and {len(labels)} labels, expected as many of both"
        )
    codes = np.full(values.shape, MISSING, dtype=np.int16)
    for code, value in enumerate(raw):
        codes[~unmeasured & (values == (str(value) if text else value))] = code
    strange = ~unmeasured & (codes == MISSING)
    if strange.any():
        stranger = values[strange][0].item()
        raise UserError(f"{where}.values: {stranger!r} is none of {raw}; add it, or list it under missing")
    return codes, labels


def _name(value: Any) -> str:
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if whole else str(value)


def blank(series: TimeSeries, spans: np.ndarray) -> TimeSeries | None:
    """`series` with its samples in any of `spans` (K, 2), seconds, made missing; None when none is left.

    Frames cannot be missing, so they are left out there.
    """
    times = series.timestamps[:, None]
    inside = ((times >= spans[:, 0]) & (times < spans[:, 1])).any(axis=1)
    if inside.all():
        return None
    if series.kind == "frames":
        return replace(series, timestamps=series.timestamps[~inside], values=series.values[~inside])
    values = series.values.copy()
    values[inside] = MISSING if series.kind == "categorical" else np.nan
    return replace(series, values=values)


def blank_all(group: Mapping[str, TimeSeries], spans: np.ndarray) -> dict[str, TimeSeries]:
    """Every series of `group` made missing in `spans`; those with nothing left are gone."""
    blanked = {name: blank(series, spans) for name, series in group.items()}
    return {name: series for name, series in blanked.items() if series is not None}
