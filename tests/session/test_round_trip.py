"""Random sessions come back as they were, whole and by slices."""

import pickle
import tempfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from neuroformer.session import Events, Session, SessionData, TimeSeries, Truth, validate_file, write_session

NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=8
).filter(lambda name: name == name.strip() and name not in (".", ".."))
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10)
TIMES = st.floats(-50, 50)
NUMBERS = arrays.from_dtype(np.dtype(np.float32), allow_infinity=False)


@st.composite
def columns(draw, n):
    """Columns of a table of n rows, of any kind."""
    values = st.sampled_from([np.float64, np.float32, np.int8, np.int64, np.uint16, np.bool_]).flatmap(
        lambda dtype: arrays.arrays(dtype, (n, *draw(arrays.array_shapes(min_dims=1, max_dims=1))))
    )
    text = st.lists(TEXTS, min_size=n, max_size=n).map(lambda texts: np.array(texts, dtype=np.str_))
    return draw(st.one_of(values, text))


@st.composite
def series(draw, width=None):
    stamps = np.array(sorted(draw(st.sets(TIMES, min_size=1, max_size=20))))
    kind = draw(st.sampled_from(["continuous", "categorical", "frames"])) if width is None else "continuous"
    if kind == "categorical":
        labels = tuple(draw(st.lists(TEXTS, min_size=1, max_size=4, unique=True)))
        codes = arrays.arrays(np.int16, len(stamps), elements=st.integers(-1, len(labels) - 1))
        return TimeSeries(timestamps=stamps, values=draw(codes), kind=kind, labels=labels)
    shape = {"frames": (2, 3), "continuous": ()}[kind] if width is None else (width,)
    values = draw(arrays.arrays(np.float32, (len(stamps), *shape), elements=NUMBERS))
    period = draw(st.none() | st.floats(0.5, 360))
    return TimeSeries(timestamps=stamps, values=values, kind=kind, unit=draw(TEXTS), period=period)


@st.composite
def sessions(draw):
    n_units, n_events = draw(st.integers(1, 5)), draw(st.integers(1, 40))
    times = np.sort(draw(arrays.arrays(np.float64, n_events, elements=TIMES)))
    size = arrays.arrays(np.float32, n_events, elements=st.floats(0, 9, width=32))
    n_trials, square = draw(st.integers(0, 3)), (n_units, n_units)
    events = Events(
        times=times,
        units=draw(arrays.arrays(np.int32, n_events, elements=st.integers(0, n_units - 1))),
        amplitudes=draw(st.none() | size),
    )
    truth = Truth(
        weights=draw(arrays.arrays(np.float32, square, elements=st.floats(-2, 2, width=32))),
        delays=draw(arrays.arrays(np.float32, square, elements=st.floats(0, 1, width=32))),
        log_likelihood=-np.ones((2, n_units)),
        block_starts=np.array([0.0, 10.0]),
        block_s=10.0,
        dt=draw(st.floats(1e-4, 1e-2)),
        emission=draw(st.sampled_from(["poisson", "bernoulli"])),
        hidden=draw(st.integers(0, 9)),
        extra=draw(st.dictionaries(NAMES, columns(3), max_size=2)),
    )
    start, stop = times[0] - draw(st.floats(0, 5)), times[-1] + draw(st.floats(0.001, 5))
    some = st.dictionaries(NAMES, series(), max_size=2)
    trials = {"start": np.arange(n_trials) * 2.0, "stop": np.arange(n_trials) * 2.0 + 1}
    return SessionData(
        session_id=draw(NAMES),
        subject_id=draw(NAMES),
        species=draw(TEXTS),
        description=draw(TEXTS),
        source=draw(TEXTS),
        start=float(start),
        stop=float(stop),
        n_units=n_units,
        events=events,
        units=draw(st.dictionaries(NAMES.map("x".__add__), columns(n_units), max_size=3)),
        traces=draw(st.none() | series(width=n_units)),
        stimulus=draw(some),
        behavior=draw(some),
        trials=draw(st.dictionaries(NAMES, columns(n_trials), max_size=2)) | trials,
        truth=draw(st.none() | st.just(truth)),
    )


def assert_same(found, expected):
    """Same values, same dtypes of numbers, through dataclasses and dicts."""
    if isinstance(expected, np.ndarray):
        assert found.dtype.kind == expected.dtype.kind
        assert expected.dtype.kind == "U" or found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected:
            assert_same(found[name], expected[name])
    elif hasattr(expected, "__dataclass_fields__"):
        for field in fields(expected):
            assert_same(getattr(found, field.name), getattr(expected, field.name))
    else:
        assert found == expected


@given(data=sessions(), span=st.tuples(TIMES, TIMES))
def test_random_sessions_come_back(data, span):
    start, stop = sorted(span)
    with tempfile.TemporaryDirectory() as folder:
        path = write_session(Path(folder) / "session.h5", data)
        assert validate_file(path) == []
        with pickle.loads(pickle.dumps(Session(path))) as session:
            assert_same(session.load(), data)
            counts = np.bincount(data.events.units, minlength=data.n_units)
            np.testing.assert_array_equal(session.event_counts, counts)

            inside = (data.events.times >= start) & (data.events.times < stop)
            found = session.events(start, stop)
            np.testing.assert_array_equal(found.times, data.events.times[inside])
            np.testing.assert_array_equal(found.units, data.events.units[inside])
            if data.events.amplitudes is not None:
                np.testing.assert_array_equal(found.amplitudes, data.events.amplitudes[inside])

            stored = [
                (lambda *span, name=name: session.behavior(name, *span), s)
                for name, s in data.behavior.items()
            ]
            stored += [
                (lambda *span, name=name: session.stimulus(name, *span), s)
                for name, s in data.stimulus.items()
            ]
            stored += [(session.traces, data.traces)] if data.traces is not None else []
            for read, whole in stored:
                inside = (whole.timestamps >= start) & (whole.timestamps < stop)
                part = read(start, stop)
                np.testing.assert_array_equal(part.timestamps, whole.timestamps[inside])
                np.testing.assert_array_equal(part.values, whole.values[inside])
                assert (part.kind, part.unit, part.labels) == (whole.kind, whole.unit, whole.labels)


@given(
    times=st.lists(st.integers(0, 30), min_size=1, max_size=60).map(sorted),
    span=st.tuples(st.none() | st.integers(-2, 32), st.none() | st.integers(-2, 32)),
    stride=st.integers(1, 7),
)
def test_slices_are_exact_at_every_stride_and_with_equal_times(times, span, stride):
    """Few distinct times, so that spans begin and end on events and strides on ties."""
    start, stop = span if None in span else sorted(span)
    data = SessionData(
        session_id="s",
        subject_id="m",
        start=0,
        stop=31,
        n_units=1000,
        events=Events(times=times, units=np.arange(len(times))),
    )
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("neuroformer.session.timeline.INDEX_STRIDE", stride)
        session = Session(write_session(Path(folder) / "session.h5", data))
        found = session.events(start, stop)
        session.close()
    low, high = -np.inf if start is None else start, np.inf if stop is None else stop
    inside = [i for i, time in enumerate(times) if low <= time < high]
    assert found.units.tolist() == inside
    assert found.times.tolist() == [times[i] for i in inside]
