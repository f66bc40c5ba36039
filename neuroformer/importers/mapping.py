"""What a mapping file may say: which array of a foreign file is what.

Every key is documented below its field; docs/convert.md lists them with examples. Where a field says *key*,
it takes the name of an array in the recording's file; `number or key` takes either.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

NumberOrKey = int | float | str
Kind = Literal["continuous", "categorical", "frames"]


@dataclass(kw_only=True)
class Naming:
    """Who was recorded when. Templates may use `{file}` (file name without its ending) and `{folder}`."""

    file_name: str = ""
    r"""Regular expression with named groups, searched in the file's name without its ending, such as
    `(?P<mouse>M\d+)_day(?P<day>\d+)`; its groups can be used in the templates below."""
    session_id: str = ""
    """Template of the session's name, such as `{mouse}_day{day}`; the file's name when empty."""
    subject_id: str = ""
    """Template of the animal's name; the session's name when empty."""
    species: str = ""
    """Species, such as `Mus musculus`."""
    description: str = ""
    """Free text that is kept with the session."""


@dataclass(kw_only=True)
class Clock:
    """When samples were taken: at listed times, or at a rate.

    With a rate, sample i stands for the time from `start + i / rate` to `start + (i + 1) / rate` and is
    stamped at the middle. Listed times are taken as they are. Events of a frame are put in its middle either
    way, so that they do not fall on the border of a bin.
    """

    timestamps: str = ""
    """Key of the sample times."""
    rate: NumberOrKey | None = None
    """Samples per second: number or key. Instead of `timestamps`."""
    start: NumberOrKey = 0.0
    """Begin of the first sample [s]: number or key. With `rate` only."""
    samples: NumberOrKey | None = None
    """Number of samples: number or key. With `rate` only; needed when no array on this clock shows it."""
    first: int = 0
    """Number of the first frame where frames are counted: 0, or 1 as in MATLAB."""
    scale: float = 1.0
    """Factor that turns `timestamps` into seconds, 0.001 for milliseconds."""


@dataclass(kw_only=True)
class EventList:
    """One row per event: which unit, when, and how large."""

    unit: str = ""
    """Key of the unit of each event."""
    time: str = ""
    """Key of the time of each event. Instead of `frame`."""
    frame: str = ""
    """Key of the frame of each event, counted on `clock`. Instead of `time`."""
    amplitude: str = ""
    """Key of the size of each event; leave empty for spikes."""
    scale: float = 1.0
    """Factor that turns `time` into seconds, 0.001 for milliseconds."""
    unit_is: Literal["index", "id"] = "index"
    """Whether `unit` counts the units, or gives ids such as cluster numbers."""
    first_unit: int = 0
    """Index of the first unit: 0, or 1 as in MATLAB."""


@dataclass(kw_only=True)
class SpikeTimes:
    """One array of times per unit."""

    key: str = ""
    """Key of a cell array, of a (units, most spikes) matrix padded with NaN, or of all times end to end with
    `ends`; or a pattern such as `unit_*` that matches one key per unit (taken in order of the numbers in
    it)."""
    ends: str = ""
    """Key of the row after each unit's last spike, when all times stand end to end."""
    scale: float = 1.0
    """Factor that turns the times into seconds, 0.001 for milliseconds."""


@dataclass(kw_only=True)
class BinCounts:
    """Event counts in equal bins, of one stretch or of trials. Events are spread evenly inside their bin."""

    key: str = ""
    """Key of the counts."""
    axes: list[Literal["trial", "unit", "bin"]] = field(default_factory=lambda: ["trial", "unit", "bin"])
    """What the axes of the counts are, in their order; leave `trial` out for one stretch."""
    bin: NumberOrKey | None = None
    """Width of a bin [s]: number or key."""
    start: str = ""
    """Key of the begin of each trial, (trials,), or of each bin, (trials, bins) [s]. Without it each trial
    has its own
    clock: trials are laid one after another, `gap` apart, and say nothing about the time between them."""
    gap: float = 1.0
    """Time between trials that are laid one after another [s]."""


@dataclass(kw_only=True)
class Deconvolution:
    """How calcium traces become events (OASIS, Friedrich et al. 2017, PLoS Comput Biol 13:e1005423)."""

    decay: float | None = None
    """Decay time of the calcium signal [s]; null estimates it from the traces' autocovariance."""
    threshold: float = 2.0
    """Smallest event, in standard deviations of the trace's noise."""
    baseline_window: float | None = None
    """Window [s] of a drifting baseline (its 20th percentile is subtracted first); null for a constant
    baseline."""

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        for name, value in (("decay", self.decay), ("baseline_window", self.baseline_window)):
            if value is not None and not value > 0:
                raise ValueError(f"deconvolution.{name}: found {value} s, expected more than 0 or null")
        if not self.threshold > 0:
            raise ValueError(f"deconvolution.threshold: found {self.threshold}, expected more than 0")


@dataclass(kw_only=True)
class Traces:
    """Calcium traces. They are kept; without any other source, the events come from them."""

    key: str = ""
    """Key of the traces."""
    axes: list[Literal["time", "unit"]] = field(default_factory=lambda: ["time", "unit"])
    """What the axes are, in their order."""
    unit: str = ""
    """Physical unit of the traces, such as `dF/F`."""
    deconvolution: Deconvolution = field(default_factory=Deconvolution)
    """How events are found in them."""


