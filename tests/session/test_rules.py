"""One rule set: what is wrong in memory is refused by the writer and found in a file, in the same words."""

from dataclasses import replace

import numpy as np
import pytest

from neuroformer.errors import UserError
from neuroformer.session import Events, TimeSeries, validate_file, write_session
from neuroformer.session.layout import Layout
from neuroformer.session.rules import check


def series(values, *, timestamps=None, kind="continuous", **more):
    clock = np.arange(len(values), dtype=float) if timestamps is None else timestamps
    return TimeSeries(timestamps=clock, values=values, kind=kind, **more)


def events(times, units=None, amplitudes=None):
    units = np.zeros(len(times), dtype=np.int32) if units is None else units
    return Events(times=np.asarray(times, dtype=float), units=units, amplitudes=amplitudes)


def one_behavior(**parts):
    return lambda data: {"behavior": {"x": series(**parts)}}


def truth(**changes):
    return lambda data: {"truth": replace(data.truth, **changes)}


FOUR = np.arange(4.0)
CASES = {
    # events
    "empty session": (lambda d: {"events": events([])}, "events/times", "0 events"),
    "unsorted times": (lambda d: {"events": events([20, 19])}, "events/times", "earlier than the row before"),
    "NaN time": (lambda d: {"events": events([20, np.nan])}, "events/times", "1 of 2 rows are NaN"),
    "infinite time": (lambda d: {"events": events([20, np.inf])}, "events/times", "first: row 1"),
    "event before start": (
        lambda d: {"events": events([9.9, 20])},
        "events/times",
        "outside the recorded span",
    ),
    "event at stop": (lambda d: {"events": events([20, 70.0])}, "events/times", "[10.0, 70.0) s"),
    "times of two dimensions": (
        lambda d: {"events": Events(times=np.ones((2, 2)), units=np.zeros(2, dtype=int))},
        "events/times",
        "shape is (2, 2), expected (E,)",
    ),
    "times as text": (
        lambda d: {"events": Events(times=np.array(["a", "b"]), units=np.zeros(2, dtype=int))},
        "events/times",
        "dtype is text, expected float64",
    ),
    "unit too high": (
        lambda d: {"events": events([20, 21], [0, 4])},
        "events/units",
        "expected a unit index from 0 to 3",
    ),
    "unit below 0": (
        lambda d: {"events": events([20, 21], [0, -1])},
        "events/units",
        "1 of 2 rows are out of range",
    ),
    "unit beyond 32 bits": (
        lambda d: {"events": events([20.0], [2**32])},
        "events/units",
        "are out of range",
    ),
    "units as fractions": (
        lambda d: {"events": events([20.0], [0.5])},
        "events/units",
        "dtype is float64, expected int32",
    ),
    "fewer units than times": (
        lambda d: {"events": events([20, 21], [0])},
        "events/units",
        "shape is (1,), expected (2,)",
    ),
    "negative amplitude": (
        lambda d: {"events": events([20.0], None, [-1.0])},
        "events/amplitudes",
        "negative",
    ),
    "NaN amplitude": (lambda d: {"events": events([20.0], None, [np.nan])}, "events/amplitudes", "NaN"),
    "amplitude too large": (
        lambda d: {"events": events([20.0], None, [1e300])},
        "events/amplitudes",
        "infinite",
    ),
    "fewer amplitudes": (
        lambda d: {"events": events([20, 21], None, [1.0])},
        "events/amplitudes",
        "expected (2,)",
    ),
    # attributes
    "empty id": (lambda d: {"session_id": ""}, "/ attribute session_id", "is empty"),
    "id with a slash": (lambda d: {"subject_id": "a/b"}, "/ attribute subject_id", "holds '/'"),
    "id that is a folder": (lambda d: {"session_id": ".."}, "/ attribute session_id", "stands for a folder"),
    "id with a line break": (lambda d: {"session_id": "a\nb"}, "/ attribute session_id", "control character"),
    "id as a number": (lambda d: {"session_id": 5}, "/ attribute session_id", "is 5, expected text"),
    "NaN start": (lambda d: {"start": np.nan}, "/ attribute start", "expected a finite number"),
    "stop before start": (lambda d: {"stop": 10.0}, "/ attribute stop", "expected more than start"),
    "no units": (lambda d: {"n_units": 0}, "/ attribute n_units", "expected 1 or more"),
    "half a unit": (lambda d: {"n_units": 3.5}, "/ attribute n_units", "expected a whole number"),
    # intervals
    "interval backwards": (lambda d: {"intervals": [[30, 20]]}, "intervals", "no or negative duration"),
    "interval of no length": (lambda d: {"intervals": [[20, 20]]}, "intervals", "no or negative duration"),
    "overlapping intervals": (
        lambda d: {"intervals": [[10, 30], [29, 40]]},
        "intervals",
        "row before has ended (first: row 1)",
    ),
    "unsorted intervals": (lambda d: {"intervals": [[40, 50], [10, 20]]}, "intervals", "begin before"),
    "interval outside": (lambda d: {"intervals": [[0, 30]]}, "intervals", "outside the recorded span"),
    "NaN interval": (lambda d: {"intervals": [[10, np.nan]]}, "intervals", "NaN"),
    "no interval": (lambda d: {"intervals": np.empty((0, 2))}, "intervals", "no valid epoch"),
    "interval as a pair": (lambda d: {"intervals": [10.0, 20.0]}, "intervals", "expected (K, 2)"),
    # tables
    "unit column too short": (
        lambda d: {"units": {"depth": FOUR[:3]}},
        "units/depth",
        "has 3 rows, expected 4",
    ),
    "unit column as a value": (lambda d: {"units": {"depth": np.array(1.0)}}, "units/depth", "single value"),
    "repeated id": (
        lambda d: {"units": {"id": ["a", "b", "a", "c"]}},
        "units/id",
        "'a' is the id of several",
    ),
    "region as numbers": (
        lambda d: {"units": {"region": FOUR}},
        "units/region",
        "dtype is float64, expected text",
    ),
    "flat position": (lambda d: {"units": {"position": FOUR}}, "units/position", "expected 2 dimension"),
    "position in 4 dimensions": (
        lambda d: {"units": {"position": np.ones((4, 4))}},
        "units/position",
        "(N, 2) or (N, 3)",
    ),
    "complex column": (lambda d: {"units": {"phase": FOUR * 1j}}, "units/phase", "dtype is complex128"),
    "trial backwards": (
        lambda d: {"trials": {"start": [20.0], "stop": [19.0]}},
        "trials/stop",
        "negative duration",
    ),
    "NaN trial": (lambda d: {"trials": {"start": [np.nan], "stop": [19.0]}}, "trials/start", "NaN"),
    "trials without stop": (lambda d: {"trials": {"start": [20.0]}}, "trials/stop", "missing"),
    "fewer stops": (
        lambda d: {"trials": {"start": [1.0, 2.0], "stop": [3.0]}},
        "trials/stop",
        "expected (2,)",
    ),
    "trial column too long": (
        lambda d: {"trials": d.trials | {"outcome": FOUR}},
        "trials/outcome",
        "has 4 rows, expected 2",
    ),
    # series
    "repeated timestamp": (
        one_behavior(values=FOUR, timestamps=np.array([0, 1, 1, 2.0])),
        "behavior/x/timestamps",
        "not later than the row before (first: row 2)",
    ),
    "NaN timestamp": (
        one_behavior(values=FOUR, timestamps=np.array([0, 1, np.nan, 2.0])),
        "behavior/x/timestamps",
        "NaN",
    ),
    "no samples": (one_behavior(values=FOUR[:0]), "behavior/x/timestamps", "no samples"),
    "fewer values": (one_behavior(values=FOUR[:3], timestamps=FOUR), "behavior/x/values", "expected (4,)"),
    "infinite value": (one_behavior(values=np.array([0, np.inf])), "behavior/x/values", "infinite"),
    "values as text": (one_behavior(values=np.array(["a", "b"])), "behavior/x/values", "dtype is text"),
    "values of no width": (one_behavior(values=np.ones((4, 0))), "behavior/x/values", "no empty dimension"),
    "values of three dimensions": (
        one_behavior(values=np.ones((4, 2, 2))),
        "behavior/x/values",
        "expected (4, D)",
    ),
    "flat frames": (one_behavior(values=FOUR, kind="frames"), "behavior/x/values", "expected (4, H, W)"),
    "unknown kind": (
        one_behavior(values=FOUR, kind="discrete"),
        "behavior/x attribute kind",
        "is 'discrete', expected",
    ),
    "negative period": (one_behavior(values=FOUR, period=-1.0), "behavior/x attribute period", "more than 0"),
    "category without a label": (
        one_behavior(values=np.array([0, 2]), kind="categorical", labels=("a", "b")),
        "behavior/x/values",
        "expected 0 to 1, or -1 where missing",
    ),
    "categories as fractions": (
        one_behavior(values=FOUR, kind="categorical", labels=("a",)),
        "behavior/x/values",
        "expected integer",
    ),
    "no labels": (one_behavior(values=np.array([0, 1]), kind="categorical"), "behavior/x/labels", "missing"),
    "repeated labels": (
        one_behavior(values=np.array([0, 1]), kind="categorical", labels=("a", "a")),
        "behavior/x/labels",
        "expected different names",
    ),
    "labels of numbers": (
        one_behavior(values=FOUR, labels=("a",)),
        "behavior/x/labels",
        "names categories of",
    ),
    "traces of too few units": (
        lambda d: {"traces": series(np.ones((5, 3)))},
        "traces/values",
        "shape is (5, 3), expected (5, 4)",
    ),
    "categorical traces": (
        lambda d: {"traces": series(np.ones((5, 4), dtype=int), kind="categorical", labels=("a", "b"))},
        "traces attribute kind",
        "expected continuous",
    ),
    # truth
    "weights of too few units": (truth(weights=np.ones((3, 3))), "truth/weights", "expected (4, 4)"),
    "NaN weight": (truth(weights=np.full((4, 4), np.nan)), "truth/weights", "4 of 4 rows hold NaN"),
    "negative delay": (truth(delays=-np.ones((4, 4))), "truth/delays", "negative delays"),
    "likelihood of other blocks": (
        truth(log_likelihood=np.ones((2, 4))),
        "truth/log_likelihood",
        "expected (6, 4)",
    ),
    "unsorted blocks": (truth(block_starts=np.zeros(6)), "truth/block_starts", "not later"),
    "no time step": (truth(dt=0.0), "truth attribute dt", "more than 0"),
    "unknown emission": (
        truth(emission="gamma"),
        "truth attribute emission",
        "expected poisson or bernoulli",
    ),
    "negative hidden": (truth(hidden=-1), "truth attribute hidden", "0 or more"),
    "complex extra": (truth(extra={"z": FOUR * 1j}), "truth/extra/z", "dtype is complex128"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_fault_is_refused_by_the_writer_and_found_in_a_file(name, make, store, tmp_path):
    change, place, words = CASES[name]
    data = make(**change(make()))

    with pytest.raises(UserError) as refused:
        write_session(tmp_path / "refused.h5", data)
    in_file = validate_file(store(tmp_path / "stored.h5", data))

    assert not (tmp_path / "refused.h5").exists()
    assert str(tmp_path / "refused.h5") in str(refused.value)
    assert any(fault.path == place and words in fault.message for fault in in_file), in_file
    assert all(fault.cure and "\n" not in str(fault) for fault in in_file)
    assert in_file == check(Layout.from_data(data))
    assert all(str(fault) in str(refused.value) for fault in in_file)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"behavior": {"a/b": series(FOUR)}}, "name 'a/b' holds '/'"),
        ({"stimulus": {"": series(FOUR)}}, "name '' is empty"),
        ({"units": {" x": FOUR}}, "name ' x' begins or ends with a space"),
        ({"units": {3: FOUR}}, "name 3 is a int, expected text"),
        ({"units": {"x": ["a", "b", "c\0d", "e"]}}, "holds a NUL character"),
        ({"units": {"x": [1, 2, 3, None]}}, "units/x: dtype is object"),
        ({"units": {"x": [[1], [2, 3], [], []]}}, "units/x: dtype is object"),
        ({"description": "\ud800"}, "attribute description: is not valid Unicode"),
    ],
)
def test_what_hdf5_cannot_hold_is_refused(change, words, make, tmp_path):
    with pytest.raises(UserError) as refused:
        write_session(tmp_path / "refused.h5", make(**change))
    assert words in str(refused.value)


