"""The token clock: valid epochs of a session cut into bins of equal width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neuroformer.errors import UserError
from neuroformer.session import Session

# A time written as frame / rate can fall a rounding error short of its bin; a millionth of a bin is let pass.
_TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """A stretch of valid recording with its own clock: bin k covers [start + k·bin_s, start + (k + 1)·bin_s).

    Attributes:
        start: seconds on the session's clock.
        bin_s: width of a bin in seconds.
        n_bins: whole bins in the epoch; a remainder shorter than a bin at its end is not used.

    >>> epoch = Epoch(start=2.0, bin_s=0.1, n_bins=5)
    >>> epoch.bin_of(np.array([1.99, 2.0, 2.3, 2.39]))
    array([-1,  0,  3,  3])
    """

    start: float
    bin_s: float
    n_bins: int

    def bin_of(self, times: np.ndarray) -> np.ndarray:
        """Bin of each time (seconds): int64, negative before the epoch."""
        return np.floor((times - self.start) / self.bin_s + _TOLERANCE).astype(np.int64)

    def time_of(self, bins: int | np.ndarray) -> float | np.ndarray:
        """Left edge of each bin, in seconds."""
        return self.start + bins * self.bin_s


def epochs_of(session: Session, bin_s: float) -> list[Epoch]:
    """The valid epochs of a session that hold at least one whole bin, in order of time.

    Args:
        session: the recording.
        bin_s: width of a bin in seconds.

    Raises:
        UserError: no epoch is as long as one bin.
    """
    epochs = []
    for start, stop in session.intervals:
        n_bins = int(np.floor((stop - start) / bin_s + _TOLERANCE))
        if n_bins > 0:
            epochs.append(Epoch(start=float(start), bin_s=bin_s, n_bins=n_bins))
    if not epochs:
        longest = float(np.max(np.diff(session.intervals)))
        raise UserError(
            f"{session.path}: no valid epoch holds a bin of {bin_s:g} s, the longest lasts {longest:g} s; "
            "lower data.bin_s or widen the session's intervals"
        )
    return epochs
