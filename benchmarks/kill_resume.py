"""Kills training at random moments and goes on; it must end bit for bit as if nothing had been.

`python -m benchmarks.kill_resume`. A run of a small model (with behaviour, dropout, early stopping and checkpoints
within epochs, so that everything a run keeps is in it) is made once without interruption. Then, again and again, the
same run is begun, killed by SIGKILL, gone on with by resume=auto, and compared when it has ended: weights, optimiser,
scheduler, state of callbacks and loops, what was learned after training, log.csv and metrics.json, but for what says
how long something took.

Moments, in turn: `time`, at random within the run; `write`, within the writing of a file (checkpoint, config.yaml,
metrics.json), after a random number of its bytes; `name`, just before or after a whole file takes its name; `after`, at
random between the last step and the end.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neuroformer import files
from neuroformer.cli.command import Command, run_command
from neuroformer.cli.config import build_config
from neuroformer.files import read_json
from neuroformer.session import Events, SessionData, TimeSeries, write_session
from neuroformer.settings.training import PretrainConfig
from neuroformer.training import fit
from neuroformer.training.checkpoint import read_checkpoint
from neuroformer.training.run import pretrain

KINDS = ("time", "write", "name", "after")
TIMES = {"seconds", "events_per_s"}
SETTINGS = (
    "out=run", "resume=auto", "optim.steps=24", "val_every=6", "checkpoint_every=2", "patience=3", "data.bin_s=0.05",
    "data.chunk_s=0.5", "data.warmup_s=0.2", "data.batch_size=4", "data.variables.x.role=both", "data.levels=1",
    "model.context.width=8", "model.context.features=4", "model.context.dropout=0.2", "model.readout.width=8",
    "model.trunk.width=8", "model.trunk.heads=2", "model.trunk.window_s=0.2", "model.trunk.state=4",
    "model.trunk.time_constants_s=[0.1,0.2]", "model.trunk.dropout=0.3", "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
)  # fmt: skip


@dataclass(kw_only=True)
class Config:
    """Settings of the benchmark."""

    kills: int = 52
    """Kills; shared equally among the kinds of moments."""
    seed: int = 0
    """Seed of the moments."""
    most: int = 2
    """A run is killed up to this many times before it may end."""


@dataclass
class Result:
    """What came of all kills."""

    kills: Counter[str]
    """By kind of moment."""
    runs: int
    """Runs that were killed at least once and ended."""
    identical: int
    """Those of them that ended as the uninterrupted one."""
    differences: list[str]
    """What differed, if anything did."""


def measure(config: Config, folder: Path, say: Callable[[str], None] = print) -> Result:
    """Kill and resume until there were enough kills.

    Args:
        config: settings.
        folder: to work in.
        say: gets a line for every run.
    """
    rng = np.random.default_rng(config.seed)
    session = folder / "session.h5"
    write_recording(session)
    straight = folder / "straight"
    started = time.monotonic()
    assert attempt(straight, session, None) == 0, "the uninterrupted run failed"
    length = time.monotonic() - started
    wanted = ending(straight / "run")
    say(f"uninterrupted: {length:.1f} s, {len(wanted)} values to compare")
    result = Result(kills=Counter(), runs=0, identical=0, differences=[])
    number = 0
    while result.kills.total() < config.kills:
        number += 1
        where, killed = folder / f"run_{number}", []
        for _ in range(int(rng.integers(1, config.most + 1))):
            kind = KINDS[(result.kills.total()) % len(KINDS)]
            if attempt(where, session, moment(kind, rng, length)) == -signal.SIGKILL:
                result.kills[kind] += 1
                killed.append(kind)
            else:
                break  # it ended before its moment came
        if not (where / "run" / "metrics.json").exists():
            code = attempt(where, session, None)
            if code:
                result.differences.append(f"run {number}: resume ended with exit code {code}")
        if not killed:
            continue
        result.runs += 1
        found = ending(where / "run")
        unlike = sorted(
            name for name in wanted.keys() | found.keys() if not same(wanted.get(name), found.get(name))
        )
        unlike += [f"left behind: {file.name}" for file in (where / "run").rglob(".*.partial*")]
        result.identical += not unlike
        result.differences += [f"run {number} (killed: {', '.join(killed)}): {name}" for name in unlike]
        say(
            f"run {number}: killed at {', '.join(killed)}: {'identical' if not unlike else f'{unlike[:3]} differ'}"
        )
    return result


def moment(kind: str, rng: np.random.Generator, length: float) -> dict[str, Any]:
    """When to kill: what `attempt` gets."""
    match kind:
        case "time":
            return {"seconds": float(rng.uniform(0, length))}
        case "after":
            return {"after": float(rng.uniform(0, 0.2 * length))}
        case "write":
            # Of the files of the run: config.yaml, ~12 + 4 checkpoints, then those with knowledge, metrics.json.
            return {"file": int(rng.integers(0, 20)), "share": float(rng.uniform(0, 1))}
        case _:
            return {"file": int(rng.integers(0, 20)), "named": bool(rng.integers(2))}


def attempt(where: Path, session: Path, kill: dict[str, Any] | None) -> int:
    """Run in a process of its own until it ends or is killed; its exit code, −9 if killed."""
    where.mkdir(exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # newer Pythons are wary of forks; no thread of this process holds a lock
        child = os.fork()  # everything is imported already: a new interpreter would spend its time on that
    if child == 0:
        code = 1
        try:
            warnings.simplefilter("ignore")
            os.chdir(where)
            with contextlib.redirect_stdout(io.StringIO()), armed(kill or {}):
                pretrain(build_config(PretrainConfig, words=[f"data.sessions=[{session}]", *SETTINGS]))
            code = 0
        except BaseException as error:  # a fork must not return into its parent's code
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    if kill and "seconds" in kill:
        time.sleep(kill["seconds"])
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@contextlib.contextmanager
def armed(kill: dict[str, Any]) -> Iterator[None]:
    """In the process that is to be killed: do it when the moment has come."""

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if "after" in kill:
        train = fit.train

        def and_then(*args: Any, **settings: Any) -> None:
            train(*args, **settings)
            signal.signal(signal.SIGALRM, lambda *_: die())
            signal.setitimer(signal.ITIMER_REAL, max(1e-4, kill["after"]))

        fit.train = and_then
    if "file" in kill:
        count = -1
        replace, flush = os.replace, files._flush_to_disk

        def when_written(path: Path) -> None:
            nonlocal count
            if ".partial" in path.name:
                count += 1
                if count == kill["file"] and "share" in kill:  # as if the writer had come that far
                    os.truncate(path, int(kill["share"] * path.stat().st_size))
                    die()
            flush(path)

        def take_name(source: Any, target: Any) -> None:
            if count == kill["file"] and not kill["named"]:
                die()
            replace(source, target)
            if count == kill["file"]:
                die()

        files._flush_to_disk = when_written
        if "named" in kill:
            files.os.replace = take_name  # type: ignore[attr-defined]
    yield


def ending(run: Path) -> dict[str, Any]:
    """All that a run leaves, by name, but for what says how long something took."""
    found: dict[str, Any] = {}
    for name in ("best", "last"):
        content = read_checkpoint(run / "checkpoints" / f"{name}.ckpt")
        for key, value in leaves(content):
            if not set(key) & {"position", *TIMES}:
                found[f"{name}.ckpt {'.'.join(key)}"] = value
    with (run / "log.csv").open(newline="") as file:
        for k, row in enumerate(csv.DictReader(file)):
            found |= {f"log.csv {k} {name}": text for name, text in row.items() if name not in TIMES}
    found |= {
        f"metrics.json {'.'.join(key)}": value
        for key, value in leaves(read_json(run / "metrics.json"))
        if not set(key) & TIMES
    }
    return found


def leaves(content: Any, key: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every number, text and tensor in nested content, with the way to it."""
    if isinstance(content, dict):
        for name, value in content.items():
            yield from leaves(value, (*key, str(name)))
    elif isinstance(content, list | tuple):
        for k, value in enumerate(content):
            yield from leaves(value, (*key, str(k)))
    else:
        yield key, content


