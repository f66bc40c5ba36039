"""What the arrays of a session are held against: number of units, number of events, recorded span."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuroformer.session import schema
from neuroformer.session.layout import Layout
from neuroformer.session.names import bad_name, bad_text, shortly
from neuroformer.session.types import Fault


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Sizes and span of a session; where one is unknown, its letter or an infinite time stands in."""

    n_units: int | str
    n_events: int | str
    start: float
    stop: float

    @classmethod
    def of(cls, layout: Layout) -> "Frame":
        """Take what is sound from the attributes of `layout`."""
        root = layout.attributes.get("", {})
        n_units = root.get("n_units")
        times = layout.arrays.get(schema.TIMES)
        return cls(
            n_units=n_units if isinstance(n_units, int) and n_units > 0 else "N",
            n_events=times.shape[0] if times is not None and times.shape else "E",
            start=_finite(root.get("start"), -np.inf),
            stop=_finite(root.get("stop"), np.inf),
        )


Rule = Callable[[Layout, Frame], Iterator[Fault]]


def _finite(value: Any, default: float) -> float:
    return value if has_type(value, float) and np.isfinite(value) else default


def has_type(value: Any, kind: type) -> bool:
    """Whether an attribute is of `kind`; whole numbers are numbers, truth values are not."""
    return isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool)


def check_attributes(layout: Layout, group: str, kinds: Mapping[str, type]) -> Iterator[Fault]:
    """Faults of the attributes of a group: absent, of another type, or numbers that are not finite."""
    words = {str: "text", float: "a number", int: "a whole number"}
    found = layout.attributes.get(group, {})
    for name, kind in kinds.items():
        path = attribute_path(group, name)
        if name not in found:
            yield Fault(path, f"missing, expected {words[kind]}", "add it")
        elif not has_type(found[name], kind):
            yield Fault(path, f"is {shortly(found[name])}, expected {words[kind]}", f"store {words[kind]}")
        elif kind is str and (reason := bad_text(found[name])):
            yield Fault(path, reason, "remove those characters")
        elif kind is float and not np.isfinite(found[name]):
            yield Fault(path, f"is {found[name]}, expected a finite number", "correct it")


def attribute_path(group: str, name: str) -> str:
    """How an attribute is called in a fault: "behavior/speed attribute unit"."""
    return f"{group or '/'} attribute {name}"


def check_root(layout: Layout, frame: Frame) -> Iterator[Fault]:
    """Faults of ids, span and number of units."""
    yield from check_attributes(layout, "", schema.ROOT_ATTRIBUTES)
    root = layout.attributes.get("", {})
    for name in ("session_id", "subject_id"):
        if isinstance(root.get(name), str) and (reason := bad_name(root[name])):
            yield Fault(attribute_path("", name), f"{shortly(root[name])} {reason}", "choose another id")
    if frame.stop <= frame.start:
        found = f"is {frame.stop} s, expected more than start ({frame.start} s)"
        yield Fault(attribute_path("", "stop"), found, "correct start and stop to the recorded span")
    if has_type(root.get("n_units"), int) and root["n_units"] < 1:
        found = f"is {root['n_units']}, expected 1 or more"
        yield Fault(attribute_path("", "n_units"), found, "set it to the number of recorded units")
