"""What to do about a step whose loss or gradient is no number, or far above what it was."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from statistics import median
from typing import Any

from neuroformer.errors import UserError
from neuroformer.settings.training import OptimConfig

RECENT = 100  # steps that a loss is compared with
FEWEST = 20  # that must have been seen before one can be far above them
_LOG = logging.getLogger("neuroformer")


class LossGuard:
    """Judges every step, and stops the run or lets the step be dropped.

    Args:
        optim: settings; see `optim.on_bad_loss`.
    """

    def __init__(self, optim: OptimConfig) -> None:
        self.optim = optim
        self.skipped = 0
        """Steps dropped so far."""
        self.in_a_row = 0
        """Steps dropped since the last good one."""
        self.recent: list[float] = []
        """The last losses."""

    def fault(self, loss: float, norm: float) -> str | None:
        """What is wrong with a step, None if nothing is.

        Args:
            loss: of the step.
            norm: of its gradient.
        """
        if not math.isfinite(loss):
            return f"the loss is {loss}, not a finite number"
        if not math.isfinite(norm):
            return f"the gradient's norm is {norm}, not a finite number"
        if self.optim.far_loss and len(self.recent) >= FEWEST:
            middle = median(self.recent)
            spread = median(abs(value - middle) for value in self.recent)
            if loss - middle > self.optim.far_loss * max(spread, 1e-6 * abs(middle)):
                return (
                    f"the loss is {loss:.4g}, far above its median {middle:.4g} over the last {len(self.recent)} steps "
                    f"(more than optim.far_loss={self.optim.far_loss:g} times their median deviation {spread:.2g})"
                )
        return None

    def judge(self, *, loss: float, norm: float, step: int, sessions: Callable[[], list[str]]) -> bool:
        """Whether the step may be taken.

        Args:
            loss: of the step, over all processes.
            norm: of its gradient.
            step: its number, counted from 0.
            sessions: names those of its batch (in this process).

        Raises:
            UserError: it may not, and the run is to stop, by `on_bad_loss` or after too many.
        """
        fault = self.fault(loss, norm)
        if fault is None:
            self.in_a_row = 0
            self.recent = [*self.recent, loss][-RECENT:]
            return True
        names = sessions()
        named = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
        where = f"the loss at step {step} is no good: {fault}; sessions of the batch: {named}"
        cure = "lower optim.lr or optim.clip, or look at these sessions (neuroformer validate)"
        if self.optim.on_bad_loss == "stop":
            raise UserError(f"{where}; {cure}; optim.on_bad_loss=skip drops such steps")
        self.skipped += 1
        self.in_a_row += 1
        if self.in_a_row > self.optim.bad_in_a_row:
            raise UserError(
                f"{where}; more than optim.bad_in_a_row={self.optim.bad_in_a_row} steps in a row were dropped; {cure}"
            )
        _LOG.warning("step %d is dropped (%d so far): %s; sessions: %s", step, self.skipped, fault, named)
        return False

    def state(self) -> dict[str, Any]:
        """For the checkpoint, builtins only."""
        return {"skipped": self.skipped, "in_a_row": self.in_a_row, "recent": list(self.recent)}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.skipped, self.in_a_row = int(state["skipped"]), int(state["in_a_row"])
        self.recent = [float(value) for value in state["recent"]]
