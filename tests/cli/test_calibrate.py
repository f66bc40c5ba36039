"""`neuroformer calibrate`: its table, and its faults in one line."""

from pathlib import Path

import pytest

from neuroformer.cli.calibrate import COMMAND
from neuroformer.cli.command import run_command
from neuroformer.files import read_json

QUICK = ["copies=2", "block_s=0.5", "stretch_s=2", "fano_s=0.1", "min_events=5", "splits=20"]


def test_the_table_names_every_statistic(
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Drawing takes longer than all else; tests/calibration looks at the page.
    monkeypatch.setattr("neuroformer.calibration.run.save_figure", lambda *_, **__: None)
    assert run_command(COMMAND, [f"run={trained}", *QUICK, f"out={tmp_path}"]) == 0
    printed = capsys.readouterr().out
    found = read_json(tmp_path / "metrics.json")["sessions"]["a"]
    for label, value in (
        ("rates", found["rates"]["r"]),
        ("inter-event intervals", found["units"]["interval"]["share_within"]),
        ("Fano factor", found["units"]["fano"]["share_within"]),
        ("time rescaling, passed", found["time_rescaling"]["share_passed"]),
        ("synchrony", found["population"]["synchrony"]["distance"]),
    ):
        line = next(line for line in printed.splitlines() if line.strip().startswith(label))
        assert f"{value:.3f}" in line
    assert f"results: {tmp_path}" in printed


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "missing run=VALUE"),
        (["run=nowhere"], 1, "nowhere: not the folder of a pretrain run"),
        (["run=RUN", "part=train"], 2, "part=train: expected test or val"),
        (["run=RUN", "copies=1"], 2, "copies=1: expected 2 or more"),
        (["run=RUN", "block_s=0.5"], 2, "block_s=0.5: expected no less than fano_s=1"),
        (["run=RUN", "max_s=0"], 2, "max_s=0: expected seconds above 0"),
        (["run=RUN", "ceiling=high"], 2, "ceiling=high: expected validation, none, or Hz above 0"),
        (["run=RUN", "block_s=3"], 1, "expected 4 or more to make halves of"),
        (["run=RUN", "copis=3"], 2, "did you mean copies?"),
    ],
)
def test_a_fault_is_told_in_one_line(
    words: list[str],
    code: int,
    message: str,
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [word.replace("RUN", str(trained)) for word in words]
    assert run_command(COMMAND, [*words, f"out={tmp_path / 'out'}"]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_finished_calibration_is_not_replaced(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "metrics.json").write_text("{}")
    assert run_command(COMMAND, [f"run={trained}", *QUICK, f"out={tmp_path}"]) == 1
    assert "overwrite=true" in capsys.readouterr().err
    assert (tmp_path / "metrics.json").read_text() == "{}"
