"""Experiments of many independent fits: a cell is computed once and kept, so that a run that was stopped goes on."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
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
    experiment: Experiment[C], folder: Path, *, report: Callable[[str], Any] = print, workers: int = 1
) -> list[dict[str, Any]]:
    """Compute what is not there yet; all results in the order of the cells.

    Args:
        experiment: what is fitted; with several workers it is pickled.
        folder: of the results.
        report: gets a line about every cell that was computed.
        workers: processes that compute cells at the same time, sharing the cores.
    """
    cells = list(experiment.cells())
    paths = [folder / _FOLDER / f"{experiment.key(cell)}.json" for cell in cells]
    missing = [k for k, path in enumerate(paths) if not path.exists() and path not in paths[:k]]
    if workers > 1 and len(missing) > 1:
        with _pool(experiment, min(workers, len(missing))) as pool:
            waiting = {pool.submit(_compute_there, cells[k], paths[k]): k for k in missing}
            try:
                for done in as_completed(waiting):
                    k = waiting[done]
                    report(f"{k + 1}/{len(cells)} {experiment.told(cells[k], done.result())}")
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    else:
        for k in missing:
            found = _compute(experiment, cells[k], paths[k])
            report(f"{k + 1}/{len(cells)} {experiment.told(cells[k], found)}")
    return [read_json(path) for path in paths]


def _compute(experiment: Experiment[C], cell: C, path: Path) -> dict[str, Any]:
    found = experiment.run(cell)
    write_json(path, found)
    return found


@contextlib.contextmanager
def _pool(experiment: Experiment[Any], workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that know the experiment, each with its share of the cores."""
    name = "OMP_NUM_THREADS"  # read when a process starts, so it is set around
    before = os.environ.get(name)
    os.environ[name] = str(max(1, int(before or os.cpu_count() or 1) // workers))
    try:
        with ProcessPoolExecutor(
            workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(experiment,)
        ) as pool:
            yield pool
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


_here: list[Experiment[Any]] = []  # of a worker, so that what it has read stays read


def _begin(experiment: Experiment[Any]) -> None:
    _here[:] = [experiment]


def _compute_there(cell: Any, path: Path) -> dict[str, Any]:
    return _compute(_here[0], cell, path)
