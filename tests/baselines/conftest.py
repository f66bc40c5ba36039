"""Recordings small enough for brute force."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from neuroformer.data import Recording, SplitConfig
from neuroformer.session import Events, SessionData, write_session

BIN_S = 0.01
INTERVALS = np.array([[0.0, 20.0], [20.5, 41.3], [50.0, 70.0]])


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., Recording]:
    """A recording of 4 units and 3 intervals in which unit 0 drives unit 1; unit 3 never fires.

    `add` (E, 2) puts in more events, as (seconds, unit).
    """

    def make(name: str = "a", *, add: np.ndarray | None = None) -> Recording:
        rng = np.random.default_rng(0)
        times, units = [], []
        for start, stop in INTERVALS:
            n_bins = round((stop - start) / BIN_S)
            counts = np.zeros((n_bins, 4), int)
            for t in range(n_bins):
                rate = np.array([0.08, 0.03, 0.05, 0.0])
                rate[1] *= np.exp(1.8 * counts[max(0, t - 2) : t, 0].sum())
                rate *= np.exp(-2.0 * counts[max(0, t - 1) : t].sum(0))
                counts[t] = np.minimum(rng.poisson(rate), 3)
            bins, unit = counts.nonzero()
            times.append(start + (np.repeat(bins, counts[bins, unit]) + 0.5) * BIN_S)
            units.append(np.repeat(unit, counts[bins, unit]))
        if add is not None:
            times.append(add[:, 0])
            units.append(add[:, 1].astype(int))
        all_times, all_units = np.concatenate(times), np.concatenate(units).astype(np.int32)
        order = np.lexsort((all_units, all_times))
        session = SessionData(
            session_id=name,
            subject_id="mouse",
            start=0.0,
            stop=70.0,
            n_units=4,
            events=Events(times=all_times[order], units=all_units[order]),
            intervals=INTERVALS,
        )
        path = write_session(tmp_path / f"{name}.h5", session)
        return Recording(path, bin_s=BIN_S, split=SplitConfig(val=0.15, test=0.15), context_bins=10)

    return make
