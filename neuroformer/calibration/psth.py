"""Responses to the stimuli of trials: mean count by time since onset, generated against recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neuroformer.calibration.activity import Activity, Blocks, Windows
from neuroformer.calibration.halves import Splits

LEAST_TRIALS = 4
"""Trials of a stimulus without which its responses are not compared."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trials:
    """Whole trials within the stretches, none overlapping another.

    Attributes:
        start: (K,) first bin of each, bins counted through the stretches, rising.
        n_bins: bins of the shortest; the others are compared as far as it reaches.
        stimulus: (K,) index into `labels`.
        labels: the stimuli.
    """

    start: np.ndarray
    n_bins: int
    stimulus: np.ndarray
    labels: tuple[str, ...]

    def windows(self, width: int, blocks: Blocks) -> Windows:
        """Windows of `width` bins from the onset of each trial; their condition is (stimulus, time since onset)."""
        n = self.n_bins // width
        start = (self.start[:, None] + np.arange(n) * width).ravel()
        condition = (self.stimulus[:, None] * n + np.arange(n)).ravel()
        return Windows(start=start, width=width, block=blocks.of(start), condition=condition)


@dataclass(frozen=True, kw_only=True, eq=False)
class Response:
    """How alike the responses to one stimulus are.

    Attributes:
        label: the stimulus.
        n_trials: how often it was shown.
        generated: (N,) r over time of a copy's half of the trials with the recording's other half, mean over splits,
            copies and sides; NaN for a unit whose response does not vary.
        ceiling: (N,) r of the recording's halves.
    """

    label: str
    n_trials: int
    generated: np.ndarray
    ceiling: np.ndarray


def responses(
    real: Activity,
    copies: Sequence[Activity],
    trials: Trials,
    *,
    width: int,
    n_splits: int,
    rng: np.random.Generator,
) -> list[Response]:
    """Compare the responses to each stimulus that was shown often enough.

    Args:
        real: the recording.
        copies: generated activity in the same stretches.
        trials: of the stretches.
        width: bins of a step of the response.
        n_splits: splits of a stimulus's trials in halves.
        rng: of the splits.
    """
    n = trials.n_bins // width
    start = (trials.start[:, None] + np.arange(n) * width).ravel()
    windows = Windows(start=start, width=width, block=np.repeat(np.arange(len(trials.start)), n))
    counts = [
        windows.counts(each).reshape(len(trials.start), n, real.n_units).astype(float)
        for each in (real, *copies)
    ]
    found = []
    for index, label in enumerate(trials.labels):
        shown = trials.stimulus == index
        if shown.sum() < LEAST_TRIALS:
            continue
        splits = Splits.draw(int(shown.sum()), n_splits, rng)
        (a, b), *others = [splits.of(each[shown]) for each in counts]
        sides = [over_time(x, y) for one, other in others for x, y in ((one, b), (other, a))]
        found.append(
            Response(
                label=label,
                n_trials=int(shown.sum()),
                generated=_mean(np.concatenate(sides)),
                ceiling=_mean(over_time(a, b)),
            )
        )
    return found


def over_time(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's r (R, N) of responses (R, time, N); NaN where one does not vary."""
    a, b = (x - x.mean(1, keepdims=True) for x in (a, b))
    with np.errstate(invalid="ignore", divide="ignore"):
        r: np.ndarray = (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return r


def _mean(r: np.ndarray) -> np.ndarray:
    known = np.isfinite(r)
    with np.errstate(invalid="ignore"):
        return np.where(known, r, 0).sum(0) / known.sum(0)
