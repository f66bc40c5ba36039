"""log.csv: one line every few steps, kept whole over a resumed run."""

from __future__ import annotations

import csv
import math
import time
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

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
)


class LogFile(Callback):
    """Writes means over the steps since the last line, in nats per event, and the validation score when there is one.

    Args:
        path: the CSV file.
        every: steps between two lines.
    """

    def __init__(self, path: Path, *, every: int) -> None:
        """See the class."""
        self.path, self.every = path, max(1, every)
        self._sums: dict[str, float] = {}
        self._some: dict[str, list[float]] = {}
        self._steps = 0
        self._last = (0.0, 0)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the file, or drop the lines past the step from which the run goes on."""
        kept = []
        if trainer.global_step and self.path.exists():
            with self.path.open(newline="") as file:
                kept = [row for row in csv.DictReader(file) if int(row["step"]) <= trainer.global_step]
        with self.path.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(kept)
        self._last = (time.monotonic(), self._events(pl_module))

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add a step; write a line when it is due."""
        for name in ("train_loss", "train_nll", "train_level_nll", "train_kl"):
            self._sums[name] = self._sums.get(name, 0.0) + float(trainer.callback_metrics[name])
        for name in ("train_decode_nll", "train_align"):
            value = float(trainer.callback_metrics.get(name, math.nan))
            if not math.isnan(value):  # a step of a task that decodes, or with something to align
                self._some.setdefault(name, []).append(value)
        self._steps += 1
        if self._steps >= self.every:
            now, events = time.monotonic(), self._events(pl_module)
            row = {name: total / self._steps for name, total in self._sums.items()}
            row["events_per_s"] = (events - self._last[1]) / max(1e-9, now - self._last[0])
            row |= {name: sum(values) / len(values) for name, values in self._some.items()}
            row["lr"] = max(group["lr"] for group in trainer.optimizers[0].param_groups)
            self._write(trainer, row)
            self._sums, self._some, self._steps, self._last = {}, {}, 0, (now, events)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the score."""
        if not trainer.sanity_checking:
            found = {n: trainer.callback_metrics.get(n) for n in ("val_bits_per_spike", "val_decode_nll")}
            self._write(trainer, {n: float(value) for n, value in found.items() if value is not None})
            self._last = (time.monotonic(), self._events(pl_module))

    def _events(self, module: L.LightningModule) -> int:
        return int(getattr(module, "events_trained", 0))

    def _write(self, trainer: L.Trainer, row: dict[str, float]) -> None:
        if not trainer.is_global_zero:
            return
        line = {name: f"{value:.6g}" for name, value in row.items()}
        line["step"], line["epoch"] = str(trainer.global_step), str(trainer.current_epoch)
        line["seconds"] = f"{time.monotonic() - self._start:.2f}"
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, COLUMNS).writerow(line)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Start the clock."""
        self._start = time.monotonic()
