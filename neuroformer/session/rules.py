"""What a session must satisfy, whether it is about to be written or was found in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuroformer.session import schema
from neuroformer.session.layout import Layout, UnreadableError, blocks, kind_of, read
from neuroformer.session.names import bad_name, bad_text
from neuroformer.session.scan import Tally, form, infinite, not_finite, tally, tally_times
from neuroformer.session.types import Fault

NUMBERS = ("float", "integer", "boolean")
VALUES = (*NUMBERS, "text")


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The size of a session, by which its arrays are judged; what is not known judges nothing."""

    n_units: int | str
    n_events: int | str
    start: float
    stop: float

    @classmethod
    def of(cls, layout: Layout) -> Frame:
        """Take what is sound from the attributes."""
        root = layout.attributes.get("", {})
        n_units, start, stop = root.get("n_units"), root.get("start"), root.get("stop")
        times = layout.arrays.get(schema.TIMES)
        return cls(
            n_units=n_units if _is(n_units, int) and n_units > 0 else "N",
            n_events=times.shape[0] if times is not None and times.shape else "E",
            start=start if _is(start, float) and np.isfinite(start) else -np.inf,
            stop=stop if _is(stop, float) and np.isfinite(stop) else np.inf,
        )


Rule = Callable[[Layout, Frame], Iterator[Fault]]


def check(layout: Layout) -> list[Fault]:
    """All faults of a session's content; the arrays are read block by block."""
    frame = Frame.of(layout)
    faults = list(layout.faults)
    for rule in _rules(layout):
        try:
            faults.extend(rule(layout, frame))
        except UnreadableError as error:
            faults.append(error.fault)
    return list(dict.fromkeys(faults))


def _rules(layout: Layout) -> Iterator[Rule]:
    yield from (_places, _root, _event_times, _event_units, _amplitudes, _intervals)
    yield from (_unit_column(name) for name in layout.children("units"))
    if trials := layout.children("trials"):
        yield from (_trial_column(name) for name in sorted({*trials, "start", "stop"}))
        yield _trial_order
    series = ["traces"] if "traces" in layout.attributes else []
    series += [f"{group}/{name}" for group in schema.SERIES_GROUPS for name in layout.children(group)]
    for path in series:
        yield from (_series_attributes(path), _series_timestamps(path), _series_values(path))
    if "truth" in layout.attributes:
        yield from (_truth_attributes, _truth_matrices, _truth_likelihood, _truth_extra)


def _places(layout: Layout, frame: Frame) -> Iterator[Fault]:
    groups = (path for path in layout.attributes if not schema.GROUP_PATHS.fullmatch(path))
    arrays = (path for path in layout.arrays if not schema.ARRAY_PATHS.fullmatch(path))
    for path in (*groups, *arrays):
        yield Fault(path=path, message="has no place in a session file", cure="remove it or check the spelling")


# ---------------------------------------------------------------------- attributes


def _is(value: Any, kind: type) -> bool:
    kinds = (int, float) if kind is float else kind
    return isinstance(value, kinds) and not isinstance(value, bool)


def _attributes(layout: Layout, group: str, kinds: dict[str, type]) -> Iterator[Fault]:
    """Faults of presence and type, and numbers that are not finite."""
    words = {str: "text", float: "a number", int: "a whole number"}
    found = layout.attributes.get(group, {})
    for name, kind in kinds.items():
        path = f"{group or '/'} attribute {name}"
        if name not in found:
            yield Fault(path=path, message=f"missing, expected {words[kind]}", cure="add it")
        elif not _is(found[name], kind):
            yield Fault(path=path, message=f"is {found[name]!r}, expected {words[kind]}", cure="store it so")
        elif kind is str and (reason := bad_text(found[name])):
            yield Fault(path=path, message=reason, cure="clean the text")
        elif kind is float and not np.isfinite(found[name]):
            yield Fault(path=path, message=f"is {found[name]}, expected a finite number", cure="give it a value")


