"""What a session must satisfy, whether it is about to be written or was found in a file."""

from collections.abc import Iterator

from neuroformer.session import schema
from neuroformer.session.layout import Layout, UnreadableError
from neuroformer.session.rules.events import check_amplitudes, check_intervals, check_times, check_units
from neuroformer.session.rules.frame import Frame, Rule, check_root
from neuroformer.session.rules.series import check_samples, check_series, check_timestamps
from neuroformer.session.rules.tables import check_trial_column, check_trials, check_unit_column
from neuroformer.session.rules.truth import check_extra, check_likelihood, check_matrices, check_truth
from neuroformer.session.types import Fault


def check(layout: Layout) -> list[Fault]:
    """All faults of a session's content; the arrays are looked through block by block."""
    frame = Frame.of(layout)
    faults = list(layout.faults)
    for rule in _rules(layout):
        try:
            faults.extend(rule(layout, frame))
        except UnreadableError as error:  # of one array; the others are still looked at
            faults.append(error.fault)
    return list(dict.fromkeys(faults))


def _rules(layout: Layout) -> Iterator[Rule]:
    yield from (_check_places, check_root, check_times, check_units, check_amplitudes, check_intervals)
    yield from (check_unit_column(name) for name in layout.children("units"))
    if trials := layout.children("trials"):
        yield check_trials
        yield from (check_trial_column(name) for name in trials)
    series = ["traces"] if "traces" in layout.attributes else []
    series += [f"{group}/{name}" for group in schema.SERIES_GROUPS for name in layout.children(group)]
    for path in series:
        yield from (check_series(path), check_timestamps(path), check_samples(path))
    if "truth" in layout.attributes:
        yield from (check_truth, check_matrices, check_likelihood, check_extra)


def _check_places(layout: Layout, frame: Frame) -> Iterator[Fault]:
    """A misspelt group would otherwise be passed over in silence."""
    groups = [path for path in layout.attributes if not schema.GROUP_PATHS.fullmatch(path)]
    arrays = [path for path in layout.arrays if not schema.ARRAY_PATHS.fullmatch(path)]
    for path in (*groups, *arrays):
        yield Fault(path, "has no place in a session file", "check the spelling or remove it")
