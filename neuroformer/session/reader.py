"""Read a session file slice by slice."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np

from neuroformer.errors import UserError
from neuroformer.session import schema
from neuroformer.session.layout import READ_ERRORS, RECONVERT, Layout, is_elsewhere, read, scalar, why
from neuroformer.session.names import bad_name, shortly
from neuroformer.session.rules.events import check_amplitudes, check_intervals, check_times, check_units
from neuroformer.session.rules.frame import Frame, Rule, check_root
from neuroformer.session.rules.series import check_samples, check_series, check_timestamps, sample_form
from neuroformer.session.rules.tables import check_trial_column, check_trials, check_unit_column
from neuroformer.session.rules.truth import check_extra, check_likelihood, check_matrices, check_truth
from neuroformer.session.scan import check_form
from neuroformer.session.timeline import check_index, read_span
from neuroformer.session.types import Events, Fault, SeriesInfo, SessionData, TimeSeries, Truth
from neuroformer.session.versions import foreign, open_file


class Session:
    """A session file, opened on first use and read by slices of time.

    It pickles as its path alone and opens the file anew in every process, so loader workers may have it
    under fork and spawn, and any number of processes may read one file. What is small (ids, tables, wiring,
    indices of time) is kept once read; events and samples are not. A file that is missing, damaged or not a
    session of this schema version is a `UserError` on first use, and whatever is read is held against the rules of
    `validate_file` before it is given: what breaks one is a `UserError`, too. What is not read is not checked.

    Args:
        path: the session file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._handle: h5py.File | None = None
        self._pid = 0
        self._open: dict[str, h5py.Dataset] = {}

    # ------------------------------------------------------------------ the open file

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_handle": None, "_pid": 0, "_open": {}}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Session({str(self.path)!r})"

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        if self._handle is not None and self._pid == os.getpid():
            self._handle.close()
        self._handle, self._open = None, {}

    @property
    def _file(self) -> h5py.File:
        if self._handle is None or self._pid != os.getpid():
            file = open_file(self.path)
            if fault := foreign(file):
                file.close()
                raise UserError(f"{self.path}: {fault.message}; {fault.cure}")
            # What was open before a fork is the parent's to close.
            self._handle, self._pid, self._open = file, os.getpid(), {}
        return self._handle

    def _dataset(
        self, path: str, shape: Sequence[int | str] | None = None, kinds: tuple[str, ...] = ()
    ) -> h5py.Dataset:
        """A dataset of the form that the schema asks for; it stays open, with the chunks that were read last.

        Args:
            path: in the file.
            shape: expected sizes, a word for any size; None for any shape.
            kinds: kinds of values allowed where the schema fixes no dtype.
        """
        file = self._file
        if path not in self._open:
            node = _find(file, path)
            if isinstance(node, h5py.Group):
                self._refuse([Fault(path, "is a group, expected an array", RECONVERT)])
            layout = Layout(arrays={path: node} if isinstance(node, h5py.Dataset) else {})
            self._refuse(check_form(layout, path, shape, kinds))
            self._open[path] = node
        return self._open[path]

    def _refuse(self, faults: Iterable[Fault]) -> None:
        for fault in faults:
            raise UserError(f"{self.path}: {fault}; see all faults with `neuroformer validate {self.path}`")

    def _hold(
        self,
        *rules: Rule,
        arrays: Mapping[str, np.ndarray] | None = None,
        attributes: Mapping[str, dict[str, Any]] | None = None,
        n_events: int | str = "E",
    ) -> None:
        """Refuse what breaks one of the rules."""
        layout = Layout(arrays=dict(arrays or {}), attributes=dict(attributes or {}))
        root = self._attributes
        frame = Frame(n_units=root["n_units"], n_events=n_events, start=root["start"], stop=root["stop"])
        for rule in rules:
            self._refuse(rule(layout, frame))

    @contextmanager
    def _reading(self, what: str) -> Iterator[h5py.File]:
        """The open file; whatever goes wrong with it in the block is a `UserError` that names `what`."""
        file = self._file
        try:
            yield file
        except UserError:
            raise
        except READ_ERRORS as error:
            cure = f"see all faults with `neuroformer validate {self.path}`"
            raise UserError(f"{self.path}: cannot read {what} ({why(error)}); {cure}") from error

    # ------------------------------------------------------------------ small things, kept once read

    @cached_property
    def _attributes(self) -> dict[str, Any]:
        with self._reading("the attributes") as file:
            layout = Layout(attributes={"": _attributes(file)})
            self._refuse(check_root(layout, Frame.of(layout)))
            return _of_kind(layout.attributes[""], schema.ROOT_ATTRIBUTES)

    @property
    def session_id(self) -> str:
        """Name of the session."""
        return self._attributes["session_id"]

    @property
    def subject_id(self) -> str:
        """Name of the animal."""
        return self._attributes["subject_id"]

    @property
    def species(self) -> str:
        """Species; empty when unknown."""
        return self._attributes["species"]

    @property
    def description(self) -> str:
        """Free text."""
        return self._attributes["description"]

    @property
    def source(self) -> str:
        """Where the data came from."""
        return self._attributes["source"]

    @property
    def start(self) -> float:
        """Begin of the recorded span, seconds."""
        return self._attributes["start"]

    @property
    def stop(self) -> float:
        """End of the recorded span, seconds."""
        return self._attributes["stop"]

    @property
    def duration(self) -> float:
        """Length of the recorded span, seconds."""
        return self.stop - self.start

    @property
    def n_units(self) -> int:
        """Number of units N, silent ones included."""
        return self._attributes["n_units"]

    @cached_property
    def n_events(self) -> int:
        """Number of events."""
        with self._reading(schema.TIMES):
            return int(self._dataset(schema.TIMES, ("E",)).shape[0])

    @cached_property
    def has_amplitudes(self) -> bool:
        """Whether the events have amplitudes."""
        with self._reading(schema.AMPLITUDES) as file:
            return _find(file, schema.AMPLITUDES) is not None

    @cached_property
    def has_traces(self) -> bool:
        """Whether traces are stored."""
        with self._reading("traces") as file:
            return _find(file, "traces") is not None

    @cached_property
    def event_counts(self) -> np.ndarray:
        """(N,) int64, number of events of each unit."""
        with self._reading(schema.COUNTS):
            counts = read(self._dataset(schema.COUNTS, (self.n_units,), ("integer",)))
            if (counts < 0).any() or counts.sum() != self.n_events:
                message = f"does not agree with the number of events ({self.n_events})"
                self._refuse([Fault(schema.COUNTS, message, RECONVERT)])
            return counts

    @cached_property
    def intervals(self) -> np.ndarray:
        """(K, 2) float64, seconds, [start, stop) of the valid epochs."""
        with self._reading(schema.INTERVALS) as file:
            if _find(file, schema.INTERVALS) is None:
                return np.array([[self.start, self.stop]])
            spans = read(self._dataset(schema.INTERVALS, ("K", 2)))
            self._hold(check_intervals, arrays={schema.INTERVALS: spans})
            return spans

    @cached_property
    def units(self) -> dict[str, np.ndarray]:
        """Columns of the unit table by name, each (N, …)."""
        columns = self._columns("units")
        self._hold(*map(check_unit_column, columns), arrays=_below("units", columns))
        return columns

    @cached_property
    def trials(self) -> dict[str, np.ndarray]:
        """Columns of the trial table by name; empty when there are no trials."""
        columns = self._columns("trials")
        if columns:
            self._hold(check_trials, *map(check_trial_column, columns), arrays=_below("trials", columns))
        return columns

    @cached_property
    def stimulus_names(self) -> tuple[str, ...]:
        """Names of the stimulus series."""
        return self._names("stimulus")

    @cached_property
    def behavior_names(self) -> tuple[str, ...]:
        """Names of the behaviour series."""
        return self._names("behavior")

    @cached_property
    def truth(self) -> Truth | None:
        """The circuit behind a simulated session; None for a recording."""
        with self._reading("truth") as file:
            group = _find(file, "truth")
            if group is None:
                return None
            found = {"truth": _attributes(group)}
            sizes = {"log_likelihood": ("B", self.n_units), "block_starts": ("B",)}
            arrays: dict[str, Any] = {
                name: read(self._dataset(f"truth/{name}", sizes.get(name, (self.n_units, self.n_units))))
                for name in schema.TRUTH_ARRAYS
            }
            extra = self._columns("truth/extra")
            every = _below("truth", arrays) | _below("truth/extra", extra)
            self._hold(
                check_truth, check_matrices, check_likelihood, check_extra, arrays=every, attributes=found
            )
            return Truth(**arrays, **_of_kind(found["truth"], schema.TRUTH_ATTRIBUTES), extra=extra)

    # ------------------------------------------------------------------ slices of time

    def events(self, start: float | None = None, stop: float | None = None) -> Events:
        """The events in [start, stop).

        Args:
            start: seconds; None for the first event.
            stop: seconds; None for the last event.
        """
        _check_span(start, stop)
        with self._reading("events"):
            rows, times = read_span(
                self._dataset(schema.TIMES, ("E",)), self._index("events", schema.TIMES), start, stop
            )
            arrays = {schema.TIMES: times}
            arrays[schema.UNITS] = read(self._dataset(schema.UNITS, (self.n_events,)), rows)
            if self.has_amplitudes:
                arrays[schema.AMPLITUDES] = read(self._dataset(schema.AMPLITUDES, (self.n_events,)), rows)
            if len(times) or not self.n_events:
                self._hold(check_times, check_units, check_amplitudes, arrays=arrays, n_events=len(times))
            return Events(times=times, units=arrays[schema.UNITS], amplitudes=arrays.get(schema.AMPLITUDES))

    def traces(self, start: float | None = None, stop: float | None = None) -> TimeSeries:
        """The samples of all units' traces in [start, stop), seconds; values (T, N)."""
        return self._series("traces", start, stop)

    def stimulus(self, name: str, start: float | None = None, stop: float | None = None) -> TimeSeries:
        """The samples of one stimulus in [start, stop), seconds."""
        return self._series(f"stimulus/{name}", start, stop)

    def behavior(self, name: str, start: float | None = None, stop: float | None = None) -> TimeSeries:
        """The samples of one behaviour in [start, stop), seconds."""
        return self._series(f"behavior/{name}", start, stop)

    def traces_info(self) -> SeriesInfo:
        """Shape, rate and meaning of the traces, without reading them."""
        return self._info("traces")

    def stimulus_info(self, name: str) -> SeriesInfo:
        """Shape, rate and meaning of one stimulus, without reading its values."""
        return self._info(f"stimulus/{name}")

    def behavior_info(self, name: str) -> SeriesInfo:
        """Shape, rate and meaning of one behaviour, without reading its values."""
        return self._info(f"behavior/{name}")

    def load(self) -> SessionData:
        """The whole session in memory."""
        return SessionData(
            **self._attributes,
            events=self.events(),
            units=dict(self.units),
            traces=self.traces() if self.has_traces else None,
            stimulus={name: self.stimulus(name) for name in self.stimulus_names},
            behavior={name: self.behavior(name) for name in self.behavior_names},
            trials=dict(self.trials),
            intervals=self.intervals,
            truth=self.truth,
        )

    # ------------------------------------------------------------------ within

    @cached_property
    def _indices(self) -> dict[str, np.ndarray]:
        return {}

    @cached_property
    def _infos(self) -> dict[str, SeriesInfo]:
        return {}

    def _index(self, group: str, times: str) -> np.ndarray:
        if group not in self._indices:
            path = f"{group}/index"
            index = read(self._dataset(path, ("rows",), ("float",)))
            self._refuse(check_index(path, index, len(self._dataset(times))))
            self._indices[group] = index
        return self._indices[group]

    def _columns(self, group: str) -> dict[str, np.ndarray]:
        with self._reading(group):
            return {
                name: read(self._dataset(f"{group}/{name}", None, schema.VALUE_KINDS))
                for name in self._names(group)
            }

    def _names(self, group: str) -> tuple[str, ...]:
        with self._reading(group) as file:
            found = _find(file, group)
            if found is not None and not isinstance(found, h5py.Group):
                self._refuse([Fault(group, "is an array, expected a group", RECONVERT)])
            names = tuple(found or ())
            for name in names:
                if reason := bad_name(name):
                    self._refuse([Fault(group, f"name {shortly(name)} {reason}", "rename it")])
            return names

    def _series(self, path: str, start: float | None, stop: float | None) -> TimeSeries:
        _check_span(start, stop)
        info = self._info(path)
        with self._reading(path):
            stamps = f"{path}/timestamps"
            rows, timestamps = read_span(self._dataset(stamps), self._index(path, stamps), start, stop)
            values = read(self._dataset(f"{path}/values"), rows)
            if len(timestamps):
                arrays = {stamps: timestamps, f"{path}/values": values}
                if info.labels:
                    arrays[f"{path}/labels"] = np.array(info.labels)
                attributes = {path: {"kind": info.kind}}
                self._hold(check_timestamps(path), check_samples(path), arrays=arrays, attributes=attributes)
            return TimeSeries(
                timestamps=timestamps,
                values=values,
                kind=info.kind,
                unit=info.unit,
                labels=info.labels,
                period=info.period,
            )

    def _info(self, path: str) -> SeriesInfo:
        if path not in self._infos:
            with self._reading(path) as file:
                group = _find(file, path)
                if group is None:
                    others = self._names(path.split("/")[0]) if "/" in path else ()
                    there = f"there is {', '.join(others)}" if others else "there is none"
                    raise UserError(f"{self.path}: no {path} in this session; {there}")
                self._infos[path] = self._describe(group, path)
        return self._infos[path]

    def _describe(self, group: h5py.Group, path: str) -> SeriesInfo:
        if not isinstance(group, h5py.Group):
            self._refuse([Fault(path, "is an array, expected a group", RECONVERT)])
        found = {path: _attributes(group)}
        self._hold(check_series(path), attributes=found)
        kind = found[path]["kind"]
        stamps = self._dataset(f"{path}/timestamps", ("T",))
        if not len(stamps):
            self._refuse([Fault(f"{path}/timestamps", "no samples, expected at least one", RECONVERT)])
        values = self._dataset(f"{path}/values", *sample_form(path, kind, group, len(stamps), self.n_units))
        labels = None
        if _find(group, "labels") is not None:
            labels = self._dataset(f"{path}/labels", ("labels",), ("text",))
        return SeriesInfo(
            n_samples=len(values),
            shape=tuple(values.shape[1:]),
            dtype=values.dtype.newbyteorder("="),
            kind=kind,
            unit=found[path]["unit"],
            labels=() if labels is None else tuple(read(labels).tolist()),
            period=None if "period" not in found[path] else float(found[path]["period"]),
            first=float(stamps[0]),
            last=float(stamps[-1]),
        )


def _find(group: h5py.Group, path: str) -> Any:
    """What is stored at `path`, or None; unlike `Group.get` and `in`, this does not take damage for absence."""
    for name in path.split("/"):
        if not isinstance(group, h5py.Group) or not group.id.links.exists(name.encode()):
            return None
        if is_elsewhere(group, name):
            raise OSError(f"{path} lies in another file")
        group = group[name]
    return group


def _attributes(group: h5py.Group) -> dict[str, Any]:
    return {name: scalar(value) for name, value in group.attrs.items()}


def _of_kind(attributes: Mapping[str, Any], kinds: Mapping[str, type]) -> dict[str, Any]:
    return {name: kind(attributes[name]) for name, kind in kinds.items()}


def _below(group: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{group}/{name}": array for name, array in arrays.items()}


def _check_span(start: float | None, stop: float | None) -> None:
    if any(t is not None and np.isnan(t) for t in (start, stop)) or (
        start is not None and stop is not None and stop < start
    ):
        raise ValueError(f"slice of time: found start={start} s, stop={stop} s, expected start <= stop")
