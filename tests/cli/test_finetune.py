"""`finetune.py`: what it prints, and its faults in one line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from neuroformer.cli.command import run_command
from neuroformer.cli.finetune import COMMAND

QUIET = ("trainer.accelerator=cpu", "trainer.enable_progress_bar=false")


def test_a_new_session_is_added(
    trained: Path, circuit: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"run={trained}", f"sessions=[{circuit('b', seed=1)}]", f"out={tmp_path}", "optim.steps=2"]
    assert run_command(COMMAND, [*words, *QUIET]) == 0
    printed = capsys.readouterr().out
    assert "validation" in printed
    assert f"next: neuroformer evaluate run={tmp_path}" in printed


def test_encoding_says_what_it_cannot_know(
    trained: Path, circuit: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"run={trained}", f"sessions=[{circuit('b', seed=1)}]", f"out={tmp_path}", "mode=encode"]
    assert run_command(COMMAND, [*words, *QUIET]) == 0
    printed = capsys.readouterr().out
    assert "0 steps" in printed
    assert "validation" in printed


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["run=RUN"], 2, "missing sessions=VALUE"),
        (["run=nowhere", "sessions=[NEW]"], 1, "does not exist; expected a checkpoint"),
        (["run=RUN", "sessions=[none_*.h5]"], 1, "no file matches"),
        (["run=RUN", "sessions=[OLD]"], 1, "session 'a' is in the model"),
        (
            ["run=RUN", "sessions=[NEW]", "mode=some"],
            2,
            "mode: found 'some', expected encode or bayes or units or heads or full",
        ),
        (["run=RUN", "sessions=[NEW]", "trainer.logger=true"], 2, "trainer.logger: set by the run itself"),
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
    for name, path in {"RUN": trained, "OLD": circuit(), "NEW": circuit("b", seed=1)}.items():
        words = [word.replace(name, str(path)) for word in words]
    assert run_command(COMMAND, [*words, f"out={tmp_path / 'out'}"]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
