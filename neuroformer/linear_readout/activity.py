"""Activity of a session as a linear readout takes it: around every bin, or in windows of a trial.

Legend: T bins of a stretch, M trials, N units, K functions or windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from neuroformer.data import Recording, Span
from neuroformer.linear_readout.basis import Basis

Input = Literal["events", "traces"]
_HOLD = 1.5
"""Sample intervals for which a frame of the traces stands in where bins are shorter than frames."""
_FLOOR = 0.25
"""Least scale of a feature, in parts of the typical one: a nearly silent unit's few events are not blown up."""


def choose_input(recordings: Sequence[Recording], asked: str) -> Input:
    """Traces where they are asked for, or every session has them; else events."""
    if asked == "auto":
        return "traces" if all(r.session.has_traces for r in recordings) else "events"
    return "traces" if asked == "traces" else "events"


def read_activity(recording: Recording, span: Span, kind: Input) -> np.ndarray:
    """(T, N) events per bin, or traces (NaN where none, held for up to 1.5 frames where bins are shorter)."""
    if kind == "events":
        return recording.counts(span).astype(np.float64)
    found = recording.traces(span).astype(np.float64)
    info = recording.session.traces_info()
    most = int(np.ceil(_HOLD / (info.rate * recording.bin_s) - 1e-6)) - 1 if info.rate > 0 else 0
    return held(found, most)


def held(x: np.ndarray, most: int) -> np.ndarray:
    """(T, N) values with gaps of missing ones filled by the last value, for at most `most` bins.

    >>> held(np.array([[1.0], [np.nan], [np.nan], [2.0]]), 1)[:, 0]
    array([ 1.,  1., nan,  2.])
    """
    at = np.arange(len(x))[:, None]
    last = np.maximum.accumulate(np.where(np.isfinite(x), at, -1), axis=0)
    filled = np.take_along_axis(x, np.maximum(last, 0), axis=0)
    return np.where((last >= 0) & (at - last <= most), filled, np.nan)


@dataclass(frozen=True, kw_only=True, eq=False)
class Standard:
    """Mean and scale of each column over a session's training part, labelled or not."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, x: Sequence[np.ndarray]) -> Standard:
        """From (T, …) arrays; what is missing or never varies has scale 1 and mean 0 or its value."""
        pooled = np.concatenate(list(x))
        known = np.isfinite(pooled)
        n = np.maximum(known.sum(0), 1)
        mean = np.where(known, pooled, 0).sum(0) / n
        variance = (np.where(known, pooled - mean, 0) ** 2).sum(0) / n
        typical = float(np.sqrt(variance.mean()))
        floor = _FLOOR * typical if typical > 0 else 1.0
        return cls(mean=mean, scale=np.maximum(np.sqrt(variance), floor))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Standardised, 0 where missing."""
        found: np.ndarray = np.nan_to_num((x - self.mean) / self.scale, nan=0.0)
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class BinFeatures:
    """Features around every bin of a session.

    Attributes:
        recording: the session.
        kind: what is read.
        basis: of the window.
        standard: of the units' traces, or of the features of events.
    """

    recording: Recording
    kind: Input
    basis: Basis
    standard: Standard

    @classmethod
    def of(cls, recording: Recording, kind: Input, basis: Basis) -> BinFeatures:
        """Standardised over the training part."""
        parts = [read_activity(recording, span, kind) for span in recording.part("train")]
        if kind == "events":
            parts = [np.sqrt(basis(part)) for part in parts]
        return cls(recording=recording, kind=kind, basis=basis, standard=Standard.of(parts))

    def __call__(self, span: Span) -> np.ndarray:
        """(T, N, K); activity outside the span does not count."""
        x = read_activity(self.recording, span, self.kind)
        if self.kind == "events":
            return self.standard(np.sqrt(self.basis(x)))
        return self.basis(self.standard(x))


@dataclass(frozen=True, kw_only=True, eq=False)
class Trials:
    """Trials that a part of a session holds whole.

    Attributes:
        spans: bins of each of M trials.
        number: (M,) row of each in the trial table.
    """

    spans: list[Span]
    number: np.ndarray

    def __len__(self) -> int:
        """Number of trials M."""
        return len(self.spans)


def find_trials(recording: Recording, spans: Sequence[Span]) -> Trials:
    """Trials with a bin whose middle they hold, and that lie in one span from begin to end, in order of time."""
    begin = np.asarray(recording.session.trials["start"], float)
    end = np.asarray(recording.session.trials["stop"], float)
    order = np.argsort(begin, kind="stable")
    found, number = [], []
    for span in spans:
        epoch = recording.epochs[span.epoch]
        margin = 1e-6 * epoch.bin_s
        first, last = float(epoch.time_of(span.start)), float(epoch.time_of(span.stop))
        middle = np.asarray(epoch.time_of(np.arange(span.start, span.stop) + 0.5))
        # The last bin of an epoch may end before the trial does, by less than a bin.
        latest = last + margin + (epoch.bin_s if span.stop == epoch.n_bins else 0.0)
        for one in order[(begin[order] >= first - margin) & (end[order] <= latest)]:
            inside = np.flatnonzero((begin[one] <= middle) & (middle < end[one]))
            if len(inside):
                start = span.start + int(inside[0])
                found.append(Span(epoch=span.epoch, start=start, stop=start + len(inside)))
                number.append(int(one))
    return Trials(spans=found, number=np.array(number, int))


@dataclass(frozen=True, kw_only=True, eq=False)
class TrialFeatures:
    """Features of whole trials of a session: activity in K equal windows.

    Attributes:
        recording: the session.
        kind: what is read.
        windows: K.
        standard: of the features.
    """

    recording: Recording
    kind: Input
    windows: int
    standard: Standard

    @classmethod
    def of(cls, recording: Recording, kind: Input, windows: int) -> TrialFeatures:
        """Standardised over the trials of the training part."""
        trials = find_trials(recording, recording.part("train"))
        raw = window_means(recording, trials, kind, windows)
        if kind == "events":
            raw = np.sqrt(raw)
        standard = Standard.of([raw]) if len(raw) else Standard(mean=np.zeros(1), scale=np.ones(1))
        return cls(recording=recording, kind=kind, windows=windows, standard=standard)

    def __call__(self, trials: Trials) -> np.ndarray:
        """(M, N, K)."""
        raw = window_means(self.recording, trials, self.kind, self.windows)
        return self.standard(np.sqrt(raw) if self.kind == "events" else raw)


def window_means(recording: Recording, trials: Trials, kind: Input, windows: int) -> np.ndarray:
    """(M, N, K) mean events per bin, or traces, in equal windows of each trial."""
    found = np.full((len(trials), recording.session.n_units, windows), np.nan)
    for m, span in enumerate(trials.spans):
        x = read_activity(recording, span, kind)
        edges = np.linspace(0, len(x), windows + 1).round().astype(int)
        for k in range(windows):
            part = x[edges[k] : edges[k + 1]]
            known = np.isfinite(part)
            n = known.sum(0)
            found[m, :, k] = np.where(n > 0, np.where(known, part, 0).sum(0) / np.maximum(n, 1), np.nan)
    return found
