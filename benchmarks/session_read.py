"""How long a slice of a long session takes to read, and how much memory: `python -m benchmarks.session_read`."""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from neuroformer.cli.command import Command, run_command
from neuroformer.session import Events, Session, SessionData, validate_file, write_session


@dataclass(kw_only=True)
class Config:
    """Settings of the benchmark."""

    units: int = 1000
    """Number of units."""
    hours: float = 1.0
    """Length of the recording (h)."""
    rate: float = 5.0
    """Events per unit and second."""
    slice_s: float = 10.0
    """Length of the slice that is read (s)."""
    repeats: int = 100
    """Slices at random places, for the time when the file is open and in the system's cache."""
    seed: int = 0
    """Seed of events and places."""


def write(path: Path, config: Config) -> float:
    """Write a recording with Poisson events on a 20 kHz grid; seconds."""
    rng = np.random.default_rng(config.seed)
    stop = config.hours * 3600
    n_events = int(config.units * stop * config.rate)
    times = np.floor(np.sort(rng.uniform(0, stop, n_events)) * 20_000) / 20_000
    events = Events(times=times, units=rng.integers(0, config.units, n_events, dtype=np.int32))
    data = SessionData(
        session_id="benchmark", subject_id="none", start=0.0, stop=stop, n_units=config.units, events=events
    )
    return seconds(lambda: write_session(path, data))


def read(path: Path, config: Config) -> dict[str, float]:
    """Read slices in a fresh process: first from the disk, then from the cache."""
    before = peak_mb()
    drop_from_cache(path)
    session = Session(path)
    middle = config.hours * 1800
    cold = seconds(lambda: session.events(middle, middle + config.slice_s))
    after_cold = peak_mb()
    starts = np.random.default_rng(config.seed).uniform(0, session.stop - config.slice_s, config.repeats)
    warm = [seconds(lambda start=start: session.events(start, start + config.slice_s)) for start in starts]
    after_warm = peak_mb()
    session.close()
    return {
        f"{config.slice_s:g} s, cold (open, index, read)  ms": cold * 1e3,
        f"{config.slice_s:g} s, warm, median              ms": float(np.median(warm)) * 1e3,
        "peak memory of the cold read  MB": after_cold - before,
        "peak memory of all reads      MB": after_warm - before,
    }


def validate(path: Path) -> dict[str, float]:
    """Check the whole file in a fresh process."""
    before = peak_mb()
    taken = seconds(lambda: validate_file(path))
    return {"validate  s": taken, "peak memory of validate  MB": peak_mb() - before}


def seconds(action: Callable[[], object]) -> float:
    """How long `action` takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def peak_mb() -> float:
    """The most memory that this process has had so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def drop_from_cache(path: Path) -> None:
    """Ask the system to forget the file's content."""
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def run(config: Config) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "session.h5"
        # A process each: the peak of one would hide that of the next.
        spawn = get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:
            figures = {"write  s": pool.submit(write, path, config).result()}
            figures["file  MB"] = path.stat().st_size / 1e6
            figures |= pool.submit(read, path, config).result()
            figures |= pool.submit(validate, path).result()
    print(f"{config.units:,} units, {config.hours:g} h at {config.rate:g} events/s")
    for name, value in figures.items():
        print(f"  {name:<40}  {value:8.1f}")


COMMAND = Command(
    name="python -m benchmarks.session_read",
    summary="Time and memory of reading a slice of a long session.",
    config=Config,
    run=run,
    examples=("python -m benchmarks.session_read", "python -m benchmarks.session_read hours=10 slice_s=2"),
)

if __name__ == "__main__":
    sys.exit(run_command(COMMAND))