def same(a: Any, b: Any) -> bool:
    """Equal to the last bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()
    return repr(a) == repr(b)


def write_recording(path: Path, *, seed: int = 0) -> None:
    """A session of 60 s with 4 units whose rate follows a behaviour."""
    rng = np.random.default_rng(seed)
    times = np.arange(0, 60, 0.05)
    x = np.cumsum(rng.normal(0, 0.2, len(times)))
    rate = 2 + 6 / (1 + np.exp(-np.outer([1, -1, 0.5, 0], x)))
    unit, bin_ = np.nonzero(rng.random(rate.shape) < rate * 0.05)
    order = np.argsort(bin_, kind="stable")
    events = Events(times=times[bin_[order]] + 0.01, units=unit[order].astype(np.int32))
    behavior = {"x": TimeSeries(timestamps=times, values=x.astype(np.float32), kind="continuous")}
    write_session(
        path,
        SessionData(
            session_id=path.stem,
            subject_id=path.stem,
            start=0.0,
            stop=60.0,
            n_units=4,
            events=events,
            behavior=behavior,
        ),
    )


def run(config: Config) -> int:
    """Print a line for every run, and the count."""
    torch.set_num_threads(1)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(config, Path(folder))
    for difference in result.differences:
        print(difference)
    kinds = ", ".join(f"{count} at {kind}" for kind, count in sorted(result.kills.items()))
    print(f"{result.kills.total()} kills ({kinds}) in {time.monotonic() - started:.0f} s")
    print(f"{result.identical} of {result.runs} resumed runs identical to the uninterrupted one")
    return int(result.identical != result.runs or bool(result.differences))


COMMAND = Command(
    name="python -m benchmarks.kill_resume",
    summary="Kill training at random moments, go on, and compare with a run that was not interrupted.",
    config=Config,
    run=run,
)

if __name__ == "__main__":
    sys.exit(run_command(COMMAND))
