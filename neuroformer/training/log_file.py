"""log.csv: one line every few steps, kept whole over a resumed run."""

from __future__ import annotations

import csv
import io
import math
import os
import time
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from neuroformer.files import append_line

COLUMNS = (
    "step",
    "epoch",
    "seconds",
    "lr",
    "events_per_s",
    "train_loss",
    "train_nll",
    "train_level_nll",
    "train_kl",
    "train_decode_nll",
    "train_align",
    "val_bits_per_spike",
    "val_decode_nll",
    "skipped",
)
TRAINED = tuple(name for name in COLUMNS if name.startswith("train_"))


class LogFile(Callback):
    """Writes means over the steps since the last line, in nats per event, and the validation score when there is one.

    A checkpoint holds how long the file was and what has been summed since its last line, so that the file of a run
    that was interrupted, however roughly, ends as that of one that was not, but for the columns `seconds` (the time
    that training took, without what was lost) and `events_per_s`.

    Args:
        path: the CSV file.
        every: steps between two lines.
    """

    def __init__(self, path: Path, *, every: int) -> None:
        """See the class."""
        self.path, self.every = path, max(1, every)
        self._sums: dict[str, float] = {}
        self._some: dict[str, list[float]] = {}
        self._steps = self._good = 0
        self._last = (0.0, 0)
        self._position: int | None = None
        self._seconds, self._start = 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        """Spent so far, in all pieces of an interrupted run."""
        return self._seconds + time.monotonic() - self._start

    def state_dict(self) -> dict[str, Any]:
        """Builtins only."""
        return {
            "position": self._synced(),
            "seconds": self.seconds,
            "sums": dict(self._sums),
            "some": {name: list(values) for name, values in self._some.items()},
            "steps": [self._steps, self._good],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self._position, self._seconds = state_dict["position"], state_dict["seconds"]
        self._sums, self._some = dict(state_dict["sums"]), dict(state_dict["some"])
        self._steps, self._good = state_dict["steps"]

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Start the clock."""
        self._start = time.monotonic()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the file, or drop what stands past the point from which the run goes on."""
        if trainer.is_global_zero:
            if self._position is None or not self.path.exists():
                self.path.unlink(missing_ok=True)
                append_line(self.path, self._line(dict(zip(COLUMNS, COLUMNS, strict=True))))
            with self.path.open("r+b") as file:
                size = file.seek(0, os.SEEK_END)
                file.truncate(size if self._position is None else min(size, self._position))
        self._last = (time.monotonic(), self._events(pl_module))

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add a step; write a line when it is due."""
        guard = getattr(pl_module, "guard", None)
        if guard is None or not guard.in_a_row:  # else it was dropped
            last = getattr(pl_module, "last", {})
            found = {name: last.get(name, math.nan) for name in TRAINED}
            for name in ("train_loss", "train_nll", "train_level_nll", "train_kl"):
                self._sums[name] = self._sums.get(name, 0.0) + found[name]
            for name in ("train_decode_nll", "train_align"):
                if not math.isnan(found[name]):  # a step of a task that decodes, or with something to align
                    self._some.setdefault(name, []).append(found[name])
            self._good += 1
        self._steps += 1
        if self._steps >= self.every:
            now, events = time.monotonic(), self._events(pl_module)
            row = {name: total / self._good for name, total in self._sums.items()}
            row["events_per_s"] = (events - self._last[1]) / max(1e-9, now - self._last[0])
            row |= {name: sum(values) / len(values) for name, values in self._some.items()}
            row["lr"] = max(group["lr"] for group in trainer.optimizers[0].param_groups)
            self._write(trainer, pl_module, row)
            self._sums, self._some, self._steps, self._good = {}, {}, 0, 0
            self._last = (now, events)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the score."""
        if not trainer.sanity_checking:
            found = {n: trainer.callback_metrics.get(n) for n in ("val_bits_per_spike", "val_decode_nll")}
            self._write(
                trainer, pl_module, {n: float(value) for n, value in found.items() if value is not None}
            )
            self._last = (time.monotonic(), self._events(pl_module))

    def _events(self, module: L.LightningModule) -> int:
        return int(getattr(module, "events_trained", 0))

    def _write(self, trainer: L.Trainer, module: L.LightningModule, row: dict[str, float]) -> None:
        if not trainer.is_global_zero:
            return
        line = {name: f"{value:.6g}" for name, value in row.items()}
        line["step"], line["epoch"] = str(trainer.global_step), str(trainer.current_epoch)
        line["seconds"] = f"{self.seconds:.2f}"
        line["skipped"] = str(getattr(getattr(module, "guard", None), "skipped", 0))
        append_line(self.path, self._line(line))

    @staticmethod
    def _line(row: dict[str, str]) -> str:
        text = io.StringIO()
        csv.DictWriter(text, COLUMNS).writerow(row)
        return text.getvalue()

    def _synced(self) -> int | None:
        """Bytes in the file, all of them on the disk; None where there is none."""
        if not self.path.exists():
            return None
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
            return file.seek(0, os.SEEK_END)
