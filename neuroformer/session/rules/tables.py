"""Rules of the unit table and the trial table."""

from collections.abc import Iterator

import numpy as np

from neuroformer.session import schema
from neuroformer.session.layout import Layout, kind_of, read
from neuroformer.session.names import shortly
from neuroformer.session.rules.frame import Frame, Rule
from neuroformer.session.scan import check_damage, check_form, check_text, fault_where, not_finite, tally
from neuroformer.session.types import Fault


def check_unit_column(name: str) -> Rule:
    """A column has a row a unit; those whose meaning is fixed have their type and shape."""

    def rule(layout: Layout, frame: Frame) -> Iterator[Fault]:
        path = f"units/{name}"
        kinds, n_dims = schema.UNIT_COLUMNS.get(name, (schema.VALUE_KINDS, None))
        faults = list(_check_column(layout, path, frame.n_units, kinds))
        yield from faults
        if faults:
            return
        column = layout.arrays[path]
        if n_dims is not None and len(column.shape) != n_dims:
            yield Fault(path, f"shape is {column.shape}, expected {n_dims} dimension(s)", "reshape it")
        elif name == "position" and column.shape[1] not in (2, 3):
            yield Fault(path, f"shape is {column.shape}, expected (N, 2) or (N, 3)", "reshape it")
        elif name == "id":
            ids, counts = np.unique(read(column), return_counts=True)
            if (counts > 1).any():
                repeated = ids[counts > 1][0].item()
                yield Fault(
                    path, f"{shortly(repeated)} is the id of several units", "give each unit its own id"
                )

    return rule


def check_trials(layout: Layout, frame: Frame) -> Iterator[Fault]:
    """Each trial has a start and a stop, in this order."""
    start, stop = "trials/start", "trials/stop"
    faults = list(check_form(layout, start, ("trials",)))
    rows: int | str = "trials" if faults else layout.arrays[start].shape[0]
    faults += check_form(layout, stop, (rows,))
    yield from faults
    if faults:
        return
    for path in (start, stop):
        bad = tally(layout.arrays[path], not_finite)
        yield from bad.fault(path, "are NaN or infinite", "give their times, or remove these trials")
    negative = read(layout.arrays[stop]) < read(layout.arrays[start])
    yield from fault_where(stop, negative, "are before the trial's start (negative duration)", "correct them")


def check_trial_column(name: str) -> Rule:
    """A further column has a row a trial."""

    def rule(layout: Layout, frame: Frame) -> Iterator[Fault]:
        start = layout.arrays.get("trials/start")
        rows = start.shape[0] if start is not None and start.shape else "trials"
        if name not in ("start", "stop"):
            yield from _check_column(layout, f"trials/{name}", rows, schema.VALUE_KINDS)

    return rule


def _check_column(layout: Layout, path: str, rows: int | str, kinds: tuple[str, ...]) -> Iterator[Fault]:
    faults = list(check_form(layout, path, None, kinds))
    yield from faults
    if faults:
        return
    column = layout.arrays[path]
    if not column.shape:
        yield Fault(path, f"is a single value, expected {rows} rows", "store one value a row")
    elif isinstance(rows, int) and column.shape[0] != rows:
        yield Fault(path, f"has {column.shape[0]} rows, expected {rows}", "store one value a row")
    elif kind_of(column) == "text":
        yield from check_text(layout, path)
    else:
        check_damage(column)
