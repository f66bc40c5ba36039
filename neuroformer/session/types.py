"""What a recording is made of, in memory."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Kind = Literal["continuous", "categorical", "frames"]
Emission = Literal["poisson", "bernoulli"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Events:
    """Spikes or calcium events in order of time."""

    times: np.ndarray
    """(E,) float64, seconds, never decreasing."""
    units: np.ndarray
    """(E,) int32, which unit, 0 to N - 1."""
    amplitudes: np.ndarray | None = None
    """(E,) float32, 0 or more, the size of each calcium event; None for spikes."""

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, kw_only=True, eq=False)
class TimeSeries:
    """Samples of the traces, a stimulus or a behaviour."""

    timestamps: np.ndarray
    """(T,) float64, seconds, strictly increasing."""
    values: np.ndarray
    """(T,) or (T, D) numbers, NaN where missing (continuous); (T,) or (T, D) whole numbers, the index of a
    label, -1 where missing (categorical); (T, H, W) or (T, H, W, C) numbers (frames)."""
    kind: Kind
    """What the values are."""
    unit: str = ""
    """Physical unit of the values, as in "cm/s"; empty when they have none."""
    labels: tuple[str, ...] = ()
    """Names of the categories, for categorical values only."""
    period: float | None = None
    """A full turn of a circular variable in `unit` (360 for a heading in degrees), else None."""

    def __len__(self) -> int:
        return len(self.timestamps)


@dataclass(frozen=True, kw_only=True)
class SeriesInfo:
    """What is known of a stored series without reading its values."""

    n_samples: int
    """Number of samples T."""
    shape: tuple[int, ...]
    """Shape of one sample, () for a single number."""
    dtype: np.dtype
    """Type of the values."""
    kind: Kind
    """What the values are."""
    unit: str
    """Physical unit of the values."""
    labels: tuple[str, ...]
    """Names of the categories."""
    period: float | None
    """A full turn of a circular variable in `unit`."""
    first: float
    """Time of the first sample, seconds."""
    last: float
    """Time of the last sample, seconds."""

    @property
    def rate(self) -> float:
        """Mean number of samples per second; 0 when there is but one."""
        return (self.n_samples - 1) / (self.last - self.first) if self.last > self.first else 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """The circuit behind a simulated session, and how well a perfect model of it would do."""

    weights: np.ndarray
    """(N, N) float32, signed, `[source, target]`, 0 where there is no connection."""
    delays: np.ndarray
    """(N, N) float32, seconds, `[source, target]`, 0 where there is no connection."""
    log_likelihood: np.ndarray
    """(B, N) float64, nats of each unit's events in each block under the true conditional intensities; no block
    where these do not exist, as for events found in simulated calcium traces."""
    block_starts: np.ndarray
    """(B,) float64, seconds, strictly increasing."""
    block_s: float
    """Length of a block, seconds."""
    dt: float
    """Time step of the simulation, seconds; the likelihood is that of the event counts on this grid."""
    emission: Emission
    """How the events of a time step are drawn."""
    hidden: int = 0
    """Number of neurons that were simulated but not recorded."""
    extra: dict[str, np.ndarray] = field(default_factory=dict)
    """Further arrays of the simulator by name."""


@dataclass(kw_only=True, eq=False)
class SessionData:
    """One recording of one animal in memory: what `write_session` takes and `Session.load` gives."""

    session_id: str
    """Name of the session, unlike that of any other session."""
    subject_id: str
    """Name of the animal."""
    species: str = ""
    """Species, empty when unknown."""
    description: str = ""
    """Free text."""
    source: str = ""
    """Where the data came from: converter and file name."""
    start: float
    """Begin of the recorded span, seconds."""
    stop: float
    """End of the recorded span, seconds; events lie in [start, stop)."""
    n_units: int
    """Number of recorded units N, silent ones included."""
    events: Events
    """All events."""
    units: dict[str, np.ndarray] = field(default_factory=dict)
    """Columns of the unit table by name, (N, ...) each. Their meaning is fixed for `id` (text or whole
    numbers), `region`, `cell_type`, `label` (text), `position` (N, 2 or 3) and `global_id` (whole number, the
    same for a cell in all sessions of an animal, -1 when unknown)."""
    traces: TimeSeries | None = None
    """Fluorescence or the like, values (T, N)."""
    stimulus: dict[str, TimeSeries] = field(default_factory=dict)
    """Stimulus series by name."""
    behavior: dict[str, TimeSeries] = field(default_factory=dict)
    """Behaviour series by name."""
    trials: dict[str, np.ndarray] = field(default_factory=dict)
    """Columns of the trial table by name: `start` and `stop` in seconds, and others of the same length."""
    intervals: np.ndarray = None  # type: ignore[assignment]
    """(K, 2) float64, seconds, [start, stop) of each valid epoch; the whole span when left out."""
    truth: Truth | None = None
    """The circuit behind a simulated session."""

    def __post_init__(self) -> None:
        if self.intervals is None:
            self.intervals = np.array([[self.start, self.stop]])


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a session."""

    path: str
    """Where in the file, as in `events/times`; `/` for the file as a whole."""
    message: str
    """What was found and what was expected."""
    cure: str
    """What to do about it."""

    def __str__(self) -> str:
        """One line: `path: message; cure`."""
        return f"{self.path}: {self.message}; {self.cure}"
