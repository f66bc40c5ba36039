import dataclasses
import errno
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroformer import __version__
from neuroformer.errors import UserError
from neuroformer.files import RunFolder, append_line, atomic_path, read_json, remove_leftovers, write_json


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# atomic_path


def test_the_file_appears_only_when_it_is_whole(tmp_path):
    target = tmp_path / "new" / "a.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        assert temporary.parent == target.parent
        assert not target.exists()
        temporary.write_text("whole")
    assert target.read_text() == "whole"
    assert names(target.parent) == ["a.txt"]


def test_the_temporary_name_keeps_the_suffix(tmp_path):
    with atomic_path(tmp_path / "a.npz") as temporary:
        np.savez(temporary, x=np.arange(3))
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["x"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt, SystemExit, OSError, RuntimeError])
def test_no_half_file_stays_and_the_old_one_does(tmp_path, fault):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(fault), atomic_path(target) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise fault
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_fault_before_anything_is_written_is_passed_on(tmp_path):
    with pytest.raises(ValueError, match="early"), atomic_path(tmp_path / "a.txt"):
        raise ValueError("early")
    assert names(tmp_path) == []


@pytest.mark.parametrize("function", ["write", "fsync", "replace"])
def test_a_full_disk_is_said_plainly(tmp_path, monkeypatch, function):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target = tmp_path / "a.txt"
    target.write_text("old")
    monkeypatch.setattr(os, function, full)
    with pytest.raises(UserError, match="no space left on the disk"), atomic_path(target) as temporary:  # noqa: PT012
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT)
        try:
            os.write(descriptor, b"new")
        finally:
            os.close(descriptor)
    monkeypatch.undo()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("no mount command here")
    if done.returncode != 0:
        pytest.skip("not allowed to mount a small file system here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def write_text(path: Path) -> None:
    path.write_text("x" * 10**6)


def write_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = np.random.default_rng(0).random(10**6)


def write_torch(path: Path) -> None:
    import torch

    torch.save({"x": torch.zeros(10**6)}, path)


@pytest.mark.parametrize("writer", [write_text, write_hdf5, write_torch])
def test_a_really_full_disk(tiny_disk, writer):
    (tiny_disk / "a.bin").write_text("old")
    message = r"a\.bin: not written, no space left on the disk \(0\.\d MB free in .*\); free some space"
    with pytest.raises(UserError, match=message), atomic_path(tiny_disk / "a.bin") as temporary:
        writer(temporary)
    assert (tiny_disk / "a.bin").read_text() == "old"
    assert names(tiny_disk) == ["a.bin"]


def test_a_line_that_does_not_fit_is_not_begun(tiny_disk):
    log = tiny_disk / "log.csv"
    append_line(log, "step\n")
    (tiny_disk / "filler").write_bytes(b"x" * (256 - 4 - 1) * 1024)
    with pytest.raises(UserError, match=r"log\.csv: not written, no space left"):
        append_line(log, "x" * 10_000 + "\n")
    assert log.read_text() == "step\n"


def test_a_limit_on_the_size_of_files_is_said_plainly(tmp_path):
    program = (
        "import resource, torch\n"
        "from neuroformer.files import append_line, atomic_path\n"
        "from pathlib import Path\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "def save(path):\n"
        "    with path.open('wb') as file: torch.save(torch.zeros(10**5), file)\n"
        "for write in (save, lambda p: p.write_text('x' * 2000)):\n"
        "    try:\n"
        "        with atomic_path(folder / 'a.ckpt') as path: write(path)\n"
        "    except ValueError as error: print(error)\n"
        "try: append_line(folder / 'log.csv', 'x' * 2000)\n"
        "except ValueError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all("not written, files may not be larger here; raise the limit (ulimit" in line for line in lines)
    assert names(tmp_path) == ["log.csv"]
    assert (tmp_path / "log.csv").read_bytes() == b""


def test_leftovers_of_killed_writers_are_removed_and_nothing_else(tmp_path):
    for name in (
        ".last.0123abcd.partial.ckpt",
        ".config.ffffffff.partial",
        "last.ckpt",
        ".hidden",
        ".a.partial.txt",
    ):
        (tmp_path / name).write_text("x")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / ".last.0123abcd.partial.ckpt").write_text("x")
    assert len(remove_leftovers(tmp_path)) == 2
    assert names(tmp_path) == [".a.partial.txt", ".hidden", "deeper", "last.ckpt"]
    assert names(tmp_path / "deeper") == [".last.0123abcd.partial.ckpt"]
    assert remove_leftovers(tmp_path / "absent") == []


def test_ctrl_c_in_the_middle_of_a_write_leaves_nothing(tmp_path):
    program = (
        "import sys, time\n"
        "from neuroformer.files import atomic_path\n"
        "with atomic_path(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    print('writing', flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "a.txt")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        assert len(names(tmp_path)) == 1
        process.send_signal(2)
    assert process.returncode != 0
    assert names(tmp_path) == []


def test_a_folder_in_the_place_of_the_file(tmp_path):
    with pytest.raises(UserError, match="is a folder, expected the name of a file"), atomic_path(tmp_path):
        pass


# JSON


def test_json_takes_numpy_and_paths_and_turns_nan_into_null(tmp_path):
    content = {
        "mean": np.float32(0.5),
        "count": np.int64(3),
        "good": np.bool_(True),
        "curve": np.array([1.0, np.nan]),
        "interval": (math.inf, 1),
        "file": Path("a/b"),
        3: None,
    }
    write_json(tmp_path / "a.json", content)
    assert read_json(tmp_path / "a.json") == {
        "mean": 0.5,
        "count": 3,
        "good": True,
        "curve": [1.0, None],
        "interval": [None, 1],
        "file": "a/b",
        "3": None,
    }


plain_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(content=plain_json)
def test_json_comes_back_as_it_was(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("json") / "a.json"
    write_json(path, content)
    assert read_json(path) == content


def test_what_json_cannot_hold_leaves_no_file(tmp_path):
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"x": object()})
    assert names(tmp_path) == []


def test_reading_a_missing_broken_or_foreign_file(tmp_path):
    with pytest.raises(UserError, match=r"none\.json: no such file"):
        read_json(tmp_path / "none.json")
    with pytest.raises(UserError, match="is a folder, expected a JSON file"):
        read_json(tmp_path)
    broken = tmp_path / "broken.json"
    broken.write_text('{"a": 1,\n"b"')
    with pytest.raises(UserError, match="line 2, column 4"):
        read_json(broken)
    broken.write_bytes(b"\x89HDF\xff")
    with pytest.raises(UserError, match="not a text file"):
        read_json(broken)


# RunFolder


@dataclasses.dataclass(kw_only=True)
class Config:
    out: str
    width: int = 8
    trainer: dict[str, int] = dataclasses.field(default_factory=dict)


def start(out: Path, *, overwrite: bool = False) -> RunFolder:
    config = Config(out=str(out), trainer={"devices": 1})
    return RunFolder.create(out, overwrite=overwrite, command="neuroformer test", config=config)


def test_a_run_has_its_settings_first_and_its_metrics_last(tmp_path):
    run = start(tmp_path / "a" / "run")
    assert "width: 8" in (run.path / "config.yaml").read_text()
    assert names(run.path) == ["config.yaml"]
    assert run.figures.is_dir()
    run.finish({"score": np.float64(1.5)})
    assert json.loads((run.path / "metrics.json").read_text()) == {
        "command": "neuroformer test",
        "version": __version__,
        "score": 1.5,
    }


def test_a_finished_run_is_overwritten_only_when_told_to(tmp_path):
    start(tmp_path).finish({"score": 1})
    with pytest.raises(UserError, match=r"holds a finished run .*overwrite=true"):
        start(tmp_path)
    assert read_json(tmp_path / "metrics.json")["score"] == 1
    run = start(tmp_path, overwrite=True)
    assert not (tmp_path / "metrics.json").exists()  # the run that has begun is not finished
    run.finish({"score": 2})
    assert read_json(tmp_path / "metrics.json")["score"] == 2


def test_an_unfinished_run_may_start_again(tmp_path):
    start(tmp_path)
    start(tmp_path)


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(UserError, match="is a file, expected a folder"):
        start(tmp_path / "run")
