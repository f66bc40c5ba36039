"""The reader is lazy, travels between processes, and says what is wrong."""

import multiprocessing
import os
import pickle
import shutil
import threading
import time

import h5py
import numpy as np
import pytest

from neuroformer.errors import UserError
from neuroformer.session import Events, Session, TimeSeries, write_session


def test_a_session_tells_what_it_is(session_file, make):
    data = make()
    with Session(session_file) as session:
        assert (session.session_id, session.subject_id) == ("mouse1_day2", "mouse1")
        assert (session.species, session.description) == ("Mus musculus", "linear track, 2 µm")
        assert (session.start, session.stop, session.duration) == (10.0, 70.0, 60.0)
        assert (session.n_units, session.n_events) == (4, 300)
        assert session.has_amplitudes
        assert session.stimulus_names == ("movie",)
        assert session.behavior_names == ("heading", "side")
        assert session.units["id"].tolist() == ["a1", "b2", "é3", "d4"]
        assert session.units["id"].dtype.kind == "U"
        assert session.trials["outcome"].tolist() == ["hit", "miss"]
        np.testing.assert_array_equal(session.intervals, data.intervals)
        np.testing.assert_array_equal(session.truth.weights, data.truth.weights)
        assert session.truth.extra["names"].tolist() == ["x", "y"]


def test_the_size_of_a_series_is_known_without_reading_it(session_file):
    with Session(session_file) as session:
        movie, heading = session.stimulus_info("movie"), session.behavior_info("heading")
        assert (movie.n_samples, movie.shape, movie.dtype) == (120, (6, 5), np.dtype(np.uint8))
        assert (heading.unit, heading.period, heading.rate) == ("deg", 360.0, pytest.approx(2.0))
        assert session.behavior_info("side").labels == ("left", "right")
        assert session.traces_info().shape == (4,)


def test_a_bare_session_has_no_more_than_its_events(make, tmp_path):
    bare = make(
        events=Events(times=[20.0], units=[3]),
        units={},
        traces=None,
        stimulus={},
        behavior={},
        trials={},
        intervals=None,
        truth=None,
    )
    with Session(write_session(tmp_path / "bare.h5", bare)) as session:
        assert not session.has_amplitudes
        assert session.events().amplitudes is None
        assert not session.has_traces
        assert session.units == {} == session.trials
        assert session.stimulus_names == () == session.behavior_names
        assert session.truth is None
        assert session.intervals.tolist() == [[10.0, 70.0]]
        assert session.event_counts.tolist() == [0, 0, 0, 1]
        with pytest.raises(UserError, match="no traces in this session; there is none"):
            session.traces(0, 1)


def test_a_slice_reads_little_of_a_long_recording(make, tmp_path, monkeypatch):
    n = 400_000
    times = np.linspace(0, 3600, n, endpoint=False)
    long = make(
        start=0.0,
        stop=3600.0,
        intervals=None,
        events=Events(times=times, units=np.arange(n) % 4),
        traces=None,
        stimulus={},
        behavior={"speed": TimeSeries(timestamps=times, values=times, kind="continuous")},
    )
    rows = []
    read = h5py.Dataset.__getitem__

    def counting(dataset, key, **options):
        values = read(dataset, key, **options)
        rows.append(np.size(values))
        return values

    with Session(write_session(tmp_path / "long.h5", long)) as session:
        monkeypatch.setattr(h5py.Dataset, "__getitem__", counting)
        found = session.events(1800.0, 1810.0)
        speed = session.behavior("speed", 1800.0, 1810.0)
    assert len(found) == len(speed) == 1111
    assert sum(rows) < 30_000


def test_an_empty_span_has_nothing_in_it(session_file):
    with Session(session_file) as session:
        for span in [(20.0, 20.0), (-5.0, 0.0), (1e3, 1e4)]:
            assert len(session.events(*span)) == 0
            assert session.behavior("heading", *span).values.shape == (0,)
            assert session.traces(*span).values.shape == (0, 4)


