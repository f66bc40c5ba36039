"""Rules of the events and of the valid epochs."""

from collections.abc import Iterator

import numpy as np

from neuroformer.session import schema
from neuroformer.session.layout import Layout, kind_of, read
from neuroformer.session.rules.frame import Frame
from neuroformer.session.scan import (
    check_form,
    fault_where,
    is_stored,
    not_a_size,
    not_finite,
    tally,
    tally_times,
)
from neuroformer.session.types import Fault


def check_times(layout: Layout, frame: Frame) -> Iterator[Fault]:
    """Times are finite, in order, inside the recorded span, and there are some."""
    path = schema.TIMES
    if faults := list(check_form(layout, path, ("E",))):
        yield from faults
        return
    times = layout.arrays[path]
    if not times.shape[0]:
        cure = "check where its event times should come from, or leave this session out"
        yield Fault(path, "the session is empty (0 events), expected at least one event", cure)
    found = tally_times(times, strict=False, start=frame.start, stop=frame.stop)
    yield from found.infinite.fault(path, "are NaN or infinite", "remove these events")
    yield from found.unordered.fault(path, "are earlier than the row before", "sort the events by time")
    span = f"[{frame.start}, {frame.stop}) s"
    cure = "correct start and stop, or remove these events"
    yield from found.outside.fault(path, f"lie outside the recorded span {span}", cure)


def check_units(layout: Layout, frame: Frame) -> Iterator[Fault]:
    """Every event belongs to a unit."""
    path = schema.UNITS
    yield from check_form(layout, path, (frame.n_events,))
    units = layout.arrays.get(path)
    if units is None or kind_of(units) != "integer" or not units.shape or not is_stored(units):
        return
    top = np.inf if isinstance(frame.n_units, str) else frame.n_units
    bad = tally(units, lambda block: (block < 0) | (block >= top))
    highest = frame.n_units - 1 if isinstance(frame.n_units, int) else "n_units - 1"
    cure = "number the units from 0, or correct n_units"
    yield from bad.fault(path, f"are out of range, expected a unit index from 0 to {highest}", cure)


def check_amplitudes(layout: Layout, frame: Frame) -> Iterator[Fault]:
    """Every event has an amplitude of 0 or more, or none has one."""
    path = schema.AMPLITUDES
    if path not in layout.arrays:
        return
    faults = list(check_form(layout, path, (frame.n_events,)))
    yield from faults
    if not faults:
        bad = tally(layout.arrays[path], not_a_size)
        yield from bad.fault(path, "are negative, NaN or infinite", "correct them, or remove these events")


def check_intervals(layout: Layout, frame: Frame) -> Iterator[Fault]:
    """Valid epochs are of positive length, in order, apart, and inside the recorded span."""
    path = schema.INTERVALS
    if path not in layout.arrays:
        return
    if faults := list(check_form(layout, path, ("K", 2))):
        yield from faults
        return
    spans = read(layout.arrays[path])
    if not len(spans):
        yield Fault(path, "no valid epoch, expected at least one", "leave intervals out if all time is valid")
    start, stop = spans[:, 0], spans[:, 1]
    before = np.concatenate([[-np.inf], stop[:-1]])[: len(stop)]
    outside = (start < frame.start) | (stop > frame.stop)
    for bad, what, cure in (
        (not_finite(spans), "are NaN or infinite", "give their times or remove them"),
        (stop <= start, "have no or negative duration (stop before start)", "correct or remove them"),
        (
            start < before,
            "begin before the row before has ended",
            "sort the intervals and merge overlapping ones",
        ),
        (outside, f"lie outside the recorded span [{frame.start}, {frame.stop}] s", "cut them to the span"),
    ):
        yield from fault_where(path, bad, what, cure)
