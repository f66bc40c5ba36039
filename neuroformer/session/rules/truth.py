"""Rules of the circuit behind a simulated session."""

from collections.abc import Iterator

from neuroformer.session import schema
from neuroformer.session.layout import Layout, kind_of
from neuroformer.session.names import shortly
from neuroformer.session.rules.frame import Frame, attribute_path, check_attributes, has_type
from neuroformer.session.scan import (
    check_damage,
    check_form,
    check_text,
    not_a_size,
    not_finite,
    tally,
    tally_times,
)
from neuroformer.session.types import Fault

CURE = "correct the simulator's output"


def check_truth(layout: Layout, frame: Frame) -> Iterator[Fault]:
    """Steps are positive, and the emission is a known one."""
    yield from check_attributes(layout, "truth", schema.TRUTH_ATTRIBUTES)
    found = layout.attributes["truth"]
    for name in ("block_s", "dt"):
        if has_type(found.get(name), float) and found[name] <= 0:
            yield Fault(attribute_path("truth", name), f"is {found[name]} s, expected more than 0", CURE)
    if has_type(found.get("hidden"), int) and found["hidden"] < 0:
        yield Fault(attribute_path("truth", "hidden"), f"is {found['hidden']}, expected 0 or more", CURE)
    emission = found.get("emission")
    if isinstance(emission, str) and emission not in schema.EMISSIONS:
        message = f"is {shortly(emission)}, expected {' or '.join(schema.EMISSIONS)}"
        yield Fault(attribute_path("truth", "emission"), message, CURE)


def check_matrices(layout: Layout, frame: Frame) -> Iterator[Fault]:
    """Weights and delays are there for every pair of units."""
    for path, test, what in (
        ("truth/weights", not_finite, "hold NaN or infinite weights"),
        ("truth/delays", not_a_size, "hold NaN, infinite or negative delays"),
    ):
        faults = list(check_form(layout, path, (frame.n_units, frame.n_units)))
        yield from faults
        if not faults:
            yield from tally(layout.arrays[path], test).fault(path, what, CURE)


def check_likelihood(layout: Layout, frame: Frame) -> Iterator[Fault]:
    """The attainable likelihood is there for every block and unit."""
    starts, path = "truth/block_starts", "truth/log_likelihood"
    faults = list(check_form(layout, starts, ("B",)))
    yield from faults
    n_blocks: int | str = "B" if faults else layout.arrays[starts].shape[0]
    if not faults:
        found = tally_times(layout.arrays[starts], strict=True)
        yield from found.infinite.fault(starts, "are NaN or infinite", CURE)
        yield from found.unordered.fault(
            starts, "are not later than the row before", "sort the blocks by time"
        )
    faults = list(check_form(layout, path, (n_blocks, frame.n_units)))
    yield from faults
    if not faults:
        yield from tally(layout.arrays[path], not_finite).fault(path, "hold NaN or infinite values", CURE)


def check_extra(layout: Layout, frame: Frame) -> Iterator[Fault]:
    """Further arrays of the simulator are numbers or text."""
    for name in layout.children("truth/extra"):
        path = f"truth/extra/{name}"
        faults = list(check_form(layout, path, None, schema.VALUE_KINDS))
        yield from faults
        if faults:
            continue
        if kind_of(layout.arrays[path]) == "text":
            yield from check_text(layout, path)
        else:
            check_damage(layout.arrays[path])
