"""The rules of docs/session-file.md once more, written from that page alone: what is accepted must keep them."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neuroformer.session import SessionData, TimeSeries

STRIDE = 4096
MOST = 20_000_000  # numbers of one array; no sample comes near

ROOT = {
    "session_id": "text",
    "subject_id": "text",
    "species": "text",
    "description": "text",
    "source": "text",
    "start": "number",
    "stop": "number",
    "n_units": "integer",
}
TRUTH = {"block_s": "number", "dt": "number", "emission": "text", "hidden": "integer"}
FIXED = {
    "events/times": "f8",
    "events/units": "i4",
    "events/amplitudes": "f4",
    "events/counts": "i8",
    "events/index": "f8",
    "intervals": "f8",
    "trials/start": "f8",
    "trials/stop": "f8",
    "truth/weights": "f4",
    "truth/delays": "f4",
    "truth/log_likelihood": "f8",
    "truth/block_starts": "f8",
}
KINDS = ("continuous", "categorical", "frames")
SERIES = re.compile(r"traces|(stimulus|behavior)/[^/]+")
PLACES = re.compile(
    r"events|units|trials|traces|stimulus|behavior|(stimulus|behavior)/[^/]+|truth|truth/extra|intervals"
    r"|events/(times|units|amplitudes|counts|index)|(units|trials)/[^/]+"
    r"|(traces|(stimulus|behavior)/[^/]+)/(timestamps|values|labels|index)"
    r"|truth/(weights|delays|log_likelihood|block_starts)|truth/extra/[^/]+"
)


@dataclass
class Content:
    """A session as arrays and attributes by path; text as `str`."""

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    odd: list[str] = field(default_factory=list)  # what is no content

    def same_as(self, other: "Content") -> bool:
        """Whether the two hold the same, to the last bit, attributes that mean nothing apart."""
        return (
            self.arrays.keys() == other.arrays.keys()
            and all(_same(a, other.arrays[path]) for path, a in self.arrays.items())
            and _known(self.attributes) == _known(other.attributes)
        )


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return (
        a.shape == b.shape
        and a.dtype.kind == b.dtype.kind
        and bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))
    )


def _known(attributes: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    kept = {}
    for group, found in attributes.items():
        names = ROOT if not group else TRUTH if group == "truth" else ("kind", "unit", "period")
        if not group or group == "truth" or SERIES.fullmatch(group):
            kept[group] = {name: found[name] for name in names if name in found}
    return kept


def content_of_file(path: Path) -> Content:
    """Everything in a file, by h5py alone."""
    content = Content()

    def visit(group: h5py.Group, prefix: str, depth: int) -> None:
        content.attributes[prefix] = {name: _attribute(value) for name, value in group.attrs.items()}
        for name in group:
            where = f"{prefix}/{name}".lstrip("/")
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                content.odd.append(f"{where} lies in another file")
                continue
            node = group[name]
            if isinstance(node, h5py.Group) and depth:
                visit(node, where, depth - 1)
            elif isinstance(node, h5py.Dataset):
                _take(content, where, node)
            else:
                content.odd.append(f"{where} is neither group nor array")

    with h5py.File(path, "r", locking=False) as file:
        visit(file, "", 4)
    return content


def _take(content: Content, where: str, node: h5py.Dataset) -> None:
    if node.external or node.is_virtual:
        content.odd.append(f"{where} lies in another file")
    elif node.shape is None or node.size > MOST:
        content.odd.append(f"{where} has the shape {node.shape}")
    elif h5py.check_string_dtype(node.dtype) is not None:
        content.arrays[where] = np.asarray(node.asstr("utf-8", "strict")[()], dtype=np.str_)
    else:
        content.arrays[where] = np.asarray(node[()])


def _attribute(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.item() if isinstance(value, np.generic) else value


def content_of_data(data: SessionData) -> Content:
    """The same of a session in memory, without what a file keeps beside the data."""
    found = Content(attributes={"": {name: getattr(data, name) for name in ROOT}})
    found.arrays |= {"events/times": data.events.times, "events/units": data.events.units}
    if data.events.amplitudes is not None:
        found.arrays["events/amplitudes"] = data.events.amplitudes
    found.arrays["intervals"] = data.intervals
    found.arrays |= {f"units/{name}": column for name, column in data.units.items()}
    found.arrays |= {f"trials/{name}": column for name, column in data.trials.items()}
    series: dict[str, TimeSeries] = {} if data.traces is None else {"traces": data.traces}
    series |= {f"stimulus/{name}": one for name, one in data.stimulus.items()}
    series |= {f"behavior/{name}": one for name, one in data.behavior.items()}
    for path, one in series.items():
        found.attributes[path] = {"kind": one.kind, "unit": one.unit}
        if one.period is not None:
            found.attributes[path]["period"] = one.period
        found.arrays |= {f"{path}/timestamps": one.timestamps, f"{path}/values": one.values}
        if one.labels:
            found.arrays[f"{path}/labels"] = np.asarray(one.labels)
    if data.truth is not None:
        found.attributes["truth"] = {name: getattr(data.truth, name) for name in TRUTH}
        for name in ("weights", "delays", "log_likelihood", "block_starts"):
            found.arrays[f"truth/{name}"] = getattr(data.truth, name)
        found.arrays |= {f"truth/extra/{name}": array for name, array in data.truth.extra.items()}
    return found


def broken_rules(content: Content, *, stored: bool) -> list[str]:
    """The rules that a content breaks.

    Args:
        content: of a session.
        stored: whether it was found in a file, so that counts and indices must be there.
    """
    return [*content.odd, *_Rules(content, stored).broken()]


class _Rules:
    def __init__(self, content: Content, stored: bool) -> None:
        self.arrays, self.attributes, self.stored = content.arrays, content.attributes, stored
        self.found: list[str] = []

    def need(self, holds: object, rule: str) -> bool:
        if not holds:
            self.found.append(rule)
        return bool(holds)

    def broken(self) -> list[str]:
        for path in (*self.arrays, *filter(None, self.attributes)):
            self.need(PLACES.fullmatch(path), f"{path} has no place")
            for name in path.split("/"):
                self.need(_is_name(name), f"{path}: no name")
        for path, array in self.arrays.items():
            self.need(array.dtype.kind in "biufU", f"{path} holds {array.dtype}")
            dtype = "f8" if path.endswith("/timestamps") and SERIES.fullmatch(path[:-11]) else FIXED.get(path)
            if dtype is not None:
                self.need(array.dtype.newbyteorder("=") == np.dtype(dtype), f"{path} is {array.dtype}")
            if array.dtype.kind == "U":
                self.need(not any("\0" in text for text in array.reshape(-1).tolist()), f"{path} holds NUL")
        self.attribute_types("", ROOT)
        if self.found:
            return self.found
        root = self.attributes[""]
        self.n, self.start, self.stop = root["n_units"], root["start"], root["stop"]
        self.need(_is_name(root["session_id"]) and _is_name(root["subject_id"]), "ids are names")
        self.need(self.stop > self.start, "stop after start")
        self.need(self.n >= 1, "n_units of 1 or more")
        for part in (self.events, self.intervals, self.tables, self.series, self.truth):
            try:
                part()
            except KeyError as error:
                self.found.append(f"{error} is not there")
        return self.found

    def attribute_types(self, group: str, kinds: dict[str, str]) -> None:
        found = self.attributes.get(group, {})
        for name, kind in kinds.items():
            value = found.get(name)
            right = {
                "text": isinstance(value, str) and "\0" not in str(value) and _is_unicode(str(value)),
                "integer": isinstance(value, int) and not isinstance(value, bool),
                "number": isinstance(value, int | float)
                and not isinstance(value, bool)
                and np.isfinite(value),
            }[kind]
            self.need(right, f"{group}/ attribute {name} is {value!r}, no {kind}")

    def index(self, times: np.ndarray, path: str) -> None:
        if self.stored:
            self.need(np.array_equal(self.arrays[path], times[::STRIDE]), f"{path} is every {STRIDE}th time")

    def events(self) -> None:
        times, units = self.arrays["events/times"], self.arrays["events/units"]
        if not self.need(times.ndim == 1 and times.size and units.shape == times.shape, "events (E,)"):
            return
        self.need(np.isfinite(times).all() and (np.diff(times) >= 0).all(), "times finite and in order")
        self.need(((times >= self.start) & (times < self.stop)).all(), "times inside the span")
        if self.need(((units >= 0) & (units < self.n)).all(), "units 0 to N - 1") and self.stored:
            counts = self.arrays["events/counts"]
            right = counts.shape == (self.n,) and (counts == np.bincount(units, minlength=self.n)).all()
            self.need(right, "counts are those of the units")
        if "events/amplitudes" in self.arrays:
            sizes = self.arrays["events/amplitudes"]
            right = sizes.shape == times.shape and np.isfinite(sizes).all() and (sizes >= 0).all()
            self.need(right, "amplitudes 0 or more")
        self.index(times, "events/index")

    def intervals(self) -> None:
        if "intervals" not in self.arrays:
            return
        spans = self.arrays["intervals"]
        if self.need(spans.ndim == 2 and spans.shape[1:] == (2,) and len(spans), "intervals (K, 2)"):
            flat = spans.reshape(-1)
            self.need(np.isfinite(flat).all() and (np.diff(flat) >= 0).all(), "intervals in order, apart")
            self.need((spans[:, 1] > spans[:, 0]).all(), "intervals of positive length")
            self.need(flat[0] >= self.start and flat[-1] <= self.stop, "intervals inside the span")

    def tables(self) -> None:
        for path, column in self.arrays.items():
            group, _, name = path.partition("/")
            if group == "units" and self.need(column.ndim and len(column) == self.n, f"{path} (N, …)"):
                if name in ("region", "cell_type", "label"):
                    self.need(column.ndim == 1 and column.dtype.kind == "U", f"{path} is text")
                elif name == "id":
                    right = column.ndim == 1 and column.dtype.kind in "Uiu"
                    self.need(right and len(set(column.tolist())) == self.n, "ids, each once")
                elif name == "position":
                    right = column.ndim == 2 and column.shape[1] in (2, 3) and column.dtype.kind == "f"
                    self.need(right, "position (N, 2 or 3)")
                elif name == "global_id":
                    self.need(column.ndim == 1 and column.dtype.kind in "iu", "global_id is an integer")
        if trials := [path for path in self.arrays if path.startswith("trials/")]:
            start, stop = self.arrays["trials/start"], self.arrays["trials/stop"]
            if self.need(start.ndim == 1 and stop.shape == start.shape, "trials (trials,)"):
                self.need(np.isfinite(start).all() and np.isfinite(stop).all(), "trials finite")
                self.need((stop >= start).all(), "trials stop after they start")
                for path in trials:
                    column = self.arrays[path]
                    self.need(column.ndim and len(column) == len(start), f"{path} (trials, …)")

    def series(self) -> None:
        within = [path.rpartition("/")[0] for path in self.arrays]
        for path in {p for p in (*self.attributes, *within) if SERIES.fullmatch(p)}:
            self.one_series(path)

    def one_series(self, path: str) -> None:
        self.attribute_types(path, {"kind": "text", "unit": "text"})
        about = self.attributes.get(path, {})
        kind, times, values = (
            about.get("kind"),
            self.arrays[f"{path}/timestamps"],
            self.arrays[f"{path}/values"],
        )
        if not self.need(isinstance(kind, str) and kind in KINDS, f"{path}: kind"):
            return
        if "period" in about:
            self.attribute_types(path, {"period": "number"})
            self.need(
                isinstance(about["period"], int | float) and about["period"] > 0, f"{path}: period above 0"
            )
        if not self.need(times.ndim == 1 and times.size, f"{path}: timestamps (T,)"):
            return
        self.need(np.isfinite(times).all() and (np.diff(times) > 0).all(), f"{path}: timestamps increase")
        self.index(times, f"{path}/index")
        if not self.need(
            values.ndim and len(values) == len(times) and values.size, f"{path}: a value a timestamp"
        ):
            return
        if path == "traces":
            self.need(kind == "continuous" and values.shape[1:] == (self.n,), "traces (T, N)")
        labels = self.arrays.get(f"{path}/labels")
        self.need((labels is not None) == (kind == "categorical"), f"{path}: labels for categories only")
        if kind == "frames":
            self.need(values.ndim in (3, 4) and values.dtype.kind in "biuf", f"{path}: frames")
            self.need(values.dtype.kind != "f" or not np.isinf(values).any(), f"{path}: infinite")
        else:
            self.need(values.ndim in (1, 2), f"{path}: (T,) or (T, D)")
        if kind == "continuous":
            self.need(values.dtype.kind in "biuf", f"{path}: numbers")
            self.need(values.dtype.kind != "f" or not np.isinf(values).any(), f"{path}: infinite")
        if kind == "categorical" and labels is not None:
            names = labels.reshape(-1).tolist()
            self.need(labels.ndim == 1 and labels.dtype.kind == "U" and names, f"{path}: labels")
            self.need(len(set(names)) == len(names), f"{path}: labels, each once")
            right = values.dtype.kind in "iu" and (values < len(names)).all() and (values >= -1).all()
            self.need(right, f"{path}: the index of a label, or -1")

    def truth(self) -> None:
        if "truth" not in self.attributes and not any(path.startswith("truth/") for path in self.arrays):
            return
        self.attribute_types("truth", TRUTH)
        about, n = self.attributes.get("truth", {}), self.n
        self.need(str(about.get("emission")) in ("poisson", "bernoulli"), "emission")
        for name in ("block_s", "dt"):
            self.need(isinstance(about.get(name), int | float) and about[name] > 0, f"{name} above 0")
        self.need(isinstance(about.get("hidden"), int) and about["hidden"] >= 0, "hidden of 0 or more")
        weights, delays = self.arrays["truth/weights"], self.arrays["truth/delays"]
        self.need(weights.shape == (n, n) and np.isfinite(weights).all(), "weights (N, N)")
        right = delays.shape == (n, n) and np.isfinite(delays).all() and (delays >= 0).all()
        self.need(right, "delays (N, N)")
        starts, nats = self.arrays["truth/block_starts"], self.arrays["truth/log_likelihood"]
        if self.need(starts.ndim == 1, "block_starts (B,)"):
            self.need(np.isfinite(starts).all() and (np.diff(starts) > 0).all(), "block_starts increase")
            self.need(nats.shape == (len(starts), n) and np.isfinite(nats).all(), "log_likelihood (B, N)")


def _is_unicode(text: str) -> bool:
    return not any(0xD800 <= ord(character) <= 0xDFFF for character in text)


def _is_name(text: object) -> bool:
    return (
        isinstance(text, str)
        and bool(text)
        and text == text.strip()
        and text not in (".", "..")
        and "/" not in text
        and not any(ord(character) < 32 or ord(character) == 127 for character in text)
        and _is_unicode(text)
    )
