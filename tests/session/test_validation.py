"""What is wrong with a file is found, all at once, and nothing in a file makes the check itself fail."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuroformer.session import Events, Session, validate_file, write_session


def found(path):
    return [str(fault) for fault in validate_file(path)]


def edited(path, *changes):
    """The faults after changes to a sound file."""
    with h5py.File(path, "r+") as file:
        for change in changes:
            change(file)
    return found(path)


def put(name, values, **options):
    def change(file):
        if name in file:
            del file[name]
        file.create_dataset(name, data=values, **options)

    return change


def drop(name):
    return lambda file: file.__delitem__(name)


def drop_attribute(group, name):
    return lambda file: file[group].attrs.__delitem__(name)


def attribute(group, name, value):
    return lambda file: file[group].attrs.__setitem__(name, value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.unlink(), "/: no such file; check the name, or make it with `neuroformer convert`"),
        (lambda p: (p.unlink(), p.mkdir()), "/: is a folder, expected a session file; name a file inside it"),
        (lambda p: p.write_bytes(b""), "/: not an HDF5 file, expected a session file; make one with"),
        (
            lambda p: p.write_bytes(b"PK\3\4 npz"),
            "/: not an HDF5 file, expected a session file; make one with",
        ),
        (
            lambda p: p.write_bytes(p.read_bytes()[:5000]),
            "/: the file is cut short; copy it again, or convert",
        ),
    ],
)
def test_what_is_no_session_file_is_one_fault(session_file, damage, message):
    damage(session_file)
    faults = found(session_file)
    assert len(faults) == 1
    assert faults[0].startswith(message)


@pytest.mark.parametrize(
    ("version", "cure"),
    [
        ("1.1", "upgrade neuroformer"),
        ("10.0", "upgrade neuroformer"),
        ("0.9", "convert the recording again"),
        ("one", "convert the recording again"),
        (1.0, "convert the recording again"),
    ],
)
def test_another_schema_version_names_the_cure(session_file, version, cure):
    faults = edited(session_file, attribute("/", "schema_version", version))
    assert faults == [f"/: attribute schema_version is {version!r}, expected '1.0'; {cure}"]


def test_a_missing_schema_version_is_a_fault(session_file):
    assert "schema_version is None" in edited(session_file, drop_attribute("/", "schema_version"))[0]


@pytest.mark.parametrize("change", [drop_attribute("/", "format"), attribute("/", "format", "nwb")])
def test_another_hdf5_file_is_no_session(session_file, change):
    (fault,) = edited(session_file, change)
    assert fault.startswith("/: not a session file: HDF5 with")
    assert fault.endswith("convert it with `neuroformer convert`")


CHANGES = {
    "events/times: missing": drop("events/times"),
    "events/units: missing": drop("events/units"),
    "events/counts: missing": drop("events/counts"),
    "events/index: missing": drop("events/index"),
    "traces/timestamps: missing": drop("traces/timestamps"),
    "traces/values: missing": drop("traces/values"),
    "behavior/side/labels: missing": drop("behavior/side/labels"),
    "behavior/side/index: missing": drop("behavior/side/index"),
    "trials/stop: missing": drop("trials/stop"),
    "truth/delays: missing": drop("truth/delays"),
    "/ attribute n_units: missing, expected a whole number": drop_attribute("/", "n_units"),
    "/ attribute start: missing, expected a number": drop_attribute("/", "start"),
    "traces attribute kind: missing, expected text": drop_attribute("traces", "kind"),
    "truth attribute dt: missing": drop_attribute("truth", "dt"),
    "/ attribute start: is 'zero', expected a number": attribute("/", "start", "zero"),
    "/ attribute n_units: is True, expected a whole number": attribute("/", "n_units", True),
    "/ attribute session_id: is 7, expected text": attribute("/", "session_id", 7),
    "events/times: dtype is float32": put("events/times", np.linspace(10, 69, 300, dtype=np.float32)),
    "events/units: dtype is int64": put("events/units", np.zeros(300, dtype=np.int64)),
    "events/units: dtype is text": put("events/units", ["a"] * 300),
    "events/amplitudes: dtype is float64": put("events/amplitudes", np.zeros(300)),
    "intervals: dtype is int64": put("intervals", [[10, 70]]),
    "events/times: holds nothing": put("events/times", h5py.Empty("f8")),
    "units/pairs: dtype is [": put("units/pairs", np.zeros(4, dtype=[("a", "f4"), ("b", "i4")])),
    "units/odd: dtype is object": lambda file: file.create_dataset("units/odd", (4,), h5py.ref_dtype),
    "behaviour: has no place in a session file": lambda file: file.create_group("behaviour"),
    "notes: has no place in a session file": put("notes", "x"),
    "events/duration: has no place": put("events/duration", np.zeros(300)),
    "units/a/b: has no place": put("units/a/b", np.zeros(4)),
    "behavior/a/b/c: has no place": put("behavior/a/b/c/d/e", 1),
    "stimulus/x/timestamps: missing": lambda file: file.create_group("stimulus/x"),
    "events: has no place in a session file": lambda file: (
        file.__delitem__("events"),
        put("events", 1)(file),
    ),
    "lost: cannot be read": lambda file: file.__setitem__("lost", h5py.SoftLink("/nowhere")),
    "other: lies in another file": lambda file: file.__setitem__("other", h5py.ExternalLink("no.h5", "/")),
    "again: has no place": lambda file: file.__setitem__("again", file["/"]),
    "number: has no place": lambda file: file.__setitem__("number", np.dtype("f8")),
    "events/index: does not agree with the times in events/times": put("events/index", np.array([11.0])),
    "events/counts: does not agree with the units": put("events/counts", np.array([300, 0, 0, 0])),
    "events/counts: is int32 (4,), expected int64 (4,)": put("events/counts", np.zeros(4, dtype=np.int32)),
    "traces/index: is float64 (2,), expected float64 (1,)": put("traces/index", np.zeros(2)),
    "events/times: declared but not stored in full": lambda file: (
        file.__delitem__("events/times"),
        file.create_dataset("events/times", (300,), "f8"),
    ),
    "events/units: declared but not stored in full": lambda file: (
        file.__delitem__("events/units"),
        file.create_dataset("events/units", (300,), "i4", chunks=(300,)).id.write_direct_chunk(
            (0,), bytes(16)
        ),
    ),
    "traces/values: declared but not stored in full": lambda file: (
        file.__delitem__("traces/values"),
        file.create_dataset("traces/values", (120, 4), "f4", chunks=(10, 4)).write_direct(
            np.ones((20, 4), "f4"), dest_sel=np.s_[:20]
        ),
    ),
}


@pytest.mark.parametrize("fault", CHANGES)
def test_a_fault_inside_is_found(session_file, fault):
    faults = edited(session_file, CHANGES[fault])
    assert any(found.startswith(fault) for found in faults), faults
    assert all("; " in found and "\n" not in found for found in faults)


def test_all_faults_are_found_at_once(session_file):
    times = np.linspace(10, 69, 300)
    times[[3, 7]] = np.nan, 10.0
    faults = edited(
        session_file,
        put("events/times", times),
        put("events/units", np.full(300, 9, dtype=np.int32)),
        put("trials/stop", [1.0, 2.0]),
        attribute("behavior/heading", "kind", "discrete"),
        drop("truth/weights"),
    )
    assert [fault.split(": ")[0] for fault in faults] == [
        "events/times",
        "events/times",
        "events/units",
        "trials/stop",
        "behavior/heading attribute kind",
        "truth/weights",
    ]


def test_the_index_of_a_long_recording_is_checked_across_blocks(make, tmp_path, monkeypatch):
    monkeypatch.setattr("neuroformer.session.layout.BLOCK_BYTES", 8 * 1000)  # no multiple of the stride
    n = 20_000
    data = make(events=Events(times=np.linspace(10, 69, n), units=np.arange(n) % 4))
    assert found(write_session(tmp_path / "long.h5", data)) == []


def test_bits_that_flipped_on_the_disk_are_found_beside_other_faults(session_file):
    with h5py.File(session_file) as file:
        chunk = file["behavior/heading/values"].id.get_chunk_info(0)
    content = bytearray(session_file.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 1
    session_file.write_bytes(content)
    faults = edited(session_file, put("trials/stop", [1.0, 2.0]))
    assert [fault.split(": ")[0] for fault in faults] == ["trials/stop", "behavior/heading/values"]
    assert "cannot be read" in faults[1]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fraction=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_is_a_fault(session_file, fraction):
    cut = session_file.with_name("cut.h5")
    content = session_file.read_bytes()
    cut.write_bytes(content[: int(fraction * len(content))])
    assert len(found(cut)) == 1


@pytest.fixture
def content(session_file):
    return session_file.read_bytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_anywhere_is_a_fault_or_does_not_matter(session_file, content, data):
    """Bytes changed at random: no crash, no hang, and nothing wrong is taken for right."""
    damaged = bytearray(content)
    places = st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=5)
    for place in data.draw(places):
        damaged[place] = data.draw(st.integers(0, 255))
    path = session_file.with_name("damaged.h5")
    path.write_bytes(damaged)
    if not validate_file(path):
        with Session(path) as found, Session(session_file) as expected:
            assert repr(found.load()) == repr(expected.load())


def test_a_sound_file_from_elsewhere_is_sound(session_file):
    """What another HDF5 library writes: text of fixed length, no intervals, no compression."""
    with h5py.File(session_file, "r+") as file:
        for name in ("session_id", "subject_id", "format", "schema_version"):
            file.attrs[name] = np.bytes_(file.attrs[name])
        del file["intervals"]
        put("units/region", np.array([b"CA1"] * 4))(file)
        put("traces/values", file["traces/values"][()].astype(">f4"))(file)
    assert found(session_file) == []


def test_checking_changes_nothing_and_needs_no_right_to_write(session_file):
    copy = Path(shutil.copy(session_file, session_file.with_name("copy.h5")))
    copy.chmod(0o444)
    assert found(copy) == []
    assert copy.read_bytes() == session_file.read_bytes()
