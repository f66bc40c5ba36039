"""Rules of a series: the traces, a stimulus, a behaviour."""

from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from neuroformer.session import schema
from neuroformer.session.layout import Layout, kind_of, read
from neuroformer.session.names import shortly
from neuroformer.session.rules.frame import Frame, Rule, attribute_path, check_attributes, has_type
from neuroformer.session.scan import check_damage, check_form, check_text, tally, tally_times
from neuroformer.session.types import Fault

# Sizes of a sample by kind: the dimensions that it may have beside time, and how many of them it must have.
SAMPLE_SIZES: dict[Any, tuple[tuple[str, ...], int]] = {
    "continuous": (("D",), 0),
    "categorical": (("D",), 0),
    "frames": (("H", "W", "C"), 2),
}


def check_series(path: str) -> Rule:
    """The series says what its values are."""

    def rule(layout: Layout, frame: Frame) -> Iterator[Fault]:
        yield from check_attributes(layout, path, {"kind": str, "unit": str})
        found = layout.attributes.get(path, {})
        kind, period = found.get("kind"), found.get("period")
        expected = ("continuous",) if path == "traces" else schema.KINDS
        if isinstance(kind, str) and kind not in expected:
            message = f"is {shortly(kind)}, expected {' or '.join(expected)}"
            yield Fault(attribute_path(path, "kind"), message, "correct it")
        if "period" in found:
            yield from check_attributes(layout, path, {"period": float})
            if period is not None and has_type(period, float) and period <= 0:
                message = f"is {period}, expected more than 0"
                yield Fault(attribute_path(path, "period"), message, "correct it, or leave it out")

    return rule


def check_timestamps(path: str) -> Rule:
    """Timestamps are finite and strictly increasing."""

    def rule(layout: Layout, frame: Frame) -> Iterator[Fault]:
        stamps = f"{path}/timestamps"
        if faults := list(check_form(layout, stamps, ("T",))):
            yield from faults
            return
        array = layout.arrays[stamps]
        if not array.shape[0]:
            yield Fault(stamps, "no samples, expected at least one", "leave this series out")
        found = tally_times(array, strict=True)
        yield from found.infinite.fault(stamps, "are NaN or infinite", "remove these samples")
        cure = "sort the samples by time and keep one of those that share a time"
        yield from found.unordered.fault(stamps, "are not later than the row before", cure)

    return rule


def check_samples(path: str) -> Rule:
    """One value a timestamp, of the shape and range of its kind."""

    def rule(layout: Layout, frame: Frame) -> Iterator[Fault]:
        kind = layout.attributes.get(path, {}).get("kind")
        kind = kind if isinstance(kind, str) else None
        values = f"{path}/values"
        array = layout.arrays.get(values)
        faults = list(check_form(layout, values, _shape(layout, frame, path, kind), _value_kinds(kind)))
        label_faults = list(_check_labels(layout, path, kind))
        yield from faults
        yield from label_faults
        if faults or array is None:
            return
        if array.shape[0] and not array.size:
            yield Fault(
                values, f"shape is {array.shape}, expected no empty dimension", "leave this series out"
            )
        elif kind == "categorical" and not label_faults:
            top = layout.arrays[f"{path}/labels"].shape[0]
            bad = tally(array, lambda block: (block < -1) | (block >= top))
            what = f"are no index of a label, expected 0 to {top - 1}, or -1 where missing"
            yield from bad.fault(values, what, "correct the values, or add the labels")
        elif kind_of(array) == "float":
            cure = "use NaN where a value is missing"
            yield from tally(array, np.isinf).fault(values, "are infinite", cure)
        else:
            check_damage(array)

    return rule


def sample_form(
    path: str, kind: Any, group: h5py.Group, n_samples: int, n_units: int
) -> tuple[tuple[int | str, ...] | None, tuple[str, ...]]:
    """The shape and the kinds of values that a stored series of `kind` must have."""
    values = group.get("values")
    arrays = {f"{path}/values": values} if isinstance(values, h5py.Dataset) else {}
    layout = Layout(arrays=arrays | {f"{path}/timestamps": np.empty(n_samples)})
    frame = Frame(n_units=n_units, n_events="E", start=-np.inf, stop=np.inf)
    return _shape(layout, frame, path, kind), _value_kinds(kind)


def _value_kinds(kind: Any) -> tuple[str, ...]:
    return ("integer",) if kind == "categorical" else schema.NUMBER_KINDS


def _shape(layout: Layout, frame: Frame, path: str, kind: Any) -> tuple[int | str, ...] | None:
    """The shape that the values must have; None where the kind is unknown."""
    stamps, values = (layout.arrays.get(f"{path}/{name}") for name in ("timestamps", "values"))
    rows = stamps.shape[0] if stamps is not None and stamps.shape else "T"
    if path == "traces":
        return rows, frame.n_units
    if kind not in SAMPLE_SIZES:
        return None
    sizes, fewest = SAMPLE_SIZES[kind]
    found = len(values.shape) - 1 if values is not None and values.shape else 0
    return rows, *sizes[: max(found, fewest)]


def _check_labels(layout: Layout, path: str, kind: Any) -> Iterator[Fault]:
    """A categorical series names its categories, and no other does."""
    labels = f"{path}/labels"
    if kind != "categorical":
        if labels in layout.arrays and kind in schema.KINDS:
            yield Fault(labels, f"names categories of {kind} values", "remove it, or correct kind")
        return
    if faults := list(check_form(layout, labels, ("labels",), ("text",))):
        yield from faults
        return
    yield from check_text(layout, labels)
    names = read(layout.arrays[labels]).tolist()
    if not names or len(set(names)) < len(names):
        yield Fault(labels, f"are {shortly(names)}, expected different names", "name each category once")
