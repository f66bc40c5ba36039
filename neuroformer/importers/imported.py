"""What every importer gives, and what they share."""

from dataclasses import dataclass

import numpy as np

from neuroformer.session import Events, SessionData

LAST_EVENT_S = 0.001  # recorded time granted after the last spike, when nothing else tells the end


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A recording, read.

    Attributes:
        data: the session.
        notes: what was mended, estimated or left out, a line each.
    """

    data: SessionData
    notes: tuple[str, ...] = ()


def just_after(time: float) -> float:
    """The end of a recording whose last event is at `time`, seconds."""
    return time + LAST_EVENT_S


def crop(events: Events, start: float, stop: float, notes: list[str]) -> Events:
    """The events in [start, stop), seconds; says in `notes` how many were left out."""
    inside = (events.times >= start) & (events.times < stop)
    if inside.all():
        return events
    notes.append(f"{np.count_nonzero(~inside)} events outside the recorded {start:g} to {stop:g} s, left out")
    return Events(
        times=events.times[inside],
        units=events.units[inside],
        amplitudes=None if events.amplitudes is None else events.amplitudes[inside],
    )


def tidy_spans(spans: np.ndarray, start: float, stop: float) -> np.ndarray:
    """Stretches (K, 2), seconds, in order, within [start, stop), and each cut where the next one begins."""
    spans = np.clip(spans[np.argsort(spans[:, 0], kind="stable")], start, stop)
    spans[:-1, 1] = np.minimum(spans[:-1, 1], spans[1:, 0])
    return spans[spans[:, 1] > spans[:, 0]]
