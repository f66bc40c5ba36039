"""Drift: statistics of free-running activity by the time since its real past ended.

Time is cut into classes that grow by a constant factor. In each, generated and recorded activity are those of the
same bins of all stretches. The band is the range that recorded pieces of time reach that together are as long as the
class is in all stretches, drawn from anywhere in the recording.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from neuroformer.calibration.activity import Activity, Windows
from neuroformer.calibration.halves import LEVEL
from neuroformer.calibration.population import from_moments, moments

Measure = Literal["rate", "fano", "synchrony", "correlation"]
MEASURES: tuple[Measure, ...] = ("rate", "fano", "synchrony", "correlation")
_DRAWS = 400


@dataclass(frozen=True, kw_only=True, eq=False)
class Horizon:
    """Statistics by time since the prefix.

    Attributes:
        edges_s: (H + 1,) edges of the classes in seconds.
        seconds: (H,) recorded time in each class.
        real: by measure, (H,). The rate is that of the mean unit in Hz, for the others see `population.Moments`.
        generated: of all copies together.
        low: lower end of the band.
        high: upper end.
    """

    edges_s: np.ndarray
    seconds: np.ndarray
    real: dict[Measure, np.ndarray]
    generated: dict[Measure, np.ndarray]
    low: dict[Measure, np.ndarray]
    high: dict[Measure, np.ndarray]

    def table(self) -> dict[str, Any]:
        """As it is written to metrics.json."""
        return {
            "edges_s": self.edges_s,
            "seconds": self.seconds,
            **{
                name: {
                    "real": self.real[name],
                    "generated": self.generated[name],
                    "low": self.low[name],
                    "high": self.high[name],
                }
                for name in MEASURES
            },
        }


def drift(
    real: Activity,
    copies: Sequence[Activity],
    *,
    width: int,
    block: int,
    n_classes: int,
    rng: np.random.Generator,
) -> Horizon:
    """Follow the statistics from the end of the prefix.

    Args:
        real: the recording.
        copies: generated activity in the same stretches, each of which begins where its prefix ends.
        width: bins of the windows that events are counted in.
        block: longest piece, in bins, that the band is drawn in.
        n_classes: classes of time, at most.
        rng: of the band.
    """
    per_stretch = [length // width for length in real.lengths]
    first = np.cumsum([0, *real.lengths])[:-1]
    start = np.concatenate([f + np.arange(n) * width for f, n in zip(first, per_stretch, strict=True)])
    age = np.concatenate([np.arange(n) for n in per_stretch])
    windows = Windows(start=start, width=width, block=np.zeros(len(start), np.int64))
    edges = np.unique(np.round(np.geomspace(1, max(per_stretch), n_classes + 1)).astype(np.int64))
    edges[0] = 0
    kind = np.searchsorted(edges, age, side="right") - 1
    seconds = width * real.bin_s
    counts = moments(windows.counts(real))
    # A sum over many copies, without holding all their windows.
    generated = sum(_by_class(moments(windows.counts(copy)), kind, len(edges) - 1) for copy in copies)
    own = _by_class(counts, kind, len(edges) - 1)
    bands = [
        _band(counts, age, int((kind == k).sum()), int(edges[k + 1] - edges[k]), max(1, block // width), rng)
        for k in range(len(edges) - 1)
    ]
    measured = [_measure(x, seconds) for x in (own, np.asarray(generated))]
    ends = [_ends([_measure(band, seconds)[name] for band in bands]) for name in MEASURES]
    return Horizon(
        edges_s=edges * seconds,
        seconds=own[:, 0] * seconds,
        real=measured[0],
        generated=measured[1],
        low={name: end[0] for name, end in zip(MEASURES, ends, strict=True)},
        high={name: end[1] for name, end in zip(MEASURES, ends, strict=True)},
    )


def _by_class(values: np.ndarray, kind: np.ndarray, n: int) -> np.ndarray:
    return np.stack([values[kind == k].sum(0) for k in range(n)])


def _band(
    counts: np.ndarray, age: np.ndarray, total: int, longest: int, block: int, rng: np.random.Generator
) -> np.ndarray:
    """Sums (draws, K) over `total` windows, in pieces of windows that follow one another in a stretch."""
    # A piece must fit into its stretch: age + piece ≤ windows of the stretch.
    left = _windows_left(age)
    piece = min(longest, block, int(left.max()))
    places = np.flatnonzero(left >= piece)
    cumulated = np.concatenate([np.zeros((1, counts.shape[1])), np.cumsum(counts, 0)])
    n_pieces = max(1, round(total / piece))
    found = np.empty((_DRAWS, counts.shape[1]))
    for draw in range(_DRAWS):
        at = rng.choice(places, size=n_pieces)
        found[draw] = (cumulated[at + piece] - cumulated[at]).sum(0)
    return found


def _windows_left(age: np.ndarray) -> np.ndarray:
    """Windows from each to the end of its stretch, itself included."""
    last = np.append(age[1:] == 0, True)
    end = np.flatnonzero(last)[np.searchsorted(np.flatnonzero(last), np.arange(len(age)))]
    left: np.ndarray = end - np.arange(len(age)) + 1
    return left


def _measure(sums: np.ndarray, seconds: float) -> dict[Measure, np.ndarray]:
    n_units = (sums.shape[-1] - 3) // 2
    rate = sums[:, 1] / (sums[:, 0] * seconds * n_units)
    return {
        "rate": rate,
        "fano": from_moments(sums, "fano"),
        "synchrony": from_moments(sums, "synchrony"),
        "correlation": from_moments(sums, "correlation"),
    }


def _ends(draws: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    ends = np.full((2, len(draws)), np.nan)
    for k, values in enumerate(draws):
        known = values[np.isfinite(values)]
        if len(known):
            ends[:, k] = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return ends[0], ends[1]
