"""A recording as plain arrays: features, labels and trials of contiguous stretches, for decoders that know no files.

Legend: T bins of a stretch, L bins of lead-in before it, N units, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuroformer.baselines.decoding import Target
from neuroformer.data import Recording, Span
from neuroformer.data.variables import Binned, VariableEntry, VariableReader
from neuroformer.errors import UserError
from neuroformer.settings.variables import CONDITION, VariableConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class Stretches:
    """A part of a recording.

    Attributes:
        spans: contiguous stretches.
        time: (T,) middle of each bin in seconds, of each stretch.
        x: (L + T, N) float32 events per bin of each stretch, the lead-in before it.
        lead: L of each stretch.
    """

    spans: list[Span]
    time: list[np.ndarray]
    x: list[np.ndarray]
    lead: list[int]

    def cut(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Arrays (L + T, …) without the lead-in."""
        return [array[lead:] for array, lead in zip(arrays, self.lead, strict=True)]

    def led(self, arrays: Sequence[np.ndarray], fill: float) -> list[np.ndarray]:
        """Arrays (T, …) with `fill` in the lead-in."""
        return [
            np.concatenate([np.full((lead, *array.shape[1:]), fill, array.dtype), array])
            for array, lead in zip(arrays, self.lead, strict=True)
        ]


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """A variable in a part of a recording.

    Attributes:
        values: (T, D) float64, or (T,) int64 classes, of each stretch; NaN or -1 where not scored.
        known: (T,) bool of each stretch: the label is known and the condition holds.
    """

    values: list[np.ndarray]
    known: list[np.ndarray]

    @property
    def n_known(self) -> int:
        """Labelled bins."""
        return int(sum(map(np.count_nonzero, self.known)))

    def flat(self) -> tuple[np.ndarray, np.ndarray]:
        """All stretches put together: values and known."""
        return np.concatenate(self.values), np.concatenate(self.known)


def make_target(entry: VariableEntry) -> Target:
    """A decoded variable as the baselines know it."""
    categorical = entry.kind == "categorical"
    return Target(
        name=entry.name,
        kind="categorical" if categorical else "continuous",
        period=entry.period,
        labels=entry.labels,
        unit=entry.unit,
    )


def read_stretches(recording: Recording, spans: Sequence[Span], *, lead: int = 0) -> Stretches:
    """Events of some spans.

    Args:
        recording: the session.
        spans: contiguous stretches.
        lead: bins before each span that decoders may look back on, as far as the epoch reaches; between parts they lie
            in the gap that belongs to none.
    """
    times, x, leads = [], [], []
    for span in spans:
        first = max(0, span.start - lead)
        epoch = recording.epochs[span.epoch]
        times.append(np.asarray(epoch.time_of(np.arange(span.start, span.stop) + 0.5)))
        counts = recording.counts(Span(epoch=span.epoch, start=first, stop=span.stop))
        x.append(counts.astype(np.float32))
        leads.append(span.start - first)
    return Stretches(spans=list(spans), time=times, x=x, lead=leads)


def read_truth(
    recording: Recording, name: str, spans: Sequence[Span], *, when: str = "", all_labels: bool = True
) -> Truth:
    """Labels of some spans.

    Args:
        recording: the session, which has the variable.
        name: of the variable.
        spans: contiguous stretches.
        when: condition that a bin must meet.
        all_labels: whether labels that the run's settings take from the training part are known too.
    """
    values, known = [], []
    for span in spans:
        found: Binned = recording.variable(name, span, all_labels=all_labels)
        there = found.known.copy()
        if when:
            there &= holds(recording, when, span)
        if found.values.ndim == 1:
            values.append(np.where(there, found.values, -1).astype(np.int64))
        else:
            values.append(np.where(there[:, None], found.values.astype(np.float64), np.nan))
        known.append(there)
    return Truth(values=values, known=known)


def holds(recording: Recording, when: str, span: Span) -> np.ndarray:
    """(T,) bool: where a condition on any series or trial column of the session is known to hold.

    Raises:
        UserError: the session has no such variable, or not one number per sample.
    """
    match = CONDITION.fullmatch(when)
    assert match is not None
    name = match["name"]
    sources: tuple[Any, ...] = ("behavior", "stimulus", "trials")
    for source in sources:
        config = VariableConfig(source=source, role="context")
        if VariableReader.stored(recording.session, name, config):
            reader = VariableReader(recording.session, name, config)
            if reader.info.kind != "continuous" and source != "trials":
                raise UserError(
                    f"when={when!r}: {name!r} is {reader.info.kind} in {recording.session.path}; "
                    "name a series of numbers"
                )
            return reader.holds(when, recording.epochs[span.epoch], span.start, span.stop)
    there = ", ".join([*recording.session.behavior_names, *recording.session.stimulus_names]) or "none"
    raise UserError(f"when={when!r}: {recording.session.path} has no variable {name!r}; it has {there}")


def read_trials(recording: Recording, spans: Sequence[Span]) -> list[np.ndarray]:
    """(T,) trial of each bin of each span, −1 outside trials and in trials that a span does not hold whole.

    A bin belongs to the trial that its middle lies in.
    """
    begin = np.asarray(recording.session.trials["start"], float)
    end = np.asarray(recording.session.trials["stop"], float)
    order = np.argsort(begin, kind="stable")
    found = []
    for span in spans:
        epoch = recording.epochs[span.epoch]
        middle = np.asarray(epoch.time_of(np.arange(span.start, span.stop) + 0.5))
        at = order[np.clip(np.searchsorted(begin[order], middle, side="right") - 1, 0, None)]
        first, last = float(epoch.time_of(span.start)), float(epoch.time_of(span.stop))
        margin = 1e-6 * epoch.bin_s
        whole = (begin[at] >= first - margin) & (end[at] <= last + margin)
        inside = (begin[at] <= middle) & (middle < end[at]) & whole
        found.append(np.where(inside, at, -1))
    return found
