"""The benchmark of training runs, and its FLOPs are those that PyTorch counts where nothing is masked."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import throughput
from benchmarks.throughput import (
    COMMAND,
    DEFAULT,
    Cell,
    Config,
    cells,
    measure,
    measured,
    merged,
    quick_cell,
    table,
    write_sessions,
)
from neuroformer.cli.command import run_command
from neuroformer.files import read_json


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


def a_row(cell: Cell, speed: float) -> dict[str, Any]:
    names = ("step_s", "waiting", "flops_per_s", "share_of_matmul_rate", "flops_counted_per_event", "peak_mb")
    return {
        **asdict(cell),
        **dict.fromkeys((*names, "flops_per_event", "growth_mb"), 0.5),
        "parameters": 7,
    } | {"events_per_s": speed}


def test_pieces_of_a_benchmark_make_one_table_and_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    speeds = iter(range(1, 100))

    def fake(cell: Cell, config: Config, paths: list[str]) -> dict[str, Any]:
        if cell.axis == "size" and cell.layers == 18:
            return {**asdict(cell), "skipped": "did not fit into 1.0 GB of memory"}
        return a_row(cell, float(next(speeds)))

    monkeypatch.setattr(throughput, "measured", fake)
    monkeypatch.setattr(throughput, "write_sessions", lambda cell, folder: [])
    monkeypatch.setattr(throughput, "ProcessPoolExecutor", Here)
    for axes in ("recording", "size", "recording"):
        assert run_command(COMMAND, [f"axes=[{axes}]", f"out={tmp_path}"]) == 0
    rows = read_json(tmp_path / "throughput.json")["rows"]
    assert [row["axis"] for row in rows] == ["size"] * 4 + ["recording"] * 4
    assert [row.get("events_per_s") for row in rows] == [5, 6, 7, None, 8, 9, 10, 11]
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert lines[5].startswith("| size | 256 × 18 | did not fit into 1.0 GB of memory |")
    assert (tmp_path / "throughput.png").stat().st_size > 10_000
    assert run_command(COMMAND, ["axes=[context]", f"out={tmp_path}", "threads=1"]) == 0
    assert "made with another threads; its rows are not kept" in capsys.readouterr().out
    assert {row["axis"] for row in read_json(tmp_path / "throughput.json")["rows"]} == {"context"}


class Here:
    """A pool of processes that is none."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, function: Any, *arguments: Any) -> "Here":
        self.found = lambda: function(*arguments)
        return self

    def result(self) -> Any:
        return self.found()


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")]
)
def test_a_cell_that_does_not_fit_is_skipped_and_other_errors_are_not(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    found: list[Exception] = [error]

    def fail(*_: Any) -> Any:
        raise found[0]

    monkeypatch.setattr(throughput, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(throughput, "measure_within", fail)
    monkeypatch.setattr(throughput, "free_bytes", lambda: 10**10)
    assert measured(DEFAULT, Config(), [])["skipped"] == "did not fit into 9.0 GB of memory"
    found[0] = RuntimeError("a mistake")
    with pytest.raises(RuntimeError, match="a mistake"):
        measured(DEFAULT, Config(), [])


def test_rows_that_are_measured_again_take_the_place_of_the_old() -> None:
    small, large = (a_row(replace(DEFAULT, axis="recording", value=m), m) for m in (1, 600))
    again = {**small, "events_per_s": 3.0}
    assert merged([large, small], [again]) == [again, large]
