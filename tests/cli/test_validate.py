import h5py
import numpy as np
import pytest

from neuroformer.cli.main import main
from neuroformer.session import Events, SessionData, write_session


@pytest.fixture
def sound(tmp_path):
    events = Events(times=np.array([1.0, 2.0, 2.0]), units=np.array([0, 1, 1]))
    data = SessionData(session_id="s", subject_id="m", start=0.0, stop=10.0, n_units=2, events=events)
    return write_session(tmp_path / "sound.h5", data)


@pytest.fixture
def faulty(sound, tmp_path):
    path = tmp_path / "faulty.h5"
    path.write_bytes(sound.read_bytes())
    with h5py.File(path, "r+") as file:
        file["events/times"][:] = [1.0, np.nan, 0.5]
        file["events/units"][0] = 7
        del file.attrs["stop"]
    return path


def test_a_sound_file_is_ok(sound, capsys):
    assert main(["validate", str(sound)]) == 0
    assert capsys.readouterr().out == f"{sound}: OK\n"


def test_every_fault_of_every_file_is_listed_with_its_cure(sound, faulty, tmp_path, capsys):
    assert main(["validate", str(sound), str(faulty), str(tmp_path / "gone.h5"), str(tmp_path)]) == 1
    output, errors = capsys.readouterr()
    lines = output.splitlines()
    assert lines[0] == f"{sound}: OK"
    assert lines[1] == f"{faulty}: 3 faults"
    assert [line.split(": ")[0] for line in lines[2:5]] == [
        "  / attribute stop",
        "  events/times",
        "  events/units",
    ]
    assert all("; " in line for line in lines[2:5])
    assert lines[5:7] == [
        f"{tmp_path / 'gone.h5'}: 1 fault",
        "  /: no such file; check the name, or make it with `neuroformer convert`",
    ]
    assert lines[7:9] == [
        f"{tmp_path}: 1 fault",
        "  /: is a folder, expected a session file; name a file inside it",
    ]
    assert lines[-1] == "1 of 4 files OK"
    assert not errors


def test_files_may_be_given_as_a_setting(sound):
    assert main(["validate", f"files=[{sound},{sound}]"]) == 0


def test_no_file_is_wrong_usage(capsys):
    assert main(["validate"]) == 2
    assert "files" in capsys.readouterr().err
