"""Every connectivity method on a fixed set of circuits × seeds: `python -m benchmarks.connectivity`.

Resumable: what is finished in OUT/CIRCUIT/seed_N with the same settings is not run again (after a change of the code,
name another out=). A cell is simulated, pretrained and read out by the project's own commands.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from benchmarks.connectivity.cells import CIRCUITS, DEFAULT, ROOT, Cell, run_cell
from benchmarks.connectivity.figure import draw
from benchmarks.connectivity.summary import NO_EDGES
from benchmarks.connectivity.tables import check_marks, render, write_into
from neuroformer.cli.command import Command, run_command
from neuroformer.errors import UsageError
from neuroformer.files import atomic_path
from neuroformer.plotting import save_figure

ORDER = ("clean", "hidden", "shared_drive", "hidden_and_drive", "fast_drive", "synchrony", "low_rate", "short",
         "lif", "calcium", "large", "unconnected")  # fmt: skip


@dataclass(kw_only=True)
class Config:
    """Settings of the benchmark."""

    circuits: list[str] = field(default_factory=lambda: list(ORDER))
    """Names of files in benchmarks/connectivity/circuits."""
    seeds: list[int] = field(default_factory=lambda: [1, 2, 3, 4, 5])
    """Seeds of the circuits. Choices were made on 0, 100 and 101."""
    estimators: list[str] = field(default_factory=list)
    """Methods; by default all but those that read transformer blocks, of which the model has none."""
    out: str = "out/benchmarks/connectivity"
    """Folder of the cells."""
    workers: int = 2
    """Cells at once, a core each."""
    record: bool = False
    """Write the tables into benchmarks/RESULTS.md and the figure into docs/figures, besides OUT."""
    quick: bool = False
    """A minute of recording and a few training steps: to see that everything runs, not to be quoted."""

    def __post_init__(self) -> None:
        """Check names."""
        for name in self.circuits:
            if not (CIRCUITS / f"{name}.yaml").exists():
                raise UsageError(f"circuits: unknown {name!r}; expected any of {', '.join(ORDER)}")
        for name in self.estimators:
            if name not in DEFAULT:
                raise UsageError(f"estimators: unknown {name!r}; expected any of {', '.join(DEFAULT)}")
        if self.record and self.quick:
            raise UsageError(
                "record=true, quick=true: expected one of them, quick figures are not to be quoted"
            )
        if not self.seeds or self.workers < 1:
            raise UsageError(
                f"seeds={self.seeds}, workers={self.workers}: expected one seed and one worker or more"
            )


def run(config: Config) -> int:
    """Run what is missing, then summarise everything that is there."""
    out = Path(config.out)
    if config.record:
        check_marks(ROOT / "benchmarks" / "RESULTS.md")
    quick = (("duration_s=60",), ("optim.steps=20", "val_every=20")) if config.quick else ((), ())
    cells = [
        Cell(circuit=circuit, seed=seed, out=out, quick=quick, estimators=tuple(config.estimators))
        for seed in config.seeds  # all circuits of a seed first: a table is there early
        for circuit in config.circuits
    ]
    waiting = [cell for cell in cells if not cell.finished]
    print(f"{len(cells)} cells, {len(cells) - len(waiting)} of them finished before", flush=True)
    started, failed = time.monotonic(), 0
    # A fresh process for each cell gives its memory back. (ProcessPoolExecutor can hang with max_tasks_per_child.)
    with get_context("spawn").Pool(config.workers, maxtasksperchild=1) as pool:
        jobs = [(cell, pool.apply_async(run_cell, (cell,))) for cell in waiting]
        for cell, job in jobs:
            try:
                job.get()
                state = "done"
            except Exception as error:  # one cell's fault is told, and the others go on
                failed += 1
                state = f"failed: {error} (see {cell.folder / 'log.txt'})"
            took = f"{time.monotonic() - started:.0f} s"
            print(f"{took:>8}  {cell.circuit} seed {cell.seed}: {state}", flush=True)
    finished = [cell for cell in cells if cell.finished]
    if not finished:
        return 1
    results: dict[str, dict[int, dict]] = {}
    for circuit in config.circuits:
        found = {cell.seed: cell.results() for cell in finished if cell.circuit == circuit}
        if found:
            results[circuit] = found
    text = render(results)
    with atomic_path(out / "RESULTS.md") as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    if set(results) != {NO_EDGES}:
        save_figure(draw(results), out / "connectivity.png")
    if config.record:
        write_into(ROOT / "benchmarks" / "RESULTS.md", text)
        save_figure(draw(results), ROOT / "docs" / "figures" / "connectivity.png", dpi=150)
    print(f"\n{text}\n\ntables and figure: {out}")
    return 1 if failed else 0


COMMAND = Command(
    name="python -m benchmarks.connectivity",
    summary="Run every connectivity method on a fixed set of circuits whose wiring is known; resumable.",
    config=Config,
    run=run,
    examples=(
        "python -m benchmarks.connectivity",
        "python -m benchmarks.connectivity circuits=[clean,fast_drive] seeds=[1,2]",
        "python -m benchmarks.connectivity quick=true out=out/benchmarks/quick",
    ),
)

if __name__ == "__main__":
    sys.exit(run_command(COMMAND))
