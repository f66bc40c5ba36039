"""The benchmark of generation runs, and says what it measured."""

from pathlib import Path

import pytest
import torch

from benchmarks.generate import COMMAND
from neuroformer.cli.command import run_command
from neuroformer.files import read_json


def test_a_quick_run_leaves_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    out = tmp_path / "generate.json"
    words = ["quick=true", "models=[demo]", "streams=[1,3]", f"out={out}"]
    try:
        assert run_command(COMMAND, words) == 0
    finally:
        torch.set_num_threads(before)
    figures = read_json(out)
    assert figures["quick"] is True
    assert set(figures["results"]) == {"demo, 1 streams", "demo, 3 streams"}
    for found in figures["results"].values():
        assert found["events_per_s"] > 0
        assert found["rate_hz"] == pytest.approx(5, rel=0.6)
    assert "events/s" in capsys.readouterr().out
    assert run_command(COMMAND, ["models=[large]"]) == 2
    assert "unknown 'large'; expected any of demo, 14M" in capsys.readouterr().err
