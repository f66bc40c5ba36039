"""`neuroformer report` as it is typed."""

from pathlib import Path

import pytest

from neuroformer.cli.command import run_command
from neuroformer.cli.report import COMMAND


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "log.csv").write_text("step,train_nll\n1,3.0\n2,2.5\n")
    return folder


@pytest.mark.parametrize("word", ["{run}", "run={run}"])
def test_writes_beside_the_run_and_says_where(
    run: Path, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(COMMAND, [word.format(run=run)]) == 0
    assert capsys.readouterr().out == f"report: {run / 'report.html'}\n"
    assert (run / "report.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("out", "written"), [("new/page.html", "new/page.html"), ("new", "new/report.html"), (".", "report.html")]
)
def test_out_is_a_file_or_a_folder(run: Path, tmp_path: Path, out: str, written: str) -> None:
    assert run_command(COMMAND, [f"run={run}", f"out={tmp_path / out}", "title=For a colleague"]) == 0
    assert "<h1>For a colleague</h1>" in (tmp_path / written).read_text()
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 2, "missing run=VALUE"),
        (["{tmp}"], 1, "found no run"),
        (["{tmp}/nowhere"], 1, "no such folder"),
        (["{tmp}/run", "out={tmp}/session.h5"], 1, "session.h5: exists and is no report"),
        (["{tmp}/run", "ouy=x"], 2, "did you mean out"),
    ],
)
def test_faults_are_one_line(
    run: Path, tmp_path: Path, words: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "session.h5").write_bytes(b"recording")
    if says == "found no run":
        (run / "log.csv").unlink()
    assert run_command(COMMAND, [word.format(tmp=tmp_path) for word in words]) == code
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error
