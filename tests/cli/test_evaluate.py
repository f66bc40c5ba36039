"""`neuroformer evaluate`: its table, and its faults in one line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from neuroformer.cli.command import run_command
from neuroformer.cli.evaluate import COMMAND
from neuroformer.files import read_json


def test_the_table_names_every_method(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(COMMAND, [f"run={trained}", "glm=false", "block_s=1", f"out={tmp_path}"]) == 0
    printed = capsys.readouterr().out
    scores = read_json(tmp_path / "metrics.json")["bits_per_spike"]
    for label, name in (("Neuroformer", "model"), ("Truth", "truth"), ("Homogeneous", "homogeneous_poisson")):
        line = next(line for line in printed.splitlines() if line.strip().startswith(label))
        assert f"{scores[name]:.4f}" in line
    assert f"results: {tmp_path}" in printed
    assert f"next: neuroformer connectivity run={trained}" in printed


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "missing run=VALUE"),
        (["run=nowhere"], 1, "nowhere: not the folder of a pretrain run"),
        (["run=FILE"], 1, "not the folder of a pretrain run"),
        (["run=RUN", "checkpoint=first"], 1, "first: does not exist"),
        (["run=RUN", "checkpoint=FILE"], 1, "not a checkpoint"),
        (["run=RUN", "part=train"], 2, "part=train: expected test or val"),
        (["run=RUN", "prat=val"], 2, "did you mean part?"),
        (["run=RUN", "block_s=-1"], 2, "block_s=-1"),
        (["run=RUN", "sessions=[OTHER]"], 1, "session 'b' is not in the model's vocabulary (it knows a)"),
        (["run=RUN", "sessions=[none_*.h5]"], 1, "no file matches"),
    ],
)
def test_a_fault_is_told_in_one_line(
    words: list[str],
    code: int,
    message: str,
    trained: Path,
    circuit: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"RUN": trained, "FILE": circuit(), "OTHER": circuit("b", seed=1)}
    for name, path in places.items():
        words = [word.replace(name, str(path)) for word in words]
    assert run_command(COMMAND, [*words, f"out={tmp_path / 'out'}"]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_sessions_whose_file_has_gone_are_named(
    circuit: Callable[..., Path],
    train: Callable[..., object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    moved = tmp_path / "gone.h5"
    moved.write_bytes(circuit().read_bytes())
    train(tmp_path / "run", moved, "optim.steps=2")
    moved.unlink()
    assert run_command(COMMAND, [f"run={tmp_path / 'run'}"]) == 1
    assert str(moved) in capsys.readouterr().err
