"""Which code of amplitudes: by the held-out likelihood of the amplitudes, not of the codes.

    log p(a | unit) = log p(level(a) | unit) + log p(a | level(a))

A code with more levels always has the less likely levels; with the density of the amplitude within its level the two
are likelihoods of the same number. On the axis of log a, an inner level has a uniform density, the outermost fall off
exponentially, and a single level has a normal density; each integrates to 1, and so does the whole.

Legend: K levels, N units, E events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neuroformer.data import Part, Recording
from neuroformer.data.module import find_sessions
from neuroformer.data.tokens import LEVEL_EDGES
from neuroformer.errors import UserError
from neuroformer.settings.levels import LevelsConfig

_PRIOR = 10.0
"""Events that each unit is taken to have had at the frequencies of all units."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AmplitudeCode:
    """A code with its likelihood.

    Attributes:
        edges: (K − 1,) rising.
        log_frequency: (N, K) of each level in each unit.
        below: rate of the fall below the lowest edge, on the axis of log a; nan with one level.
        above: the same above the highest.
        centre: mean and standard deviation of log a; used with one level.
    """

    edges: np.ndarray
    log_frequency: np.ndarray
    below: float
    above: float
    centre: tuple[float, float]

    @classmethod
    def fit(cls, amplitudes: np.ndarray, units: np.ndarray, n_units: int, edges: np.ndarray) -> AmplitudeCode:
        """From events of the training part."""
        logs, level = np.log(amplitudes), np.searchsorted(edges, amplitudes, side="right")
        counts = np.zeros((n_units, len(edges) + 1))
        np.add.at(counts, (units, level), 1)
        pooled = (counts.sum(0) + 0.5) / (counts.sum() + 0.5 * counts.shape[1])
        frequency = (counts + _PRIOR * pooled) / (counts.sum(1, keepdims=True) + _PRIOR)
        below = above = float("nan")
        if len(edges):
            ends = np.log(edges[[0, -1]])
            below = 1 / max(float((ends[0] - logs[level == 0]).mean()), 1e-6)
            above = 1 / max(float((logs[level == len(edges)] - ends[1]).mean()), 1e-6)
        return cls(
            edges=edges,
            log_frequency=np.log(frequency),
            below=below,
            above=above,
            centre=(float(logs.mean()), max(float(logs.std()), 1e-6)),
        )

    def log_density(self, amplitudes: np.ndarray, units: np.ndarray) -> np.ndarray:
        """(E,) log p(a | unit) in nats, per unit of the amplitude."""
        logs, level = np.log(amplitudes), np.searchsorted(self.edges, amplitudes, side="right")
        if not len(self.edges):
            mean, deviation = self.centre
            within = -0.5 * ((logs - mean) / deviation) ** 2 - np.log(deviation * np.sqrt(2 * np.pi))
        else:
            ends = np.log(self.edges)
            widths = np.concatenate([[np.nan], np.diff(ends), [np.nan]])
            within = -np.log(widths[level])
            low, high = level == 0, level == len(ends)
            within[low] = np.log(self.below) - self.below * (ends[0] - logs[low])
            within[high] = np.log(self.above) - self.above * (logs[high] - ends[-1])
        found: np.ndarray = self.log_frequency[units, level] + within - logs  # da = a d log a
        return found


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One code over all sessions: nats per event of the validation and the test part."""

    code: str
    levels: int
    val: float
    test: float


def compare_levels(config: LevelsConfig) -> list[Compared]:
    """All codes, the best on the validation part first.

    Raises:
        UserError: a session has no amplitudes above 0.
    """
    sessions = []
    for path in find_sessions(config.sessions):
        recording = Recording(path, bin_s=config.bin_s, split=config.split, context_bins=0)
        parts: Sequence[Part] = ("train", "val", "test")
        sessions.append((recording.session.n_units, [_amplitudes(recording, part) for part in parts]))
    found = []
    for code in config.codes:
        for levels in config.levels:
            if levels == 1 and code != config.codes[0]:
                continue  # one level is one code
            nats, events = np.zeros(2), np.zeros(2)
            for n_units, (train, *held_out) in sessions:
                fitted = AmplitudeCode.fit(*train, n_units, LEVEL_EDGES[code](train[0], levels))
                for k, part in enumerate(held_out):
                    nats[k] += fitted.log_density(*part).sum()
                    events[k] += len(part[0])
            val, test = nats / events
            found.append(Compared(code=code, levels=levels, val=float(val), test=float(test)))
    return sorted(found, key=lambda one: -one.val)


def _amplitudes(recording: Recording, part: Part) -> tuple[np.ndarray, np.ndarray]:
    """Amplitudes (E,) and units (E,) of the events of a part."""
    amplitudes, units = [], []
    for span in recording.part(part):
        events = recording.events(span)
        if events.amplitudes is None:
            raise UserError(
                f"{recording.session.path}: its events have no amplitudes; there is nothing to code"
            )
        amplitudes.append(events.amplitudes.astype(np.float64))
        units.append(events.units)
    pooled = np.concatenate(amplitudes)
    if not len(pooled) or pooled.min() <= 0:
        raise UserError(
            f"{recording.session.path}: found {len(pooled)} events in the {part} part"
            + (f", the least amplitude {pooled.min():g}" if len(pooled) else "")
            + "; expected some, all with amplitudes above 0"
        )
    return pooled, np.concatenate(units)
