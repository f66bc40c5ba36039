"""A session file is whole or not there."""

import os
import resource
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest

from neuroformer.errors import UserError
from neuroformer.session import Session, validate_file, write_session

BIG = """
import sys
import numpy as np
from neuroformer.errors import UserError
from neuroformer.session import Events, SessionData, validate_file, write_session

def session(n):
    rng = np.random.default_rng(0)
    events = Events(times=np.sort(rng.uniform(0, 100, n)), units=rng.integers(0, 5, n))
    return SessionData(session_id="s", subject_id="m", start=0, stop=100, n_units=5, events=events)

path = sys.argv[1]
"""


def python(code, path, **options):
    """Run a script after `BIG` in a process of its own: HDF5 can take one down when it ends."""
    command = [sys.executable, "-c", BIG + code, str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


def test_the_folder_is_made(make, tmp_path):
    path = write_session(tmp_path / "a" / "b" / "session.h5", make())
    assert path == tmp_path / "a" / "b" / "session.h5"
    assert validate_file(path) == []


def test_a_file_is_replaced_only_when_asked(make, tmp_path):
    path = write_session(tmp_path / "session.h5", make())
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"session\.h5: exists already; .*overwrite=True"):
        write_session(path, make(session_id="other"))
    assert path.read_bytes() == before
    write_session(path, make(session_id="other"), overwrite=True)
    with Session(path) as session:
        assert session.session_id == "other"


def test_a_folder_is_not_a_file(make, tmp_path):
    with pytest.raises(UserError, match="is a folder, expected the name of a file"):
        write_session(tmp_path, make(), overwrite=True)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, RuntimeError("HDF5")])
def test_a_write_that_ends_early_leaves_nothing(make, tmp_path, monkeypatch, error):
    calls = []

    def fails_half_way(*args, write=h5py.Dataset.__setitem__):
        calls.append(args)
        if len(calls) == 5:
            raise error
        write(*args)

    old = write_session(tmp_path / "old.h5", make())
    before = old.read_bytes()
    monkeypatch.setattr(h5py.Dataset, "__setitem__", fails_half_way)
    for path in (tmp_path / "new.h5", old):
        calls.clear()
        with pytest.raises(type(error) if isinstance(error, Exception) else error):
            write_session(path, make(), overwrite=True)
    assert [file.name for file in tmp_path.iterdir()] == ["old.h5"]
    assert old.read_bytes() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("disk")])
def test_a_copy_to_the_disk_that_ends_early_leaves_nothing(make, tmp_path, monkeypatch, error):
    def fails(descriptor):
        raise error

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(type(error) if isinstance(error, Exception) else error):
        write_session(tmp_path / "new.h5", make())
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_within_a_write_leaves_nothing(tmp_path):
    code = """
import threading
data = session(3_000_000)
threading.Timer(0.3, signal.raise_signal, [signal.SIGINT]).start()
try:
    write_session(path, data)
except KeyboardInterrupt:
    print("interrupted")
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""
    result = python(
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)" + code, tmp_path / "new.h5"
    )
    assert (result.stdout.split(), result.stderr) == (["interrupted", "True"], "")
    assert list(tmp_path.iterdir()) == []


GOES_ON = """
try:
    write_session(path, session(300_000))
except UserError as error:
    print(error)
write_session(path, session(100))
print(validate_file(path))
"""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="only root can mount a small disk")
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not permitted here")
    try:
        result = python(GOES_ON, disk / "new.h5")
        files = [file.name for file in disk.iterdir()]
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    problem, found = result.stdout.splitlines()
    assert problem.startswith(f"{disk / 'new.h5'}: not written, no space left on the disk")
    assert "free some space or write to another folder" in problem
    assert (found, result.returncode, result.stderr) == ("[]", 0, "")
    assert files == ["new.h5"]


def test_a_file_that_may_not_grow_leaves_nothing_and_the_process_goes_on(tmp_path):
    """As on a full disk, for whoever cannot mount one."""
    limit = (256 * 1024, resource.RLIM_INFINITY)
    path = tmp_path / "new.h5"
    result = python(GOES_ON, path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
    assert result.stdout.startswith(f"{path}: not written, files may not be larger here; raise the limit")
    assert (result.returncode, result.stderr) == (0, "")
    assert [file.name for file in tmp_path.iterdir()] == ["new.h5"]


def test_storage_is_chunked_compressed_and_checked(session_file):
    with h5py.File(session_file) as file:
        for name in ("events/times", "traces/values", "stimulus/movie/values", "truth/weights"):
            stored = file[name]
            assert (stored.compression, stored.shuffle, stored.fletcher32) == ("gzip", True, True)


def test_text_is_stored_at_fixed_length_with_a_checksum(session_file):
    with h5py.File(session_file) as file:
        for name in ("units/id", "trials/outcome", "behavior/side/labels", "truth/extra/names"):
            kind = h5py.check_string_dtype(file[name].dtype)
            assert kind.encoding == "utf-8"
            assert kind.length is not None
            assert file[name].fletcher32
        assert file.attrs.get_id("description").dtype.kind == "S"


def test_long_text_and_many_names_fit(make, tmp_path):
    units = {f"column {i}": np.arange(4) for i in range(100)}
    path = write_session(tmp_path / "long.h5", make(description="é" * 100_000, units=units))
    with Session(path) as session:
        assert session.description == "é" * 100_000
        assert session.units.keys() == units.keys()
