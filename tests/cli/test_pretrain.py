"""`pretrain.py` as a newcomer meets it: what it says when all is well, and when it is not."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroformer.cli.command import run_command
from neuroformer.cli.pretrain import COMMAND
from neuroformer.files import read_json
from neuroformer.session import Events, SessionData, write_session
from tests.conftest import TINY

ROOT = Path(__file__).parents[2]


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = run_command(COMMAND, arguments)
    error = capsys.readouterr().err
    assert error.count("\n") == 1, "a fault is told in one line"
    assert error.startswith("error: ")
    return code, error


def test_a_run_tells_its_score_and_the_next_step(
    circuit: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"data.sessions=[{circuit()}]", f"out={tmp_path}", *TINY, "optim.steps=2"]
    assert run_command(COMMAND, words) == 0
    printed = capsys.readouterr().out
    assert "2 steps" in printed
    assert "bits/spike" in printed
    assert f"next: neuroformer evaluate run={tmp_path}" in printed
    assert read_json(tmp_path / "metrics.json")["steps"] == 2


def test_wildcards_find_sessions(circuit: Callable[..., Path], tmp_path: Path) -> None:
    folder = circuit("wild_1", seed=1).parent
    circuit("wild_2", seed=2)
    words = [f"data.sessions=[{folder}/wild_*.h5]", f"out={tmp_path}", *TINY, "optim.steps=2"]
    assert run_command(COMMAND, words) == 0
    sessions = read_json(tmp_path / "metrics.json")["sessions"]
    assert [session["session_id"] for session in sessions] == ["wild_1", "wild_2"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["out=OUT"], 1, "data.sessions is empty; name session files"),
        (["out=OUT", "data.sessions=[none_*.h5]"], 1, "no file matches 'none_*.h5'"),
        (["out=OUT", "data.sessions=[none.h5]"], 1, "none.h5"),
        (["out=OUT", "data.sessions=[.]"], 1, "folder"),
        (["out=OUT", "data.sessions=none.h5"], 2, "expected list of text"),
        (["data.sessions=[FILE]"], 2, "missing out=VALUE"),
        (["out=OUT", "data.sesions=[FILE]"], 2, "did you mean data.sessions?"),
        (["out=OUT", "data.sessions=[FILE]", "optim.steps=0"], 2, "optim.steps=0: expected 1 or more"),
        (["out=OUT", "data.sessions=[FILE]", "optim.lr=fast"], 2, "optim.lr: found 'fast', expected float"),
        (["out=OUT", "data.sessions=[FILE]", "model.trunk.heads=5"], 2, "model.trunk.heads=5"),
        (["out=OUT", "data.sessions=[FILE]", "trainer.max_epochs=2"], 2, "optim.steps"),
        (["out=OUT", "data.variables.x.grid=-2"], 2, "data.variables.x.grid=-2: expected 2 cells or more"),
        (["out=OUT", "data.variables.x.limits=[1,[2]]"], 2, "data.variables.x.limits: found [1.0, [2]]"),
        (["out=OUT", "data.split.val=2"], 2, "data.split.val=2"),
        (["out=OUT", "data.sessions=${out}"], 2, "data.sessions: Invalid value assigned"),
        (
            ["out=OUT", "data.sessions=[FILE]", "trainer.acelerator=cpu"],
            2,
            "did you mean trainer.accelerator?",
        ),
        (["out=OUT", "data.sessions=[FILE]", "data.split.val=0"], 2, "split.val=0"),
        (["out=OUT", "data.sessions=[FILE]", "resume=none.ckpt"], 1, "none.ckpt: does not exist"),
        (["out=OUT", "data.sessions=[FILE]", "data.bin_s=100", "data.chunk_s=100"], 1, "lower data.bin_s"),
        (["out=OUT", "data.sessions=[FILE]", "model.trunk.time_constants_s=[60]"], 1, "no bin is left"),
        (["out=OUT", "data.sessions=[FILE,FILE]", "data.split.gap_s=0"], 1, "gap_s=0"),
        (["out=FILE", "data.sessions=[FILE]"], 1, "is a file, expected a folder"),
    ],
)
def test_a_fault_is_told_in_one_line(
    words: list[str],
    code: int,
    message: str,
    circuit: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spelled = [w.replace("OUT", str(tmp_path / "out")).replace("FILE", str(circuit())) for w in words]
    found, error = refusal(spelled, capsys)
    assert message in error
    assert found == code
    assert not (tmp_path / "out" / "metrics.json").exists()


def write(path: Path, **changes: Any) -> Path:
    rng = np.random.default_rng(0)
    events = Events(
        times=np.sort(rng.uniform(0, 40, 300)),
        units=rng.integers(0, 3, 300).astype(np.int32),
        amplitudes=None,
    )
    fields: dict[str, Any] = {
        "session_id": path.stem, "subject_id": "m", "start": 0.0, "stop": 40.0, "n_units": 3, "events": events
    }  # fmt: skip
    return write_session(path, SessionData(**fields | changes))


def test_damaged_session_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = write(tmp_path / "whole.h5").read_bytes()
    cut, text = tmp_path / "cut.h5", tmp_path / "text.h5"
    cut.write_bytes(whole[: len(whole) // 2])
    text.write_text("spikes")
    for path in (cut, text):
        code, error = refusal([f"data.sessions=[{path}]", f"out={tmp_path / 'out'}", *TINY], capsys)
        assert code == 1
        assert str(path) in error
    assert not (tmp_path / "out").exists()


def test_the_same_session_twice_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = write(tmp_path / "a.h5", session_id="same")
    second = write(tmp_path / "b.h5", session_id="same")
    code, error = refusal([f"data.sessions=[{first},{second}]", f"out={tmp_path / 'out'}", *TINY], capsys)
    assert code == 1
    assert "'same' is also that of" in error


def test_silent_units_do_no_harm(tmp_path: Path) -> None:
    session = write(tmp_path / "a.h5", n_units=5)  # the last two never fire
    words = [f"data.sessions=[{session}]", f"out={tmp_path / 'out'}", *TINY, "optim.steps=4", "val_every=2"]
    assert run_command(COMMAND, words) == 0
    assert np.isfinite(read_json(tmp_path / "out/metrics.json")["val_bits_per_spike"])


@pytest.mark.parametrize("script", ["pretrain.py", "finetune.py"])
def test_the_scripts_at_the_top_run(script: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, ROOT / script, "otu=somewhere"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "error: unknown key 'otu'; did you mean out?\n"
