"""The benchmark of training runs, and its FLOPs are those that PyTorch counts where nothing is masked."""

from pathlib import Path

import pytest

from benchmarks.throughput import COMMAND, DEFAULT, cells, measure, quick_cell, table, write_sessions
from neuroformer.cli.command import run_command


def test_a_cell_reports_speed_memory_and_flops(tmp_path: Path) -> None:
    cell = quick_cell(DEFAULT)
    found = measure(cell, write_sessions(cell, tmp_path), threads=1)
    assert found["events_per_s"] > 0
    assert 0 <= found["waiting"] < 1
    assert found["peak_mb"] > found["growth_mb"] >= 0
    assert 0.5 < found["flops_counted_per_event"] / found["flops_per_event"] < 2
    assert found["share_of_matmul_rate"] == pytest.approx(found["flops_per_s"] / found["matmul_flops_per_s"])
    row = table([{"axis": "default", "value": "demo", **found}]).splitlines()[-1]
    assert row.startswith("| default | demo |")


def test_axes_vary_what_they_say() -> None:
    assert [c.minutes for c in cells("recording", ())] == [1, 10, 60, 600]
    assert [c.sessions for c in cells("sessions", ())][:4] == [1, 10, 100, 1_000]
    assert {c.units for c in cells("units", ()) if c.sampled_units} == {100, 1_000, 10_000, 100_000}
    assert [c.attention for c in cells("attention", ("sdpa", "flex"))] == ["sdpa", "flex"]


def test_an_unknown_axis_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(COMMAND, ["axes=[speed]"]) == 2
    assert "unknown 'speed'" in capsys.readouterr().err