@pytest.mark.parametrize("span", [(2.0, 1.0), (np.nan, 1.0), (0.0, np.nan)])
def test_a_span_backwards_is_refused(session_file, span):
    with Session(session_file) as session:
        for read in (session.events, session.traces):
            with pytest.raises(ValueError, match="expected start <= stop"):
                read(*span)


def test_an_unknown_series_names_those_there_are(session_file):
    with Session(session_file) as session:
        with pytest.raises(UserError, match="no behavior/speed in this session; there is heading, side"):
            session.behavior("speed", 0, 1)
        with pytest.raises(UserError, match="there is movie"):
            session.stimulus_info("film")


def test_a_closed_session_opens_again(session_file):
    session = Session(session_file)
    before = session.events(10, 20)
    session.close()
    session.close()
    np.testing.assert_array_equal(session.events(10, 20).times, before.times)
    session.close()


def test_only_the_path_is_pickled(session_file):
    with Session(session_file) as session:
        session.events()
        sent = pickle.dumps(session)
    assert len(sent) < 500
    assert pickle.loads(sent).events(10, 20).times.tolist() == session.events(10, 20).times.tolist()
    session.close()


def times_in(session, start, stop):
    return os.getpid(), session.events(start, stop).times.tolist()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_other_processes_read_the_same(session_file, method):
    with Session(session_file) as session:
        expected = session.events(20, 30).times.tolist()  # opens the file here first
        with multiprocessing.get_context(method).Pool(2) as pool:
            found = pool.starmap(times_in, [(session, 20, 30)] * 4)
    assert all(times == expected for _, times in found)
    assert os.getpid() not in {pid for pid, _ in found}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_opens_the_file_anew(session_file):
    session = Session(session_file)
    expected = session.events(20, 30).times
    handle = session._handle
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        same = np.array_equal(session.events(20, 30).times, expected)
        os.write(writer, b"new" if same and session._handle is not handle else b"old")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert os.read(reader, 3) == b"new"
    assert session._handle is handle
    np.testing.assert_array_equal(session.events(20, 30).times, expected)  # not disturbed by the child
    session.close()


def test_threads_may_share_a_session(session_file):
    with Session(session_file) as session:
        expected = session.events(20, 40).times
        wrong = []

        def read():
            for _ in range(20):
                if not np.array_equal(session.events(20, 40).times, expected):
                    wrong.append(time.monotonic())

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_a_reader_keeps_the_file_that_it_opened_while_another_is_put_in_its_place(session_file, make):
    with Session(session_file) as session:
        before = session.events(10, 20).times
        write_session(session_file, make(events=Events(times=[11.0], units=[0])), overwrite=True)
        np.testing.assert_array_equal(session.events(10, 20).times, before)
    with Session(session_file) as session:
        assert session.events(10, 20).times.tolist() == [11.0]


def test_a_file_of_fixed_length_text_and_other_byte_order_is_read(session_file):
    """As other HDF5 libraries write them."""
    with h5py.File(session_file, "r+") as file:
        file.attrs["session_id"] = np.bytes_("day 3")
        file.attrs["schema_version"] = np.array([b"1.0"])
        units, counts = file["units/id"][()], file["events/counts"][()]
        del file["units/id"], file["events/counts"], file["units/depth_um"]
        file["units/id"] = units.astype("S3")
        file["units/depth_um"] = np.arange(4.0).astype(">f8")
        file["events/counts"] = counts.astype(">i8")
    with Session(session_file) as session:
        assert session.session_id == "day 3"
        assert session.units["id"].tolist() == ["a1", "b2", "é3", "d4"]
        assert session.units["depth_um"].dtype.isnative
        assert session.event_counts.sum() == 300


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: (path.unlink(), path.mkdir()), "is a folder, expected a session file"),
        (lambda path: path.write_bytes(b"not HDF5 at all"), "not an HDF5 file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "cut short"),
    ],
)
def test_what_is_no_session_is_one_line_with_a_cure(session_file, damage, words):
    damage(session_file)
    with pytest.raises(UserError, match=words) as error:
        Session(session_file).n_units  # noqa: B018
    assert str(session_file) in str(error.value)
    assert "\n" not in str(error.value)
    assert "; " in str(error.value)