def _root(layout: Layout, frame: Frame) -> Iterator[Fault]:
    faults = list(_attributes(layout, "", dict(schema.ROOT_ATTRIBUTES)))
    yield from faults
    root = layout.attributes.get("", {})
    for name in ("session_id", "subject_id"):
        if isinstance(root.get(name), str) and (reason := bad_name(root[name])):
            yield Fault(path=f"/ attribute {name}", message=f"{root[name]!r} {reason}", cure="choose another id")
    if frame.stop <= frame.start:
        yield Fault(
            path="/ attribute stop",
            message=f"stop is {frame.stop} s, expected more than start ({frame.start} s)",
            cure="correct start and stop to the recorded span",
        )
    if _is(root.get("n_units"), int) and root["n_units"] < 1:
        yield Fault(
            path="/ attribute n_units", message=f"is {root['n_units']}, expected 1 or more", cure="count the units"
        )


# ---------------------------------------------------------------------- events


def _event_times(layout: Layout, frame: Frame) -> Iterator[Fault]:
    path = schema.TIMES
    if faults := list(form(layout, path, ("E",))):
        yield from faults
        return
    times = layout.arrays[path]
    if not times.shape[0]:
        cure = "check the recording's event times; leave sessions without events out"
        yield Fault(path=path, message="the session is empty: no events, expected at least one", cure=cure)
    found = tally_times(times, strict=False, start=frame.start, stop=frame.stop)
    yield from found.infinite.fault(path, "are NaN or infinite", "remove these events")
    yield from found.unordered.fault(path, "are earlier than the row before", "sort the events by time")
    span = f"[{frame.start}, {frame.stop}) s"
    yield from found.outside.fault(path, f"lie outside {span}", "correct start and stop or remove these events")


def _event_units(layout: Layout, frame: Frame) -> Iterator[Fault]:
    path = schema.UNITS
    units = layout.arrays.get(path)
    faults = list(form(layout, path, (frame.n_events,)))
    yield from faults
    if units is None or kind_of(units) != "integer" or len(units.shape) != 1:
        return
    top = np.inf if isinstance(frame.n_units, str) else frame.n_units
    found = tally(units, lambda block: (block < 0) | (block >= top))
    expected = f"are no unit index, expected 0 to {frame.n_units}-1"
    yield from found.fault(path, expected, "number the units from 0 or correct n_units")


def _amplitudes(layout: Layout, frame: Frame) -> Iterator[Fault]:
    path = schema.AMPLITUDES
    if path not in layout.arrays:
        return
    faults = list(form(layout, path, (frame.n_events,)))
    yield from faults
    if not faults:
        bad = tally(layout.arrays[path], lambda block: ~((block >= 0) & np.isfinite(block)))
        yield from bad.fault(path, "are negative, NaN or infinite", "remove these events or correct the sizes")


def _intervals(layout: Layout, frame: Frame) -> Iterator[Fault]:
    path = schema.INTERVALS
    if path not in layout.arrays:
        return
    if faults := list(form(layout, path, ("K", 2))):
        yield from faults
        return
    spans = read(layout.arrays[path])
    if not len(spans):
        yield Fault(path=path, message="no valid epoch, expected at least one", cure="leave intervals out to use all")
    yield from _spans(path, spans, strict=True)
    finite = np.isfinite(spans).all(axis=1)
    outside = Tally()
    outside.add(0, finite & ((spans[:, 0] < frame.start) | (spans[:, 1] > frame.stop)))
    yield from outside.fault(path, f"lie outside the span [{frame.start}, {frame.stop}] s", "cut them to the span")
    early = Tally()
    early.add(0, np.concatenate([[False], spans[1:, 0] < spans[:-1, 1]])[: len(spans)])
    yield from early.fault(path, "begin before the row before has ended", "sort and merge the intervals")