def test_all_faults_are_named_at_once(make, tmp_path):
    data = make(
        session_id="", n_units=0, events=events([20, 19, np.nan]), behavior={"x": series(FOUR, kind="odd")}
    )
    with pytest.raises(UserError) as refused:
        write_session(tmp_path / "refused.h5", data)
    lines = str(refused.value).splitlines()
    assert len(lines) >= 5
    assert all(line.startswith(f"{tmp_path / 'refused.h5'}: not written: ") for line in lines)


def test_faults_are_counted_over_blocks(make, monkeypatch):
    monkeypatch.setattr("neuroformer.session.layout.BLOCK_BYTES", 64)
    times = np.linspace(10, 69, 100)
    times[[8, 50, 64]] = [0.0, np.nan, 11.0]  # rows 8 and 64 begin a block
    found = {fault.message for fault in check(Layout.from_data(make(events=events(times))))}
    assert found == {
        "1 of 100 rows are NaN or infinite (first: row 50)",
        "2 of 100 rows are earlier than the row before (first: row 8)",
        "1 of 100 rows lie outside the recorded span [10.0, 70.0) s (first: row 8)",
    }


def test_a_whole_session_has_no_faults(make):
    assert check(Layout.from_data(make())) == []


@pytest.mark.parametrize(
    "change",
    [
        {"start": 10, "stop": 70},
        {"n_units": np.int64(4)},
        {"events": Events(times=[20, 21], units=[0, 3])},
        {"events": Events(times=np.array([20.0], dtype=">f8"), units=np.array([1], dtype=np.uint64))},
        {"behavior": {"x": series(np.array([True, False]))}},
        {"units": {"id": [b"a", b"b", b"c", b"d"], "x": ["a", "b", "c", "d"]}},
        {"units": {}, "traces": None, "stimulus": {}, "behavior": {}, "trials": {}, "truth": None},
        {"trials": {"start": np.empty(0), "stop": np.empty(0)}},
        {"events": events([20.0, 20.0, 20.0], [1, 1, 0])},
    ],
)
def test_what_means_the_same_is_accepted(change, make, tmp_path):
    assert validate_file(write_session(tmp_path / "session.h5", make(**change))) == []
