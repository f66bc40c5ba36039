"""Read a session file slice by slice."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np

from neuroformer.errors import UserError
from neuroformer.session import schema
from neuroformer.session.layout import READ_ERRORS, read, scalar
from neuroformer.session.timeline import read_span
from neuroformer.session.types import Events, SeriesInfo, SessionData, TimeSeries, Truth
from neuroformer.session.versions import foreign, open_file


class Session:
    """A session file, opened on first use and read by slices of time.

    It pickles as its path alone and opens the file anew in every process, so loader workers may have it
    under fork and spawn, and any number of processes may read one file. What is small (ids, tables, wiring,
    indices of time) is kept once read; events and samples are not. A file that is missing, damaged or not a
    session of this schema version is a `UserError` on first use.

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

    def _dataset(self, path: str) -> h5py.Dataset:
        """A dataset that stays open, with the chunks that were read last."""
        file = self._file
        if path not in self._open:
            self._open[path] = file[path]
        return self._open[path]

    @contextmanager
    def _reading(self, what: str) -> Iterator[h5py.File]:
        """The open file; whatever goes wrong with it in the block is a `UserError` that names `what`."""
        file = self._file
        try:
            yield file
        except UserError:
            raise
        except READ_ERRORS as error:
            reason = " ".join(str(error).split())
            cure = f"see all faults with `neuroformer validate {self.path}`"
            raise UserError(f"{self.path}: cannot read {what} ({reason}); {cure}") from error

    # ------------------------------------------------------------------ small things, kept once read

    @cached_property
    def _attributes(self) -> dict[str, Any]:
        with self._reading("the attributes") as file:
            return _read_attributes(file, schema.ROOT_ATTRIBUTES)

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
        with self._reading(schema.TIMES) as file:
            return int(file[schema.TIMES].shape[0])

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
        with self._reading(schema.COUNTS) as file:
            return read(file[schema.COUNTS])

    @cached_property
    def intervals(self) -> np.ndarray:
        """(K, 2) float64, seconds, [start, stop) of the valid epochs."""
        with self._reading(schema.INTERVALS) as file:
            stored = _find(file, schema.INTERVALS)
            return np.array([[self.start, self.stop]]) if stored is None else read(stored)

    @cached_property
    def units(self) -> dict[str, np.ndarray]:
        """Columns of the unit table by name, each (N, …)."""
        return self._columns("units")

    @cached_property
    def trials(self) -> dict[str, np.ndarray]:
        """Columns of the trial table by name; empty when there are no trials."""
        return self._columns("trials")

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
            arrays: dict[str, Any] = {name: read(group[name]) for name in schema.TRUTH_ARRAYS}
            attributes = _read_attributes(group, schema.TRUTH_ATTRIBUTES)
            return Truth(**arrays, **attributes, extra=self._columns("truth/extra"))

    # ------------------------------------------------------------------ slices of time

    def events(self, start: float | None = None, stop: float | None = None) -> Events:
        """The events in [start, stop).

        Args:
            start: seconds; None for the first event.
            stop: seconds; None for the last event.
        """
        _check_span(start, stop)
        with self._reading("events"):
            rows, times = read_span(self._dataset(schema.TIMES), self._index("events"), start, stop)
            units = read(self._dataset(schema.UNITS), rows)
            amplitudes = read(self._dataset(schema.AMPLITUDES), rows) if self.has_amplitudes else None
            return Events(times=times, units=units, amplitudes=amplitudes)

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

    def _index(self, group: str) -> np.ndarray:
        if group not in self._indices:
            self._indices[group] = read(self._file[f"{group}/index"])
        return self._indices[group]

    def _columns(self, group: str) -> dict[str, np.ndarray]:
        with self._reading(group) as file:
            columns = _find(file, group)
            return {name: read(columns[name]) for name in columns or ()}

    def _names(self, group: str) -> tuple[str, ...]:
        with self._reading(group) as file:
            return tuple(_find(file, group) or ())

    def _series(self, path: str, start: float | None, stop: float | None) -> TimeSeries:
        _check_span(start, stop)
        info = self._info(path)
        with self._reading(path):
            rows, timestamps = read_span(self._dataset(f"{path}/timestamps"), self._index(path), start, stop)
            return TimeSeries(
                timestamps=timestamps,
                values=read(self._dataset(f"{path}/values"), rows),
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
                self._infos[path] = _describe(group)
        return self._infos[path]


def _find(group: h5py.Group, path: str) -> Any:
    """What is stored at `path`, or None; unlike `Group.get` and `in`, this does not take damage for absence."""
    for name in path.split("/"):
        if not group.id.links.exists(name.encode()):
            return None
        group = group[name]
    return group


def _read_attributes(group: h5py.Group, kinds: Mapping[str, type]) -> dict[str, Any]:
    return {name: kind(scalar(group.attrs[name])) for name, kind in kinds.items()}


def _describe(group: h5py.Group) -> SeriesInfo:
    attributes = {name: scalar(value) for name, value in group.attrs.items()}
    timestamps, values, labels = group["timestamps"], group["values"], _find(group, "labels")
    return SeriesInfo(
        n_samples=len(values),
        shape=tuple(values.shape[1:]),
        dtype=values.dtype.newbyteorder("="),
        kind=attributes["kind"],
        unit=attributes["unit"],
        labels=() if labels is None else tuple(read(labels).tolist()),
        period=attributes.get("period"),
        first=float(timestamps[0]),
        last=float(timestamps[-1]),
    )


def _check_span(start: float | None, stop: float | None) -> None:
    if any(t is not None and np.isnan(t) for t in (start, stop)) or (
        start is not None and stop is not None and stop < start
    ):
        raise ValueError(f"slice of time: found start={start} s, stop={stop} s, expected start <= stop")