def _spans(path: str, spans: np.ndarray, *, strict: bool) -> Iterator[Fault]:
    """Faults of [start, stop] rows (K, 2): not finite, of negative length, or (strict) of none."""
    infinite_rows, negative = Tally(), Tally()
    infinite_rows.add(0, not_finite(spans))
    negative.add(0, spans[:, 1] <= spans[:, 0] if strict else spans[:, 1] < spans[:, 0])
    yield from infinite_rows.fault(path, "are NaN or infinite", "give their times or remove them")
    what = "have no or negative duration" if strict else "have negative duration"
    yield from negative.fault(path, f"{what} (stop before start)", "correct or remove them")


# ---------------------------------------------------------------------- tables


def _unit_column(name: str) -> Rule:
    def rule(layout: Layout, frame: Frame) -> Iterator[Fault]:
        path = f"units/{name}"
        kinds, n_dims = schema.UNIT_COLUMNS.get(name, (VALUES, None))
        yield from _column(layout, path, frame.n_units, kinds)
        column = layout.arrays.get(path)
        if column is None or not column.shape:
            return
        if n_dims is not None and len(column.shape) != n_dims:
            expected = f"{n_dims} dimension{'s' if n_dims > 1 else ''}"
            yield Fault(path=path, message=f"shape is {column.shape}, expected {expected}", cure="reshape it")
        elif name == "position" and column.shape[1] not in (2, 3):
            yield Fault(path=path, message=f"shape is {column.shape}, expected (N, 2) or (N, 3)", cure="reshape it")
        elif name == "id" and kind_of(column) in kinds:
            ids = read(column)
            unique, counts = np.unique(ids, return_counts=True)
            if (counts > 1).any():
                twice = unique[counts > 1][0].item()
                yield Fault(path=path, message=f"id {twice!r} occurs more than once", cure="give each unit its own id")

    return rule


def _column(layout: Layout, path: str, rows: int | str, kinds: tuple[str, ...]) -> Iterator[Fault]:
    """Faults of a column (rows, …) of a table."""
    faults = list(form(layout, path, None, kinds))
    yield from faults
    column = layout.arrays.get(path)
    if column is None or not column.shape:
        return
    if isinstance(rows, int) and column.shape[0] != rows:
        yield Fault(path=path, message=f"has {column.shape[0]} rows, expected {rows}", cure="give each row a value")
    if kind_of(column) == "text":
        yield from _text(layout, path)


def _text(layout: Layout, path: str) -> Iterator[Fault]:
    bad = [text for text in read(layout.arrays[path]).reshape(-1).tolist() if bad_text(text)]
    if bad:
        yield Fault(path=path, message=f"text {bad[0]!r} {bad_text(bad[0])}", cure="clean the text")


def _trial_column(name: str) -> Rule:
    def rule(layout: Layout, frame: Frame) -> Iterator[Fault]:
        path = f"trials/{name}"
        if name in ("start", "stop"):
            faults = list(form(layout, path, ("trials",)))
            yield from faults
            if not faults:
                bad = tally(layout.arrays[path], not_finite)
                yield from bad.fault(path, "are NaN or infinite", "give their times or remove these trials")
        start = layout.arrays.get("trials/start")
        rows = start.shape[0] if start is not None and start.shape else "trials"
        if name not in ("start", "stop"):
            yield from _column(layout, path, rows, VALUES)
        elif name == "stop" and not faults and layout.arrays[path].shape[0] != rows:
            found = layout.arrays[path].shape[0]
            yield Fault(path=path, message=f"has {found} rows, expected {rows}", cure="give each trial a stop")

    return rule


def _trial_order(layout: Layout, frame: Frame) -> Iterator[Fault]:
    pair = [layout.arrays.get(f"trials/{name}") for name in ("start", "stop")]
    start, stop = pair
    if start is None or stop is None or start.shape != stop.shape or len(start.shape) != 1:
        return
    if all(kind_of(array) == "float" for array in (start, stop)):
        negative = Tally()
        negative.add(0, read(stop) < read(start))
        yield from negative.fault("trials/stop", "have negative duration (stop before start)", "correct or remove them")


# ---------------------------------------------------------------------- series


