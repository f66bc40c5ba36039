"""Cases in a child process, which may crash, hang or ask for all memory without ending the run."""

import faulthandler
import gc
import json
import os
import resource
import select
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.fuzz.outcomes import Outcome

Case = Callable[[np.random.Generator, Path], Outcome]
MEMORY = 3 * 1024**3  # bytes that a child may ask for beside what it has


@dataclass(frozen=True)
class Result:
    """A case that was run.

    Attributes:
        number: of the case; with kind and seed it makes the case again.
        outcome: what came of it.
        took_s: seconds.
    """

    number: int
    outcome: Outcome
    took_s: float


def case_rng(kind: str, seed: int, number: int) -> np.random.Generator:
    """The randomness of one case."""
    return np.random.default_rng([seed, number, *kind.encode()])


def run_case(case: Case, kind: str, seed: int, number: int, folder: Path) -> Outcome:
    """One case in this process, in an empty folder; an exception that gets through is a find."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        return case(case_rng(kind, seed, number), folder)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        last = f"{type(error).__name__}: {str(error)[:300]} ({Path(place.filename).name}:{place.lineno})"
        return Outcome("unclear", f"exception {last}", "".join(traceback.format_exc()[-1500:]))
    finally:
        _make_removable(folder)


def run_cases(
    case: Case, *, kind: str, seed: int, numbers: range, folder: Path, limit_s: float
) -> Iterator[Result]:
    """Run cases in order in a forked child; after a crash or a hang a new child goes on behind it.

    Args:
        case: makes and judges one case; its modules are imported, so that a child starts at once.
        kind: name of the kind.
        seed: of the run.
        numbers: of the cases.
        folder: where cases may write.
        limit_s: seconds after which a case counts as hung.
    """
    following, hung = numbers.start, -1
    while following < numbers.stop:
        child, pipe = _start(case, kind, seed, range(following, numbers.stop), folder)
        began, buffer = time.monotonic(), b""
        try:
            while following < numbers.stop:
                left = limit_s - (time.monotonic() - began)
                ready = select.select([pipe], [], [], max(left, 0.0))[0]
                data = os.read(pipe, 1 << 16) if ready else b""
                if not ready and hung != following:  # the machine may have stood still: once more
                    hung = following
                    break
                if not data:
                    what = f"hang: more than {limit_s:g} s" if not ready else _how_it_ended(child)
                    yield Result(following, Outcome("unclear", what), time.monotonic() - began)
                    following += 1
                    break
                buffer += data
                *lines, buffer = buffer.split(b"\n")
                for line in lines:
                    number, status, what, mutation, took = json.loads(line)
                    yield Result(number, Outcome(status, what, mutation), took)
                    following, began = number + 1, time.monotonic()
        finally:
            os.close(pipe)
            _end(child)
            _make_removable(folder)


def _start(case: Case, kind: str, seed: int, numbers: range, folder: Path) -> tuple[int, int]:
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    code = 1
    try:
        os.close(reading)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        faulthandler.disable()  # a crash is told by the parent
        gc.freeze()
        for number in numbers:
            began = time.monotonic()
            found = run_case(case, kind, seed, number, folder)
            line = [number, found.status, found.what[:2000], found.mutation[:2000], time.monotonic() - began]
            os.write(writing, json.dumps(line).encode() + b"\n")
        code = 0
    finally:
        os._exit(code)


def _how_it_ended(child: int) -> str:
    for _ in range(100):  # the pipe closes a moment before the process is gone
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            return f"crash: {signal.Signals(-code).name}" if code < 0 else f"crash: exit code {code}"
        time.sleep(0.05)
    return "crash"


def _end(child: int) -> None:
    try:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    except (ProcessLookupError, ChildProcessError):
        pass  # ended by itself and waited for already


def _make_removable(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink() and path.exists() and not os.access(path, os.R_OK | os.W_OK):
            path.chmod(0o755 if path.is_dir() else 0o644)