def edit(path, change):
    with h5py.File(path, "r+") as file:
        change(file)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.attrs.update(schema_version="2.0"), "upgrade neuroformer"),
        (lambda f: f.attrs.__delitem__("format"), "not a session file"),
        (lambda f: f.attrs.__delitem__("n_units"), "neuroformer validate"),
        (lambda f: f.__delitem__("events/units"), "neuroformer validate"),
        (lambda f: f.__delitem__("events/index"), "neuroformer validate"),
    ],
)
def test_what_is_missing_inside_is_one_line_with_a_cure(session_file, change, words):
    edit(session_file, change)
    with pytest.raises(UserError, match=words) as error:
        Session(session_file).load()
    assert "\n" not in str(error.value)


def test_bits_that_flipped_on_the_disk_are_noticed(session_file):
    with h5py.File(session_file) as file:
        chunk = file["events/times"].id.get_chunk_info(0)
    content = bytearray(session_file.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 1
    session_file.write_bytes(content)
    with Session(session_file) as session, pytest.raises(UserError, match="cannot read events"):
        session.events()


@pytest.mark.parametrize(
    "group", ["units", "traces", "stimulus", "trials", "truth", "truth/extra", "behavior/side"]
)
def test_a_damaged_group_is_not_taken_for_an_absent_one(session_file, group):
    with h5py.File(session_file) as file:
        address = h5py.h5o.get_info(file[group].id).addr
    content = bytearray(session_file.read_bytes())
    content[address + 20] ^= 1
    session_file.write_bytes(content)
    with Session(session_file) as session, pytest.raises(UserError, match=r"cannot read"):
        session.load()


def test_a_file_that_is_open_elsewhere_with_locks_says_so(session_file):
    with h5py.File(session_file), pytest.raises(UserError, match="open it with locking=False"):
        Session(session_file).n_units  # noqa: B018
    with h5py.File(session_file, locking=False), Session(session_file) as session:
        assert session.n_units == 4


def test_what_is_read_keeps_the_rules(session_file):
    changes = {
        "events/times": lambda values: values[::-1],
        "events/units": lambda values: values + 4,
        "events/amplitudes": lambda values: -values,
        "events/index": lambda values: values + 1.0,
        "intervals": lambda values: values[::-1],
        "behavior/heading/timestamps": lambda values: values * 0.0,
        "behavior/side/values": lambda values: values + 2,
        "trials/stop": lambda values: values - 100.0,
        "truth/delays": lambda values: values - 10.0,
    }
    whole = session_file.read_bytes()
    for path, change in changes.items():
        session_file.write_bytes(whole)
        with h5py.File(session_file, "r+") as file:
            file[path][...] = change(file[path][()])
        with Session(session_file) as session, pytest.raises(UserError, match="neuroformer validate"):
            session.load()


def test_what_lies_in_another_file_is_refused(session_file, tmp_path):
    shutil.copy(session_file, tmp_path / "other.h5")
    with h5py.File(session_file, "r+") as file:
        del file["events/amplitudes"]
        file["events/amplitudes"] = h5py.ExternalLink("other.h5", "events/amplitudes")
    with Session(session_file) as session, pytest.raises(UserError, match="another file"):
        session.load()


def test_sizes_that_are_only_declared_are_not_made(session_file):
    with h5py.File(session_file, "r+") as file:
        file.attrs["n_units"] = 10**12
        del file["traces/timestamps"]
        file.create_dataset("traces/timestamps", (10**13,), "f8", chunks=(1024,))
    with Session(session_file) as session:
        for read in (lambda: session.event_counts, lambda: session.traces(0.0, 1.0)):
            with pytest.raises(UserError) as error:
                read()
            assert "allocate" not in str(error.value)