def _series_attributes(path: str) -> Rule:
    def rule(layout: Layout, frame: Frame) -> Iterator[Fault]:
        yield from _attributes(layout, path, {"kind": str, "unit": str})
        found = layout.attributes.get(path, {})
        kinds = ("continuous",) if path == "traces" else schema.KINDS
        if isinstance(found.get("kind"), str) and found["kind"] not in kinds:
            expected = " or ".join(kinds)
            yield Fault(path=f"{path} attribute kind", message=f"is {found['kind']!r}, expected {expected}", cure="correct it")
        if "period" in found:
            yield from _attributes(layout, path, {"period": float})
            if _is(found["period"], float) and found["period"] <= 0:
                message = f"is {found['period']}, expected more than 0"
                yield Fault(path=f"{path} attribute period", message=message, cure="correct it or leave it out")

    return rule


def _series_timestamps(path: str) -> Rule:
    def rule(layout: Layout, frame: Frame) -> Iterator[Fault]:
        stamps = f"{path}/timestamps"
        if faults := list(form(layout, stamps, ("T",))):
            yield from faults
            return
        array = layout.arrays[stamps]
        if not array.shape[0]:
            yield Fault(path=stamps, message="no samples, expected at least one", cure="leave the series out")
        found = tally_times(array, strict=True)
        yield from found.infinite.fault(stamps, "are NaN or infinite", "remove these samples")
        cure = "sort the samples by time and keep one a time"
        yield from found.unordered.fault(stamps, "are not later than the row before", cure)

    return rule


def _series_values(path: str) -> Rule:
    def rule(layout: Layout, frame: Frame) -> Iterator[Fault]:
        kind = layout.attributes.get(path, {}).get("kind")
        values = f"{path}/values"
        stamps, array = layout.arrays.get(f"{path}/timestamps"), layout.arrays.get(values)
        rows = stamps.shape[0] if stamps is not None and stamps.shape else "T"
        n_dims = len(array.shape) if array is not None and array.shape else 1
        most = {"continuous": 2, "categorical": 2, "frames": 4}.get(str(kind), n_dims)
        least = 3 if kind == "frames" else 1
        sizes: tuple[int | str, ...] = ("D",) if most == 2 else ("H", "W", "C")
        shape = (rows, *sizes[: min(max(n_dims, least), most) - 1])
        if path == "traces":
            shape = (rows, frame.n_units)
        faults = list(form(layout, values, shape, ("integer",) if kind == "categorical" else NUMBERS))
        yield from faults
        labels = list(_labels(layout, path, kind))
        yield from labels
        if faults or array is None:
            return
        if array.size == 0 and rows != 0:
            yield Fault(path=values, message=f"shape is {array.shape}, expected no empty dimension", cure="leave it out")
        elif kind == "categorical" and not labels:
            top = layout.arrays[f"{path}/labels"].shape[0]
            bad = tally(array, lambda block: (block < -1) | (block >= top))
            cure = "use the index of the label, and -1 for a missing value"
            yield from bad.fault(values, f"are no index of a label, expected -1 to {top - 1}", cure)
        elif kind_of(array) == "float":
            yield from tally(array, infinite).fault(values, "are infinite", "use NaN for a missing value")

    return rule


def _labels(layout: Layout, path: str, kind: Any) -> Iterator[Fault]:
    labels = f"{path}/labels"
    if kind != "categorical":
        if labels in layout.arrays:
            yield Fault(path=labels, message=f"labels of {kind} values, expected none", cure="remove them or correct kind")
        return
    if faults := list(form(layout, labels, ("labels",), ("text",))):
        yield from faults
        return
    yield from _text(layout, labels)
    names = read(layout.arrays[labels]).tolist()
    if not names or len(set(names)) < len(names):
        yield Fault(path=labels, message=f"are {names}, expected different names", cure="name each category once")


# ---------------------------------------------------------------------- truth


