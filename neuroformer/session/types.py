"""What a recording is made of, in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Kind = Literal["continuous", "categorical", "frames"]
Emission = Literal["poisson", "bernoulli"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Events:
    """Spikes or calcium events in order of time.

    Attributes:
        times: (E,) float64, seconds, never decreasing.
        units: (E,) int32, index of the unit, 0 … N-1.
        amplitudes: (E,) float32 ≥ 0, the size of each calcium event; None for spikes.
    """

    times: np.ndarray
    units: np.ndarray
    amplitudes: np.ndarray | None = None

    def __len__(self) -> int:
        """Number of events."""
        return len(self.times)


@dataclass(frozen=True, kw_only=True, eq=False)
class TimeSeries:
    """Samples of a stimulus, a behaviour or the traces.

    Attributes:
        timestamps: (T,) float64, seconds, strictly increasing.
        values: (T,) or (T, D) continuous, NaN where missing; (T,) or (T, D) integer codes into `labels` for categorical,
            -1 where missing; (T, H, W) or (T, H, W, C) for frames.
        kind: what the values are.
        unit: physical unit of the values ("cm/s"), empty when there is none.
        labels: names of the categories, in order of their codes.
        period: length of one turn of a circular variable, in `unit` (360 for a heading in degrees); None otherwise.
    """

    timestamps: np.ndarray
    values: np.ndarray
    kind: Kind
    unit: str = ""
    labels: tuple[str, ...] = ()
    period: float | None = None

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.timestamps)


@dataclass(frozen=True, kw_only=True)
class SeriesInfo:
    """What is known of a stored series without reading its values.

    Attributes:
        n_samples: number of samples T.
        shape: shape of one sample, () for a scalar.
        dtype: dtype of the values.
        kind: what the values are.
        unit: physical unit of the values.
        labels: names of the categories.
        period: length of one turn of a circular variable, in `unit`.
        first: time of the first sample, seconds.
        last: time of the last sample, seconds.
    """

    n_samples: int
    shape: tuple[int, ...]
    dtype: np.dtype
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    period: float | None
    first: float
    last: float

    @property
    def rate(self) -> float:
        """Mean samples per second; 0 for a single sample."""
        return (self.n_samples - 1) / (self.last - self.first) if self.last > self.first else 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """The wiring behind a simulated session, and what a perfect model of it would score.

    Attributes:
        weights: (N, N) float32, signed, `[source, target]`; 0 where there is no connection.
        delays: (N, N) float32, seconds, `[source, target]`; 0 where there is no connection.
        log_likelihood: (B, N) float64, nats of each unit's events in each block under the true conditional intensities.
        block_starts: (B,) float64, seconds, strictly increasing.
        block_s: length of a block, seconds.
        dt: step of the simulation, seconds; the likelihood is that of the event counts on this grid.
        emission: how counts are drawn in one step, "poisson" or "bernoulli".
        hidden: number of neurons that were simulated but not recorded.
        extra: further arrays of the simulator by name.
    """

    weights: np.ndarray
    delays: np.ndarray
    log_likelihood: np.ndarray
    block_starts: np.ndarray
    block_s: float
    dt: float
    emission: Emission
    hidden: int = 0
    extra: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(kw_only=True, eq=False)
class SessionData:
    """One recording of one animal, whole and in memory: what `write_session` takes and `Session.load` gives.

    Attributes:
        session_id: name of the session, unique among the sessions of a model.
        subject_id: name of the animal.
        species: species, empty when unknown.
        description: free text.
        source: where the data came from (converter and file name).
        start: begin of the recorded span, seconds.
        stop: end of the recorded span, seconds; events lie in [start, stop).
        n_units: number of units N, silent ones included.
        events: the events.
        units: columns of the unit table by name, each (N, …). Known ones: `id`, `region`, `cell_type`, `label` (text),
            `position` (N, 2 or 3), `global_id` (the same cell's integer id in all sessions of an animal, -1 when unknown).
        traces: continuous fluorescence or the like with values (T, N).
        stimulus: stimulus series by name.
        behavior: behaviour series by name.
        trials: columns of the trial table by name; `start` and `stop` in seconds and any others of the same length.
        intervals: (K, 2) float64, seconds, [start, stop) of the valid epochs; the whole span when left out.
        truth: the circuit behind a simulated session.
    """

    session_id: str
    subject_id: str
    species: str = ""
    description: str = ""
    source: str = ""
    start: float
    stop: float
    n_units: int
    events: Events
    units: dict[str, np.ndarray] = field(default_factory=dict)
    traces: TimeSeries | None = None
    stimulus: dict[str, TimeSeries] = field(default_factory=dict)
    behavior: dict[str, TimeSeries] = field(default_factory=dict)
    trials: dict[str, np.ndarray] = field(default_factory=dict)
    intervals: np.ndarray = None  # type: ignore[assignment]  # the whole span when left out
    truth: Truth | None = None

    def __post_init__(self) -> None:
        """Take the whole span as valid unless intervals are given."""
        if self.intervals is None:
            self.intervals = np.array([[self.start, self.stop]])


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing wrong with a session.

    Attributes:
        path: place in the file, as in `events/times`; `/` for the file itself.
        message: what was found and what was expected.
        cure: what to do about it.
    """

    path: str
    message: str
    cure: str

    def __str__(self) -> str:
        """`path: message; cure`, on one line."""
        return f"{self.path}: {self.message}; {self.cure}"
