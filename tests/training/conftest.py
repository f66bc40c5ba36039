"""Processes of their own for tests of signals, limits and several processes."""

import os
import socket
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Forked = Callable[..., tuple[int, str]]


@pytest.fixture(scope="session")
def forked() -> Forked:
    """`forked(action, log, **environment)`: run `action` in a fork of this process; its exit code and its errors.

    A fork has everything imported, which takes a new interpreter seconds.
    """

    def run(action: Callable[[], int | None], log: Path, **environment: str) -> tuple[int, str]:
        code = os.waitstatus_to_exitcode(os.waitpid(start(action, log, environment), 0)[1])
        return code, log.read_text()

    return run


def start(action: Callable[[], int | None], log: Path, environment: Mapping[str, str]) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons are wary of forks
        child = os.fork()
    if child == 0:
        code = 70
        try:
            file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, 1)
            os.dup2(file, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
            warnings.simplefilter("ignore")
            os.environ.update(environment)
            code = action() or 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return child


@pytest.fixture(scope="session")
def forked_pair() -> Callable[[Callable[[], int | None], Path], list[tuple[int, str]]]:
    """`forked_pair(action, folder)`: the same in two processes that train together, as torchrun starts them."""

    def run(action: Callable[[], int | None], folder: Path) -> list[tuple[int, str]]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared = {
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
            "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "test", "GLOO_SOCKET_IFNAME": "lo",
        }  # fmt: skip
        logs = [folder / f"process_{rank}.txt" for rank in range(2)]
        children = [
            start(action, log, {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)})
            for rank, log in enumerate(logs)
        ]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        return [(code, log.read_text()) for code, log in zip(codes, logs, strict=True)]

    return run


@pytest.fixture(scope="session")
def tiny_words() -> tuple[str, ...]:
    """Settings of a run of two epochs of four steps."""
    return (
        "optim.steps=8", "val_every=4", "data.chunk_s=0.5", "data.warmup_s=0.2", "data.batch_size=8",
        "model.trunk.width=8", "model.trunk.heads=2", "model.trunk.window_s=0.05", "model.trunk.state=8",
        "model.trunk.time_constants_s=[0.02,0.05]", "model.trunk.dropout=0.2", "trainer.accelerator=cpu",
        "trainer.enable_progress_bar=false",
    )  # fmt: skip