@dataclass(kw_only=True)
class Units:
    """The table of units."""

    count: NumberOrKey | None = None
    """Number of units: number or key. Needed only when trailing units are silent and no array shows it."""
    id: str = ""
    """Key of the units' ids."""
    columns: dict[str, str] = field(default_factory=dict)
    """Further columns by name, each the key of an array with a row per unit. Names with a fixed meaning:
    `region`, `cell_type`, `label`, `position`, `global_id` (the same cell in all sessions of an animal, -1
    when unknown)."""


@dataclass(kw_only=True)
class Series:
    """One stimulus or behaviour variable."""

    key: str = ""
    """Key of the samples, (samples, ...)."""
    keys: list[str] = field(default_factory=list)
    """Keys of several columns that make one variable, such as `[x, y]`. Instead of `key`."""
    clock: Clock | None = None
    """When the samples were taken; the recording's `clock` when left out."""
    per: Literal["sample", "trial"] = "sample"
    """Whether there is a value per sample, or one per trial (then stamped at the begin of the trial)."""
    kind: Kind = "continuous"
    """`continuous` numbers, `categorical` states, or `frames` (samples, height, width[, colours])."""
    scale: float = 1.0
    """Factor on continuous values, to bring them to `unit`."""
    offset: float = 0.0
    """Added after scaling."""
    unit: str = ""
    """Physical unit after scaling, such as `cm/s`; leave empty when it is not known."""
    period: float | None = None
    """One turn of a circular variable, in `unit`: 360 for a heading in degrees."""
    missing: list[float] = field(default_factory=list)
    """Values in the file that mean "not measured"; NaN always does."""
    valid: list[float] = field(default_factory=list)
    """Lowest and highest value in the file that can be true; samples outside become missing."""
    values: list[Any] = field(default_factory=list)
    """Values in the file of the categories, in the order of `labels`; 0, 1, 2 … when left out."""
    labels: list[str] = field(default_factory=list)
    """Names of the categories; the values themselves when left out."""


@dataclass(kw_only=True)
class Comparison:
    """Which of several columns is the largest in each trial."""

    keys: list[str] = field(default_factory=list)
    """Keys of arrays with a row per trial."""
    labels: list[str] = field(default_factory=list)
    """What a trial is called in which the first is the largest, the second, and so on; empty where several are."""


@dataclass(kw_only=True)
class Trials:
    """The table of trials."""

    start: str = ""
    """Key of the begin of each trial [s]."""
    stop: str = ""
    """Key of the end of each trial [s]."""
    duration: NumberOrKey | None = None
    """Length of the trials [s], instead of `stop`: number or key."""
    label: str = ""
    """Key of the trial of each sample on `clock`, instead of `start`: each run of one value is a trial."""
    between: list[float] = field(default_factory=list)
    """Values of `label` that stand for "no trial"."""
    scale: float = 1.0
    """Factor that turns `start`, `stop` and `duration` into seconds."""
    columns: dict[str, str] = field(default_factory=dict)
    """Further columns by name, each the key of an array with a row per trial."""
    compare: dict[str, Comparison] = field(default_factory=dict)
    """Columns that say which of several arrays is the largest, such as the side of the higher contrast:
    `side: {keys: [contrast_left, contrast_right], labels: [left, right]}`."""


@dataclass(kw_only=True)
class Span:
    """The stretch of time that was recorded; by default that of the frames, bins or spikes."""

    start: NumberOrKey | None = None
    """Begin [s]: number or key. Events before it are left out."""
    stop: NumberOrKey | None = None
    """End [s]: number or key. Events from it on are left out."""


@dataclass(kw_only=True)
class ArrayMapping:
    """A mapping file: how to read one family of recordings."""

    session: Naming = field(default_factory=Naming)
    """Ids, species and description."""
    clock: Clock = field(default_factory=Clock)
    """The recording's clock, for everything that is sampled and does not name its own."""
    events: EventList | None = None
    """Events as a list."""
    spike_times: SpikeTimes | None = None
    """Events as one array of times per unit."""
    counts: BinCounts | None = None
    """Events as counts in bins."""
    traces: Traces | None = None
    """Calcium traces."""
    units: Units = field(default_factory=Units)
    """The table of units."""
    behavior: dict[str, Series] = field(default_factory=dict)
    """Behaviour variables by name."""
    stimulus: dict[str, Series] = field(default_factory=dict)
    """Stimulus variables by name."""
    trials: Trials = field(default_factory=Trials)
    """The table of trials."""
    span: Span = field(default_factory=Span)
    """The recorded stretch of time."""
    intervals: str = ""
    """Valid stretches, which the model never reads across: `recording` (all of it), `trials`, or the key of
    an array (stretches, 2) [s]. By default `trials` for counts of trials, else the recording, cut where
    frames are missing."""
    misaligned: dict[str, list[int]] = field(default_factory=dict)
    """By session id, trials whose stimulus and behaviour cannot be lined up with the activity: both become
    missing in these trials, the activity stays. Trials are named by `trials.label`, or counted from 0."""
