"""Small sessions to forecast."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from neuroformer.data import Recording
from neuroformer.forecasting.problem import Problem
from neuroformer.forecasting.series import Kind, read_series
from neuroformer.session import Events, SessionData, TimeSeries, write_session
from neuroformer.settings.data import SplitConfig


@pytest.fixture
def make_session(tmp_path: Path) -> Callable[..., Path]:
    """`make_session(traces)` or `make_session(counts=...)`: a session file with bins of 1 s."""

    def make(
        traces: np.ndarray | None = None,
        *,
        counts: np.ndarray | None = None,
        name: str = "a",
        trials: dict[str, np.ndarray] | None = None,
        stimulus: dict[str, TimeSeries] | None = None,
    ) -> Path:
        given = traces if traces is not None else counts
        assert given is not None
        n_bins, n_units = given.shape
        bins, units = np.nonzero(counts) if counts is not None else (np.zeros(1, int), np.zeros(1, int))
        times = np.array(counts[bins, units], int) if counts is not None else np.ones(1, int)
        data = SessionData(
            session_id=name,
            subject_id=name,
            start=0.0,
            stop=float(n_bins),
            n_units=n_units,
            events=Events(times=np.repeat(bins + 0.5, times), units=np.repeat(units, times).astype(np.int32)),
            traces=None
            if traces is None
            else TimeSeries(timestamps=np.arange(n_bins) + 0.5, values=traces, kind="continuous"),
            trials=trials or {},
            stimulus=stimulus or {},
        )
        return write_session(tmp_path / f"{name}.h5", data, overwrite=True)

    return make


@pytest.fixture
def make_problem(make_session: Callable[..., Path]) -> Callable[..., Problem]:
    """`make_problem(traces, horizon=…)`: the same as a problem of forecasting."""

    def make(
        traces: np.ndarray | None = None,
        *,
        horizon: int = 4,
        kind: Kind = "traces",
        val: float = 0.15,
        test: float = 0.25,
        stride: int | None = 1,
        **settings: object,
    ) -> Problem:
        path = make_session(traces, **settings)
        recording = Recording(path, bin_s=1.0, split=SplitConfig(val=val, test=test), context_bins=0)
        return Problem(read_series(recording, kind), horizon, stride=stride)

    return make
