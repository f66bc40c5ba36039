"""Cells are computed once, kept, and come back in order."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from neuroformer.cells import open_folder, run_cells
from neuroformer.errors import UserError


class Squares:
    def __init__(self, numbers: list[int]) -> None:
        self.numbers, self.done = numbers, []

    def cells(self) -> list[int]:
        return self.numbers

    def key(self, cell: int) -> str:
        return f"number{cell}"

    def run(self, cell: int) -> dict[str, Any]:
        if cell < 0:
            raise UserError("below 0")
        self.done.append(cell)
        return {"square": cell**2}

    def told(self, cell: int, found: dict[str, Any]) -> str:
        return f"{cell}: {found['square']}"


@dataclass
class Config:
    overwrite: bool = False


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path) -> None:
    lines: list[str] = []
    stopped = Squares([3, -1])
    with pytest.raises(UserError, match="below 0"):
        run_cells(stopped, tmp_path, report=lines.append)
    again = Squares([2, 3])
    assert run_cells(again, tmp_path, report=lines.append) == [{"square": 4}, {"square": 9}]
    assert again.done == [2]
    assert lines == ["1/2 3: 9", "1/2 2: 4"]


def test_overwrite_drops_what_was_kept_and_a_folder_without_cells_is_refused(tmp_path: Path) -> None:
    run_cells(Squares([3]), tmp_path / "a", report=lambda line: None)
    open_folder(tmp_path / "a", overwrite=False, command="squares", config=Config()).finish({})
    open_folder(tmp_path / "a", overwrite=False, command="squares", config=Config())  # the cells are kept
    assert list((tmp_path / "a/cells").iterdir())
    open_folder(tmp_path / "a", overwrite=True, command="squares", config=Config())
    assert not (tmp_path / "a/cells").exists()
    open_folder(tmp_path / "b", overwrite=False, command="squares", config=Config()).finish({})
    with pytest.raises(UserError, match="finished run"):
        open_folder(tmp_path / "b", overwrite=False, command="squares", config=Config())


@dataclass
class Elsewhere:
    """Tells where it was computed."""

    n: int
    fault: int = -1

    def cells(self) -> range:
        return range(self.n)

    def key(self, cell: int) -> str:
        return f"cell{cell}"

    def told(self, cell: int, found: dict[str, Any]) -> str:
        return f"{cell} squared is {found['value']}"

    def run(self, cell: int) -> dict[str, Any]:
        if cell == self.fault:
            raise UserError("no square for this one")
        return {"value": cell**2, "process": os.getpid(), "threads": os.environ.get("OMP_NUM_THREADS")}


def test_several_processes_do_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    lines: list[str] = []
    found = run_cells(Elsewhere(4), tmp_path, report=lines.append, workers=2)
    assert [f["value"] for f in found] == [0, 1, 4, 9]
    assert {f["threads"] for f in found} == {"2"}
    assert os.environ["OMP_NUM_THREADS"] == "4"
    assert os.getpid() not in {f["process"] for f in found}
    assert sorted(lines)[-1] == "4/4 3 squared is 9"
    more = run_cells(Elsewhere(5), tmp_path, report=lines.append)
    assert more[:4] == found  # nothing is computed twice
    assert more[4]["process"] == os.getpid()
    assert len(lines) == 5


def test_a_fault_in_a_process_is_told_and_what_was_done_stays(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no square for this one"):
        run_cells(Elsewhere(3, fault=2), tmp_path, report=print, workers=2)
    assert not (tmp_path / "cells" / "cell2.json").exists()
