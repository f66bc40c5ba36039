"""One cell of the benchmark: one circuit with one seed, from the simulation to the scores of all methods."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from neuroformer import __version__
from neuroformer.cli.command import Command
from neuroformer.cli.config import build_config
from neuroformer.files import read_json
from neuroformer.settings.connectivity import BLOCK_ESTIMATORS, ESTIMATORS

ROOT = Path(__file__).parents[2]
CIRCUITS = Path(__file__).parent / "circuits"
PRETRAIN = ROOT / "configs" / "connectivity.yaml"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

DEFAULT = tuple(name for name in ESTIMATORS if name not in BLOCK_ESTIMATORS)
"""All methods but those that read transformer blocks, of which the pretraining settings have none."""

MODEL: dict[str, list[str]] = {
    # Bins of a frame; an indicator's decay is the shortest time that means anything.
    "calcium": ["data.bin_s=0.1", "data.chunk_s=15", "data.warmup_s=6", "model.coupling.window_s=0.5",
                "model.history.window_s=1", "model.trunk.time_constants_s=[1,4]", "data.levels=1"],
    "large": ["model.coupling.rank=0"],
}  # fmt: skip
"""What a circuit's model is told beyond configs/connectivity.yaml; nothing was tuned on the benchmark's seeds."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What is run, and where its results lie."""

    circuit: str
    """Name of a file in `circuits/`."""
    seed: int
    """Of the circuit, its activity and the model."""
    out: Path
    """Folder of the benchmark."""
    quick: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    """Settings that make simulation and pretraining short, for a test."""
    estimators: tuple[str, ...] = field(default=())
    """Methods; by default `DEFAULT`."""

    @property
    def folder(self) -> Path:
        """Of this cell."""
        return self.out / self.circuit / f"seed_{self.seed}"

    @property
    def key(self) -> str:
        """Stands for all settings that simulation and pretraining depend on; what was made by others is made anew."""
        texts = [(CIRCUITS / f"{self.circuit}.yaml").read_text(), PRETRAIN.read_text()]
        told = [self.seed, MODEL.get(self.circuit, []), self.quick, __version__]
        return sha256("\n".join([*texts, repr(told)]).encode()).hexdigest()

    @property
    def current(self) -> bool:
        """Whether what lies in the folder was made by these settings."""
        path = self.folder / "key.txt"
        return path.exists() and path.read_text() == self.key

    @property
    def finished(self) -> bool:
        """Whether the scores of all wanted methods are there."""
        path = self.folder / "connectivity" / "metrics.json"
        if not (self.current and path.exists()):
            return False
        found = next(iter(read_json(path)["calls"].values()))
        return set(found) >= set(self.estimators or DEFAULT)

    def results(self) -> dict[str, Any]:
        """What `neuroformer connectivity` wrote."""
        found: dict[str, Any] = read_json(self.folder / "connectivity" / "metrics.json")
        return found


def run_cell(cell: Cell) -> None:
    """Run what of a cell is not there yet, on one core; what the commands print goes to FOLDER/log.txt."""
    os.environ |= dict.fromkeys(THREADS, "1")
    import torch

    import simulate.__main__ as simulation
    from neuroformer.cli import connectivity, pretrain

    torch.set_num_threads(1)
    cell.folder.mkdir(parents=True, exist_ok=True)
    again = not cell.current
    (cell.folder / "key.txt").write_text(cell.key)
    session = cell.folder / "simulate" / f"{cell.circuit}.h5"
    model = cell.folder / "model"
    steps: list[tuple[Path, Command, list[Path], list[str]]] = [
        (
            session.parent,
            simulation.COMMAND,
            [CIRCUITS / f"{cell.circuit}.yaml"],
            [f"session_id={cell.circuit}", f"seed={cell.seed}", *cell.quick[0]],
        ),
        (
            model,
            pretrain.COMMAND,
            [PRETRAIN],
            [f"data.sessions=['{session}']", f"seed={cell.seed}", "trainer.enable_progress_bar=false",
             *MODEL.get(cell.circuit, []), *cell.quick[1]],
        ),
        (
            cell.folder / "connectivity",
            connectivity.COMMAND,
            [],
            [f"run={model}", f"seed={cell.seed}", f"estimators=[{','.join(cell.estimators or DEFAULT)}]"],
        ),
    ]  # fmt: skip
    with (cell.folder / "log.txt").open("a") as log:
        for folder, command, files, words in steps:
            if (folder / "metrics.json").exists() and not again and command is not connectivity.COMMAND:
                continue
            settings = build_config(command.config, files, [*words, f"out={folder}", "overwrite=true"])
            with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                command.run(settings)
            log.flush()
