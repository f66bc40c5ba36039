"""Experiments of many independent fits: a cell is computed once and kept, so that a run that was stopped goes on."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from neuroformer.files import RunFolder, read_json, write_json

C = TypeVar("C")
_FOLDER = "cells"


class Experiment(Protocol[C]):
    """What is fitted, cell by cell."""

    def cells(self) -> Iterable[C]:
        """All cells, in the order of the results."""

    def key(self, cell: C) -> str:
        """Stands for everything that a cell depends on."""

    def run(self, cell: C) -> dict[str, Any]:
        """Fit and score a cell; what is kept of it, as builtins and arrays."""

    def told(self, cell: C, found: dict[str, Any]) -> str:
        """A line for the user about a cell that was just computed."""


def open_folder(out: str | Path, *, overwrite: bool, command: str, config: Any) -> RunFolder:
    """The folder of an experiment: finished cells in it are kept unless `overwrite`.

    Raises:
        UserError: the folder holds a finished run of something else.
    """
    cells = Path(out) / _FOLDER
    if overwrite:
        shutil.rmtree(cells, ignore_errors=True)
    return RunFolder.create(out, overwrite=overwrite or cells.is_dir(), command=command, config=config)


def run_cells(
    experiment: Experiment[C], folder: Path, *, report: Callable[[str], Any] = print
) -> list[dict[str, Any]]:
    """Compute what is not there yet; all results in the order of the cells."""
    results = []
    cells = list(experiment.cells())
    for k, cell in enumerate(cells):
        path = folder / _FOLDER / f"{experiment.key(cell)}.json"
        if not path.exists():
            found = experiment.run(cell)
            write_json(path, found)
            report(f"{k + 1}/{len(cells)} {experiment.told(cell, found)}")
        results.append(read_json(path))
    return results
