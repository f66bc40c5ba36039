"""Stopping on request: a signal is noted, and obeyed where the run can be continued from."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from neuroformer.errors import UserError

# What clusters send before they end a job: SLURM's preemption and time limit SIGTERM, `--signal=B:USR1@60` SIGUSR1.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class RunStoppedError(UserError):
    """A run was asked to stop, and did so with its checkpoint written.

    Args:
        message: where it stopped, and how to go on.
        signum: the signal.
    """

    def __init__(self, message: str, *, signum: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signum
        """What the process ends with, as shells have it: 143 for SIGTERM, 138 for SIGUSR1 (on Linux)."""


class StopSignals:
    """Notes signals while its block runs; outside the main thread, where Python has none, it does nothing."""

    def __init__(self) -> None:
        """See the class."""
        self.received: int = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        """Begin to listen."""
        self.listen()
        return self

    def listen(self) -> None:
        """Listen, also where somebody else has begun to in between."""
        if threading.current_thread() is threading.main_thread():
            for signum in SIGNALS:
                before = signal.signal(signum, self._note)
                self._before.setdefault(signum, before)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the signals back."""
        if threading.current_thread() is threading.main_thread():
            for signum, before in self._before.items():
                signal.signal(signum, signal.SIG_DFL if before is None else before)
        self._before = {}

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.received = signum