def _truth_attributes(layout: Layout, frame: Frame) -> Iterator[Fault]:
    yield from _attributes(layout, "truth", dict(schema.TRUTH_ATTRIBUTES))
    found = layout.attributes["truth"]
    for name in ("block_s", "dt"):
        if _is(found.get(name), float) and found[name] <= 0:
            message = f"is {found[name]} s, expected more than 0"
            yield Fault(path=f"truth attribute {name}", message=message, cure="correct it")
    if _is(found.get("hidden"), int) and found["hidden"] < 0:
        yield Fault(path="truth attribute hidden", message=f"is {found['hidden']}, expected 0 or more", cure="correct it")
    if isinstance(found.get("emission"), str) and found["emission"] not in schema.EMISSIONS:
        message = f"is {found['emission']!r}, expected {' or '.join(schema.EMISSIONS)}"
        yield Fault(path="truth attribute emission", message=message, cure="correct it")


def _truth_matrices(layout: Layout, frame: Frame) -> Iterator[Fault]:
    for name, test, what in (
        ("weights", not_finite, "hold NaN or infinite weights"),
        ("delays", lambda block: ~((block >= 0) & np.isfinite(block)), "hold negative, NaN or infinite delays"),
    ):
        path = f"truth/{name}"
        faults = list(form(layout, path, (frame.n_units, frame.n_units)))
        yield from faults
        if not faults:
            yield from tally(layout.arrays[path], test).fault(path, what, "correct the simulator's output")


def _truth_likelihood(layout: Layout, frame: Frame) -> Iterator[Fault]:
    starts, path = "truth/block_starts", "truth/log_likelihood"
    faults = list(form(layout, starts, ("B",)))
    yield from faults
    n_blocks: int | str = "B" if faults else layout.arrays[starts].shape[0]
    if not faults:
        found = tally_times(layout.arrays[starts], strict=True)
        yield from found.infinite.fault(starts, "are NaN or infinite", "correct the simulator's output")
        yield from found.unordered.fault(starts, "are not later than the row before", "sort the blocks by time")
    faults = list(form(layout, path, (n_blocks, frame.n_units)))
    yield from faults
    if not faults:
        bad = tally(layout.arrays[path], not_finite)
        yield from bad.fault(path, "hold NaN or infinite values", "correct the simulator's output")


def _truth_extra(layout: Layout, frame: Frame) -> Iterator[Fault]:
    for name in layout.children("truth/extra"):
        path = f"truth/extra/{name}"
        array = layout.arrays.get(path)
        if array is not None and kind_of(array) not in VALUES:
            yield Fault(path=path, message="holds neither numbers nor text", cure="remove it")
        elif array is not None and kind_of(array) == "text":
            yield from _text(layout, path)


# ---------------------------------------------------------------------- what follows from the rest


def check_derived(layout: Layout) -> list[Fault]:
    """Faults of the counts and coarse indices that a file keeps; for a layout that has passed `check`."""
    faults: list[Fault] = []
    stamps = [path for path in layout.arrays if schema.is_timestamps(path)]
    for path in (schema.TIMES, *stamps):
        index = f"{path.rsplit('/', 1)[0]}/{schema.INDEX}"
        faults.extend(_derived(layout, index, np.dtype(np.float64), _strided(layout, path)))
    counts = np.zeros(Frame.of(layout).n_units, dtype=np.int64)
    for _, units in blocks(layout.arrays[schema.UNITS]):
        counts += np.bincount(units, minlength=len(counts))
    faults.extend(_derived(layout, schema.COUNTS, np.dtype(np.int64), counts))
    return faults


def _strided(layout: Layout, path: str) -> np.ndarray:
    parts = [times[-first % schema.INDEX_STRIDE :: schema.INDEX_STRIDE] for first, times in blocks(layout.arrays[path])]
    return np.concatenate(parts)


def _derived(layout: Layout, path: str, dtype: np.dtype, expected: np.ndarray) -> Iterator[Fault]:
    if path not in layout.arrays:
        yield Fault(path=path, message="missing", cure="convert the recording again")
    elif layout.arrays[path].dtype != dtype or not np.array_equal(read(layout.arrays[path]), expected):
        source = "events/units" if path == schema.COUNTS else "the times beside it"
        yield Fault(path=path, message=f"does not agree with {source}", cure="convert the recording again")
