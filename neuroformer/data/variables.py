"""Stimulus and behaviour on the token clock: one value per bin, and whether it is known.

Nothing is filled in: a bin whose samples are missing is unknown. A value is held to the next sample where samples are
further apart than bins, and never longer, so that a bin knows its past and present only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np

from neuroformer.data.clock import Epoch
from neuroformer.errors import UserError
from neuroformer.session import Session
from neuroformer.session.types import SeriesInfo, TimeSeries
from neuroformer.settings.variables import CONDITION, VariableConfig

_FEW_NUMBERS = 12  # as many distinct values of a trial column are categories
_HOLD = 1.5  # sample intervals that a value holds
_SOME = 200  # samples that the interval is learned from


@dataclass(frozen=True, kw_only=True, eq=False)
class Binned:
    """A variable on the clock.

    Attributes:
        values: (T, D) float32, or (T,) int64 labels; 0 where unknown.
        known: (T,) bool.
    """

    values: np.ndarray
    known: np.ndarray

    def where(self, known: np.ndarray) -> Binned:
        """The same, known where `known` (T,) says so too, and 0 elsewhere."""
        known = self.known & known
        values = self.values.copy()
        values[~known] = 0
        return Binned(values=values, known=known)


@dataclass(frozen=True, kw_only=True, eq=False)
class Frames:
    """Frames at their own rate.

    Attributes:
        values: (S, C, H, W) float32.
        bins: (S,) int64, the bin in which each frame appears; of one that is there from before, that before.
    """

    values: np.ndarray
    bins: np.ndarray


@dataclass(frozen=True, kw_only=True)
class VariableEntry:
    """What a model keeps of a variable, learned from the training part of its sessions.

    Attributes:
        name: of the variable.
        settings: what it may be used for.
        kind: continuous, categorical or frames.
        shape: (D,) of a continuous variable, () of a categorical one, (C, H, W) of frames.
        unit: physical unit.
        labels: of a categorical variable.
        period: a full turn of a circular variable.
        mean: per dimension, in `unit`; of all pixels for frames.
        scale: standard deviation, likewise.
        lower: per dimension, lower limit of the range.
        upper: per dimension, upper limit.
        interval_s: the longest sample interval of its sessions.
    """

    name: str
    settings: VariableConfig
    kind: str
    shape: tuple[int, ...]
    unit: str = ""
    labels: tuple[str, ...] = ()
    period: float | None = None
    mean: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)
    lower: tuple[float, ...] = (0.0,)
    upper: tuple[float, ...] = (1.0,)
    interval_s: float = 0.0

    @property
    def is_input(self) -> bool:
        """Whether events may be predicted from it."""
        return self.settings.role != "target"

    @property
    def is_decoded(self) -> bool:
        """Whether it is predicted from events."""
        return self.settings.role != "context"


class VariableReader:
    """One variable of one session.

    Args:
        session: the session.
        name: of the variable.
        config: where it is read and when it counts.

    Raises:
        UserError: what is stored cannot be used as the settings say.
    """

    def __init__(self, session: Session, name: str, config: VariableConfig) -> None:
        """See the class."""
        self.session, self.config = session, config
        self.name = config.series or name
        self._codes: np.ndarray | None = None
        if config.source == "trials":
            self.info = self._trial_info()
        else:
            name = self.name
            names = session.behavior_names if config.source == "behavior" else session.stimulus_names
            if name not in names:
                raise UserError(
                    f"{session.path}: no {config.source} {name!r}; it has {', '.join(names) or 'none'}"
                )
            read = session.behavior_info if config.source == "behavior" else session.stimulus_info
            self.info = read(name)
        self._stored = self.info
        if config.cuts:
            self.info = self._cut_info()
        if self.info.kind == "categorical" and self.info.shape != ():
            raise UserError(
                f"{session.path}: {config.source} {name!r} has {self.info.shape[0]} categorical values per sample, "
                "expected one; store them as variables of their own"
            )
        if self.info.kind == "frames" and config.role != "context":
            raise UserError(
                f"data.variables.{name}.role={config.role}: frames are not decoded, use role=context"
            )
        self._conditions: dict[str, VariableReader] = {}
        if config.when:
            self._reader_of(config.when)  # refuses what cannot be asked
        if config.kind is not None and config.kind != self.info.kind and config.source != "trials":
            raise UserError(
                f"data.variables.{name}.kind={config.kind}: {session.path} says {self.info.kind}; leave the key out"
            )

    def use_labels(self, labels: tuple[str, ...]) -> None:
        """Count the categories as a model that knows these labels does, not as this session does."""
        self._codes = np.array([labels.index(label) for label in self.info.labels] or [0])

    def _cut_info(self) -> SeriesInfo:
        """Of a continuous variable cut into categories."""
        info, cuts = self.info, self.config.cuts
        if info.kind != "continuous" or int(np.prod(info.shape, dtype=int)) != 1:
            raise UserError(
                f"data.variables: {self.session.path}: {self.name!r} is {info.kind} of shape {info.shape}, cuts need a "
                "continuous variable with one value per sample"
            )
        ends = ["", *(f"{cut:g}" for cut in cuts), ""]
        labels = [
            f"{a} to {b}" if a and b else f"below {b}" if b else f"above {a}" for a, b in pairwise(ends)
        ]
        return replace(info, kind="categorical", shape=(), labels=tuple(labels), unit="", period=None)

    @staticmethod
    def stored(session: Session, name: str, config: VariableConfig) -> bool:
        """Whether the session has the variable."""
        name = config.series or name
        if config.source == "trials":
            return name in session.trials
        return name in (session.behavior_names if config.source == "behavior" else session.stimulus_names)

    @property
    def shape(self) -> tuple[int, ...]:
        """As `VariableEntry.shape`."""
        match self.info.kind:
            case "frames":
                height, width, *channels = self.info.shape
                return (channels[0] if channels else 1, height, width)
            case "categorical":
                return ()
        return (int(np.prod(self.info.shape, dtype=int)),)

    @cached_property
    def interval_s(self) -> float:
        """Seconds between samples; 0 for trials.

        Where nothing was sampled for long the mean interval is longer than that between neighbours, of which the
        median counts.
        """
        if self.config.source == "trials" or self.info.rate <= 0:
            return 0.0
        mean = 1 / self.info.rate
        times = self._read(self.info.first, self.info.first + _SOME * mean).timestamps
        return min(mean, float(np.median(np.diff(times)))) if len(times) > 10 else mean

    def binned(self, epoch: Epoch, start: int, stop: int) -> Binned:
        """Bins [start, stop) of an epoch, `start` ≥ 0."""
        found = (
            self._trials(epoch, start, stop)
            if self.config.source == "trials"
            else self._series(epoch, start, stop)
        )
        if self.config.cuts:
            cut = np.searchsorted(self.config.cuts, found.values[:, 0], side="right")
            found = replace(found, values=np.where(found.known, cut, 0))
        if self._codes is not None and self.info.kind == "categorical":
            found = replace(found, values=np.where(found.known, self._codes[found.values], 0))
        if not self.config.when:
            return found
        return found.where(self.holds(self.config.when, epoch, start, stop))

    def frames(self, epoch: Epoch, start: int, stop: int) -> Frames:
        """The frames that appear in bins [start, stop) of an epoch, and those not long before.

        These are the one that stands at the start and the two before it, for encoders that see changes.
        """
        margin = 1e-3 * epoch.bin_s
        first = float(epoch.time_of(start)) - 3 * _HOLD * self.interval_s
        series = self._read(max(first, float(epoch.start)) - margin, float(epoch.time_of(stop)))
        values = series.values.astype(np.float32)
        values = values[:, None] if values.ndim == 3 else values.transpose(0, 3, 1, 2)
        bins = epoch.bin_of(series.timestamps)
        kept = (bins >= 0) & (bins < stop) & np.isfinite(values).all((1, 2, 3))
        kept[:-1] &= bins[1:] > bins[:-1]  # of several frames in a bin the last
        if self.config.when and kept.any():
            low = int(bins[kept][0])
            kept[kept] = self.holds(self.config.when, epoch, low, stop)[bins[kept] - low]
        return Frames(values=values[kept], bins=bins[kept])

    def _read(self, start: float, stop: float) -> TimeSeries:
        read = self.session.behavior if self.config.source == "behavior" else self.session.stimulus
        return read(self.name, start, stop)

    def _series(self, epoch: Epoch, start: int, stop: int) -> Binned:
        hold_s = _HOLD * self.interval_s
        first, last = float(epoch.time_of(start)), float(epoch.time_of(stop))
        margin = 1e-3 * epoch.bin_s
        series = self._read(max(first - hold_s, float(epoch.start)) - margin, last + margin)
        n_bins, at = stop - start, epoch.bin_of(series.timestamps) - start
        values = series.values.reshape(len(series), int(np.prod(self.info.shape, dtype=int)))
        categorical = series.kind == "categorical"  # as stored: cuts come later
        good = (values[:, 0] >= 0) if categorical else np.isfinite(values).all(1)
        inside = (at >= 0) & (at < n_bins)
        # The last sample of each bin, of an earlier one where the bin has none: it holds for `hold_s`.
        newest = np.full(n_bins, -1)
        np.maximum.at(newest, at[inside], np.nonzero(inside)[0])
        before = np.nonzero((at < 0) & (at >= -start))[0]
        newest[0] = max(newest[0], before[-1] if len(before) else -1)
        empty = np.bincount(at[inside], minlength=n_bins)[:n_bins] == 0
        newest = np.maximum.accumulate(newest)
        edge = first + np.arange(n_bins) * epoch.bin_s
        known = newest >= 0
        if len(series):
            held_s = edge - series.timestamps[newest]
            known &= np.where(empty, held_s < hold_s - margin, True) & good[newest]
        if categorical:
            labels = np.zeros(n_bins, np.int64)
            labels[known] = values[newest[known], 0]
            return Binned(values=labels, known=known)
        found = np.zeros((n_bins, values.shape[1]), np.float32)
        if len(series):
            held = known & empty
            found[held] = values[newest[held]]
            if series.period is not None:
                found[held] %= series.period
            use = inside & good
            mean, some = self._bin_means(values[use], at[use], n_bins, series.period)
            found[some] = mean[some]
            known = np.where(empty, known, some)
            found[~known] = 0
        return Binned(values=found, known=known)

    @staticmethod
    def _bin_means(
        values: np.ndarray, at: np.ndarray, n_bins: int, period: float | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean of the samples of each bin (of their directions, if circular), and where there are any."""
        n = np.bincount(at, minlength=n_bins)
        if period is None:
            parts = [values]
        else:
            angle = values * (2 * np.pi / period)
            parts = [np.cos(angle), np.sin(angle)]
        sums = []
        for part in parts:
            total = np.zeros((n_bins, values.shape[1]))
            np.add.at(total, at, part)
            sums.append(total / np.maximum(n, 1)[:, None])
        if period is None:
            return sums[0], n > 0
        return np.arctan2(sums[1], sums[0]) % (2 * np.pi) * (period / (2 * np.pi)), n > 0

    @cached_property
    def _trial_codes(self) -> tuple[np.ndarray, np.ndarray]:
        """(K,) value or label of each trial, and whether it is known."""
        column = self.session.trials[self.name]
        if self._stored.kind == "continuous":
            return column.astype(np.float32), np.isfinite(column.astype(float))
        text = np.array([_label(v) for v in column])
        return np.searchsorted(np.array(self._stored.labels), text), text != ""

    def _trial_info(self) -> SeriesInfo:
        trials = self.session.trials
        if self.name not in trials:
            raise UserError(
                f"{self.session.path}: no column {self.name!r} of trials/; it has {', '.join(trials) or 'none'}"
            )
        column = trials[self.name]
        numbers = column.dtype.kind in "iufb"
        if column.ndim > 1 or not (numbers or column.dtype.kind in "OSU"):
            raise UserError(f"{self.session.path}: trials/{self.name}: expected one number or word per trial")
        labels = sorted({_label(v) for v in column} - {""})
        many = len(labels) > _FEW_NUMBERS or bool(self.config.cuts)
        kind = self.config.kind or ("continuous" if numbers and many else "categorical")
        if kind == "continuous" and not numbers:
            raise UserError(
                f"data.variables.{self.name}.kind=continuous: {self.session.path} has words there"
            )
        return SeriesInfo(n_samples=len(column), shape=(), dtype=column.dtype,
                          kind="continuous" if kind == "continuous" else "categorical", unit="",
                          labels=tuple(labels) if kind == "categorical" else (), period=None,
                          first=0.0, last=0.0)  # fmt: skip

    def _trials(self, epoch: Epoch, start: int, stop: int) -> Binned:
        values, good = self._trial_codes
        begin, end = self.session.trials["start"], self.session.trials["stop"]
        if not len(begin):
            width = () if self._stored.kind == "categorical" else (1,)
            none = np.zeros((stop - start, *width), np.float32 if width else np.int64)
            return Binned(values=none, known=np.zeros(stop - start, bool))
        middle = np.asarray(epoch.time_of(np.arange(start, stop))) + 0.5 * epoch.bin_s
        order = np.argsort(begin, kind="stable")
        trial = order[np.clip(np.searchsorted(begin[order], middle, side="right") - 1, 0, None)]
        known = (begin[trial] <= middle) & (middle < end[trial]) & good[trial]
        found = np.where(known, values[trial], 0)
        if self._stored.kind == "categorical":
            return Binned(values=found.astype(np.int64), known=known)
        return Binned(values=found.astype(np.float32)[:, None], known=known)

    def _reader_of(self, condition: str) -> VariableReader:
        """Of the variable that a condition is about."""
        match = CONDITION.fullmatch(condition)
        assert match is not None
        if condition not in self._conditions:
            kind: Literal["continuous"] | None = "continuous" if self.config.source == "trials" else None
            other = replace(self.config, when="", role="context", kind=kind, series="", cuts=[])
            reader = VariableReader(self.session, match["name"], other)
            if reader.info.kind != "continuous":
                raise UserError(
                    f"when={condition!r}: {match['name']!r} is {reader.info.kind} in {self.session.path}, expected "
                    "numbers to compare with"
                )
            self._conditions[condition] = reader
        return self._conditions[condition]

    def holds(self, condition: str, epoch: Epoch, start: int, stop: int) -> np.ndarray:
        """(T,) bool: where a condition on a variable of the same source is known to hold."""
        match = CONDITION.fullmatch(condition)
        assert match is not None
        found = self._reader_of(condition).binned(epoch, start, stop)
        values = np.abs(found.values[:, 0]) if match["abs"] else found.values[:, 0]
        compare = {">": np.greater, "<": np.less, ">=": np.greater_equal, "<=": np.less_equal}[match["sign"]]
        result: np.ndarray = found.known & compare(values, float(match["number"]))
        return result


def _label(value: object) -> str:
    """Name of a trial's category; empty where it is missing."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:g}"
    return str(value)
