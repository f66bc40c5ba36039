"""What `info`, `validate` and `convert` say of files that are something else altogether."""

import contextlib
import io
import os
import zipfile
from pathlib import Path

import h5py
import numpy as np
import scipy.io

from benchmarks.fuzz.byte_mutations import damage
from benchmarks.fuzz.mapping_cases import COUNTS, write_recordings
from benchmarks.fuzz.outcomes import Outcome, refused, unclear
from neuroformer.cli import convert, info, validate
from neuroformer.cli.command import run_command

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
)
SUFFIXES = (".h5", ".npz", ".mat", ".nwb", ".hdf5", ".png", "", ".npy")


class StrangerCases:
    """Random bytes, files of other formats, folders, links that lead nowhere, and recordings with damage."""

    name = "stranger"

    def __init__(self, folder: Path) -> None:
        """Write a file of each format."""
        write_recordings(folder)
        rng = np.random.default_rng(5)
        np.save(folder / "array.npy", rng.random(4))
        np.savez(folder / "objects.npz", spikes=np.array([{"a": 1}, None], dtype=object))
        scipy.io.savemat(folder / "cells.mat", {"spikes": rng.poisson(0.1, (6, 4, 10)), "region": "V1"})
        with h5py.File(folder / "other.h5", "w") as file:
            file["spikes"] = rng.poisson(0.1, (6, 4, 10))
        with h5py.File(folder / "like.nwb", "w") as file:
            file.attrs["nwb_version"] = "2.6.0"
        with zipfile.ZipFile(folder / "archive.zip", "w") as archive:
            archive.writestr("spikes.npy", b"\x93NUMPY\x01\x00\xff\xff")
        (folder / "picture.png").write_bytes(PNG)
        (folder / "notes.txt").write_text("spikes: 1\n", encoding="utf-8")
        (folder / "nothing").write_bytes(b"")
        self.files = [path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()]

    def __call__(self, rng: np.random.Generator, folder: Path) -> Outcome:
        """One case."""
        path = folder / f"thing{SUFFIXES[int(rng.integers(len(SUFFIXES)))]}"
        what = self._make(path, rng)
        (folder / "mapping.yaml").write_text(COUNTS, encoding="utf-8")
        name = ("info", "validate", "convert")[int(rng.integers(3))]
        found = judge(name, path, folder)
        return Outcome(found.status, found.what, f"{name} {path.name}: {what}")

    def _make(self, path: Path, rng: np.random.Generator) -> str:
        data = self.files[int(rng.integers(len(self.files)))]
        match int(rng.integers(10)):
            case 0:
                path.write_bytes(rng.bytes(int(2 ** rng.uniform(0, 16))))
                return "random bytes"
            case 1:
                path.mkdir()
                return "folder"
            case 2:
                path.symlink_to(path.with_name("absent") if rng.random() < 0.5 else path.name)
                return "link that leads nowhere"
            case 3:
                path.write_bytes(data)
                path.chmod(0)
                return "not allowed to be read"
            case 4:
                os.mkfifo(path)
                return "pipe"
            case 5 | 6:
                path.write_bytes(data)
                return f"a file of another kind, {data[:6]!r}"
        data, what = damage(data, rng)
        path.write_bytes(data)
        return what


def judge(name: str, path: Path, folder: Path) -> Outcome:
    """Give a file to a command."""
    commands = {"info": info.COMMAND, "validate": validate.COMMAND, "convert": convert.COMMAND}
    words = [f"mapping={folder / 'mapping.yaml'}", f"out={folder / 'out'}"] if name == "convert" else []
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = run_command(commands[name], [str(path), *words])
    if code:
        return refused((out.getvalue() if name == "validate" else errors.getvalue()).strip(), [path.name])
    made = list((folder / "out").glob("*.h5"))
    return Outcome("valid") if name == "convert" and made else unclear(f"{name} took it for a session")
