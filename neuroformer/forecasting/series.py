"""Activity of a session on the clock of the bins, and the rows that forecasts are made from.

An origin is the last bin that a forecast knows; horizon h is the h-th bin after it. Everything here that stands for an
origin is made of bins up to it.

Legend: T bins of an epoch, N units, R rows (origins), K averages, H longest horizon.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.signal import lfilter

from neuroformer.data import Part, Recording, Span
from neuroformer.errors import UserError

Kind = Literal["traces", "counts"]
_LEAST_ROWS = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Origins in order of time.

    Attributes:
        epoch: (R,) of the session.
        at: (R,) bin of the epoch; the last one that is known.
        stop: (R,) end of the span in which targets may lie.
    """

    epoch: np.ndarray
    at: np.ndarray
    stop: np.ndarray

    def __len__(self) -> int:
        """Number of origins R."""
        return len(self.at)

    def __getitem__(self, which: np.ndarray | slice) -> Rows:
        """Some of them."""
        return Rows(epoch=self.epoch[which], at=self.at[which], stop=self.stop[which])


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """A session's activity, standardised by its training part.

    Attributes:
        recording: the session.
        kind: traces or counts.
        values: of each epoch (T, N); a missing bin holds the last known value, 0 before there is one.
        known: of each epoch (T, N) bool, whether a bin was measured.
        first: of each epoch, the first bin in which any unit is known.
        mean: (N,) of the training part.
        scale: (N,) standard deviation of the training part; 1 for a unit that never varies there.
    """

    recording: Recording
    kind: Kind
    values: list[np.ndarray]
    known: list[np.ndarray]
    first: list[int]
    mean: np.ndarray
    scale: np.ndarray

    @property
    def n_units(self) -> int:
        """Number of units N."""
        return len(self.mean)

    @property
    def rate(self) -> np.ndarray:
        """(N,) mean of the training part as stored; of counts with half an event added, so that none is 0."""
        if self.kind == "traces":
            return self.mean
        n_bins = sum(len(span) for span in self.recording.part("train"))
        return np.maximum(self.mean, 0.5 / n_bins)

    def stored(self, values: np.ndarray) -> np.ndarray:
        """Standardised values (…, N) in the file's unit."""
        return values * self.scale + self.mean

    def origins(self, part: Part, horizon: int, *, stride: int = 1) -> Rows:
        """Origins all of whose horizons lie in the part; the first of a span is the bin before it.

        Raises:
            UserError: there are none.
        """
        found = [
            (span.epoch, np.arange(max(span.start - 1, self.first[span.epoch]), span.stop - horizon, stride), span)
            for span in self.recording.part(part)
        ]  # fmt: skip
        rows = _rows(found)
        if not len(rows):
            longest = max(len(span) for span in self.recording.part(part))
            raise UserError(
                f"{self.recording.session.path}: no stretch of the {part} part is as long as horizon={horizon} bins, "
                f"the longest has {longest}; lower horizon or widen the part (split.{part})"
            )
        return rows

    def fitting_rows(self, part: Part, most: int) -> Rows:
        """Origins within a part that is fitted to or chosen on, evenly thinned to at most `most`."""
        found = [
            (span.epoch, np.arange(max(span.start, self.first[span.epoch]), span.stop - 1), span)
            for span in self.recording.part(part)
        ]
        rows = _rows(found)
        return rows[:: max(1, -(-len(rows) // most))]

    def reach(self, rows: Rows, horizon: int) -> np.ndarray:
        """Indices of the rows whose target lies in their span and was measured in every unit that ever is.

        Raises:
            UserError: they are fewer than 20.
        """
        inside: np.ndarray = rows.at + horizon < rows.stop
        ever = np.asarray(np.stack([known.any(0) for known in self.known]).any(0))
        for epoch, known in enumerate(self.known):
            whole = np.asarray(known[:, ever].all(1))
            here = np.flatnonzero(inside & (rows.epoch == epoch))
            inside[here] = whole[rows.at[here] + horizon]
        if inside.sum() < _LEAST_ROWS:
            raise UserError(
                f"{self.recording.session.path}: {int(inside.sum())} bins of the training or validation part can be "
                f"forecast {horizon} bins ahead, expected {_LEAST_ROWS} or more; lower horizon, widen both in split, "
                "or use a longer recording"
            )
        return np.flatnonzero(inside)

    def targets(self, rows: Rows, horizon: int) -> np.ndarray:
        """(R, N) standardised activity `horizon` bins after each origin, NaN where not measured."""
        return self._at(rows, horizon, missing=True)

    def last(self, rows: Rows, back: int = 0) -> np.ndarray:
        """(R, N) standardised activity `back` bins before each origin; before the epoch's start its first bin."""
        return self._at(rows, -back, missing=False)

    def _at(self, rows: Rows, shift: int, *, missing: bool) -> np.ndarray:
        found = np.empty((len(rows), self.n_units))
        for epoch, values in enumerate(self.values):
            here = rows.epoch == epoch
            bins = np.maximum(rows.at[here] + shift, self.first[epoch])
            found[here] = values[bins]
            if missing:
                found[here] = np.where(self.known[epoch][bins], values[bins], np.nan)
        return found

    def averages(self, rows: Rows, constants: Sequence[float]) -> np.ndarray:
        """(R, N, K) exponential averages of the past up to each origin.

        Those of traces begin with the first measured bin, those of counts with the training mean.

        Args:
            rows: origins.
            constants: time constants in bins.
        """
        found = np.empty((len(rows), self.n_units, len(constants)))
        for epoch, values in enumerate(self.values):
            here = rows.epoch == epoch
            if not here.any():
                continue
            x = values[self.first[epoch] :]
            for k, constant in enumerate(constants):
                keep = np.exp(-1 / constant)
                before = x[:1] if self.kind == "traces" else np.zeros((1, self.n_units))
                smooth, _ = lfilter([1 - keep], [1, -keep], x, axis=0, zi=keep * before)
                found[here, :, k] = smooth[rows.at[here] - self.first[epoch]]
        return found


def read_series(recording: Recording, kind: Kind) -> Series:
    """Read a whole session.

    Raises:
        UserError: it has no traces, or none in the training part.
    """
    raw = []
    for number, epoch in enumerate(recording.epochs):
        span = Span(epoch=number, start=0, stop=epoch.n_bins)
        raw.append(
            (recording.traces(span) if kind == "traces" else recording.counts(span)).astype(np.float64)
        )
    train = np.concatenate([raw[span.epoch][span.start : span.stop] for span in recording.part("train")])
    known = np.isfinite(train)
    if not known.any():
        raise UserError(
            f"{recording.session.path}: no trace in the training part; widen it, or use target=counts"
        )
    n = np.maximum(known.sum(0), 1)
    mean = np.where(known, train, 0).sum(0) / n
    scale = np.sqrt((np.where(known, train - mean, 0) ** 2).sum(0) / n)
    scale = np.where(scale > 1e-9 * np.maximum(1.0, np.abs(mean)), scale, 1.0)
    masks = [np.isfinite(x) for x in raw]
    return Series(
        recording=recording,
        kind=kind,
        values=[_held((x - mean) / scale) for x in raw],
        known=masks,
        first=[int(mask.any(1).argmax()) for mask in masks],
        mean=mean,
        scale=scale,
    )


def _held(x: np.ndarray) -> np.ndarray:
    """(T, N) with missing values filled by the last known one, 0 before the first."""
    at = np.arange(len(x))[:, None]
    last = np.maximum.accumulate(np.where(np.isfinite(x), at, -1), axis=0)
    found: np.ndarray = np.where(last >= 0, np.take_along_axis(x, np.maximum(last, 0), axis=0), 0.0)
    return found


def _rows(found: Sequence[tuple[int, np.ndarray, Span]]) -> Rows:
    return Rows(
        epoch=np.concatenate([np.full(len(at), epoch, np.int64) for epoch, at, _ in found]),
        at=np.concatenate([at.astype(np.int64) for _, at, _ in found]),
        stop=np.concatenate([np.full(len(at), span.stop, np.int64) for _, at, span in found]),
    )
