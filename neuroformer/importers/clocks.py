"""From sample numbers to seconds."""

from dataclasses import dataclass

import numpy as np

from neuroformer.errors import UserError
from neuroformer.importers.array_file import ArrayFile
from neuroformer.importers.mapping import Clock

# A step between samples that is longer than so many usual ones is a gap in the recording.
GAP_STEPS = 5.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Ticks:
    """The samples of a clock, in order of time.

    Attributes:
        times: (T,) float64, seconds, strictly increasing: the stamp of each sample.
        edges: (T + 1,) float64, seconds: sample i stands for the time from edge i to edge i + 1.
        step: usual time between samples, seconds.
        rows: (T,) the rows of the file's arrays that these samples are; None when they are all, in order.
    """

    times: np.ndarray
    edges: np.ndarray
    step: float
    rows: np.ndarray | None = None

    def pick(self, values: np.ndarray) -> np.ndarray:
        """The rows of `values` (samples of the file, ...) that belong to these samples."""
        return values if self.rows is None else values[self.rows]

    @property
    def middles(self) -> np.ndarray:
        """Middle of each sample (T,), seconds: there events of a frame are put, off the borders of bins."""
        return self.edges[:-1] + np.minimum(np.diff(self.edges), self.step) / 2

    def stretches(self) -> np.ndarray:
        """The stretches without a gap: (K, 2) float64, seconds, [start, stop)."""
        cuts = np.flatnonzero(np.diff(self.times) > GAP_STEPS * self.step) + 1
        first, last = np.r_[0, cuts], np.r_[cuts, len(self.times)] - 1
        stop = np.minimum(self.edges[last + 1], self.times[last] + self.step)
        stop[-1] = self.edges[-1]
        return np.stack([self.edges[first], stop], axis=1)


def read_clock(clock: Clock, file: ArrayFile, where: str, notes: list[str], n: int | None = None) -> Ticks:
    """The samples of a clock.

    Args:
        clock: What the mapping says.
        file: The recording.
        where: The clock's key in the mapping, for messages.
        notes: Takes what was mended: times out of order are sorted, samples at the same time dropped but for
            the first.
        n: Number of samples, where an array on this clock shows it.

    Raises:
        UserError: No or two sources of times, a time that is NaN, or a number of samples that disagrees with
            `n`.
    """
    if bool(clock.timestamps) == (clock.rate is not None):
        raise UserError(f"{where}: expected either {where}.timestamps or {where}.rate in the mapping")
    if clock.timestamps:
        return _listed(clock, file, where, notes, n)
    assert clock.rate is not None
    rate = file.number(clock.rate, f"{where}.rate")
    if not rate > 0:
        raise UserError(f"{where}.rate: found {rate} samples per second, expected more than 0")
    samples = n if clock.samples is None else int(file.number(clock.samples, f"{where}.samples"))
    if samples is None or samples < 1:
        raise UserError(
            f"{where}.samples: found {samples}, expected the number of samples; give a number or a key"
        )
    if n is not None and samples != n:
        raise UserError(f"{where}.samples: is {samples}, but an array on this clock has {n} rows")
    edges = file.number(clock.start, f"{where}.start") + np.arange(samples + 1) / rate
    return Ticks(times=(edges[:-1] + edges[1:]) / 2, edges=edges, step=1 / rate)


def _listed(clock: Clock, file: ArrayFile, where: str, notes: list[str], n: int | None) -> Ticks:
    times = file.times(clock.timestamps, f"{where}.timestamps", clock.scale)
    if n is not None and len(times) != n:
        raise UserError(
            f"{where}.timestamps: {clock.timestamps!r} has {len(times)} times, but an array on this clock "
            f"has {n} rows; expected one time a row"
        )
    if len(times) < 2:
        raise UserError(
            f"{where}.timestamps: {clock.timestamps!r} has {len(times)} times, expected two or more"
        )
    return ordered_ticks(times, f"{where}.timestamps {clock.timestamps!r}", notes)


def ordered_ticks(times: np.ndarray, what: str, notes: list[str]) -> Ticks:
    """Ticks from listed `times` (T,), seconds: sorted, one sample a time; `what` names them in `notes`."""
    order = np.argsort(times, kind="stable")
    if not np.array_equal(order, np.arange(len(times))):
        notes.append(f"{what}: not in order, samples sorted by time")
    new = np.r_[True, np.diff(times[order]) > 0]
    if not new.all():
        notes.append(f"{what}: {np.count_nonzero(~new)} samples at the time of another, left out")
    rows = order[new]
    kept = times[rows]
    step = float(np.median(np.diff(kept))) if len(kept) > 1 else 1.0
    return Ticks(
        times=kept,
        edges=np.r_[kept, kept[-1] + step],
        step=step,
        rows=None if np.array_equal(rows, np.arange(len(times))) else rows,
    )
