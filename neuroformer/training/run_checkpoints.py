"""When a run's checkpoints are written, and how: whole or not at all."""

from __future__ import annotations

import math
import signal
from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason

from neuroformer.training.checkpoint import read_checkpoint, write_checkpoint
from neuroformer.training.stop import RunStoppedError, StopSignals

MONITOR = "val_objective"


class AtomicCheckpointIO(CheckpointIO):
    """Checkpoints take their name when all of them is on the disk, and are read without running code in them."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises:
            UserError: the disk is full; a checkpoint that had the name is as it was.
        """
        write_checkpoint(checkpoint, path)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint: builtins and tensors, whatever `weights_only` says."""
        return read_checkpoint(path)

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint."""
        Path(path).unlink(missing_ok=True)


class RunCheckpoints(Checkpoint):
    """Writes best.ckpt and last.ckpt, and obeys requests to stop.

    last.ckpt is written after every validation, every `every` steps, and when the run is asked to stop; it holds
    all that the run needs to go on as if nothing had happened. It is written after everything else that happens at
    that moment (the line of the log, the judgement of early stopping, best.ckpt), so that none of it is lost or
    done twice.

    Args:
        folder: of the checkpoints.
        every: steps between two writes of last.ckpt within an epoch; 0: none.
        signals: requests to stop.
        go_on: what to tell a user whose run was stopped.
    """

    def __init__(self, folder: Path, *, every: int, signals: StopSignals, go_on: str) -> None:
        """See the class."""
        self.folder, self.every, self.signals, self.go_on = folder, every, signals, go_on
        self.best_score: float | None = None

    @property
    def best(self) -> Path:
        """The checkpoint of the best validation."""
        return self.folder / "best.ckpt"

    @property
    def last(self) -> Path:
        """The checkpoint to go on from."""
        return self.folder / "last.ckpt"

    def state_dict(self) -> dict[str, Any]:
        """Builtins only."""
        return {"best_score": self.best_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.best_score = state_dict["best_score"]

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """A run that early stopping had ended does not train on."""
        for callback in trainer.callbacks:  # type: ignore[attr-defined]  # Lightning sets it in a connector
            if isinstance(callback, EarlyStopping):
                state = checkpoint["callbacks"].get(callback.state_key, {})
                if state.get("stopping_reason", 0) != EarlyStoppingReason.NOT_STOPPED.value:
                    trainer.should_stop = True

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take the signals back from Lightning, whose own handler talks to other processes wherever it is called."""
        self.signals.listen()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write within an epoch; what ends it is followed by a validation, and that by `on_train_epoch_end`."""
        if batch_idx + 1 >= trainer.num_training_batches or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        stop = self._asked(trainer)
        if stop or (self.every and trainer.global_step % self.every == 0):
            trainer.save_checkpoint(self.last)
        if stop:
            self._stop(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write after a validation."""
        found = trainer.callback_metrics.get(MONITOR)
        if found is not None:
            score = -math.inf if math.isnan(float(found)) else float(found)
            if self.best_score is None or score > self.best_score:
                self.best_score = score
                trainer.save_checkpoint(self.best)
        trainer.save_checkpoint(self.last)
        if self._asked(trainer):
            self._stop(trainer)

    def _asked(self, trainer: L.Trainer) -> bool:
        asked = bool(self.signals.received) or trainer.received_sigterm
        # A scheduler may tell one process only; all stop at the same step.
        return (
            asked if trainer.world_size == 1 else trainer.strategy.reduce_boolean_decision(asked, all=False)
        )

    def _stop(self, trainer: L.Trainer) -> None:
        raise self.stopped(trainer.global_step)

    def stopped(self, step: int) -> RunStoppedError:
        """What a run says that was asked to stop, and stopped at a step."""
        signum = int(self.signals.received or signal.SIGTERM)  # without one here, another process was asked
        return RunStoppedError(
            f"{self.folder.parent}: stopped at step {step}, as {signal.Signals(signum).name} asked; {self.go_on}",
            signum=signum,
        )
