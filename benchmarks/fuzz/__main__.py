"""Damaged and nonsensical files and settings by the thousand; every outcome that is not clear goes into a journal."""

import collections
import importlib
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchmarks.fuzz.workers import Case, Result, run_case, run_cases
from neuroformer.cli.command import Command, run_command
from neuroformer.errors import UsageError
from neuroformer.files import atomic_path

Kind = Literal["session", "mapping", "settings", "checkpoint", "stranger"]
KINDS: dict[str, tuple[str, str]] = {
    "session": ("session_cases", "SessionCases"),
    "mapping": ("mapping_cases", "MappingCases"),
    "settings": ("setting_cases", "SettingCases"),
    "checkpoint": ("checkpoint_cases", "CheckpointCases"),
    "stranger": ("stranger_cases", "StrangerCases"),
}
STATES = ("refused", "unchanged", "valid", "unclear")


@dataclass(kw_only=True)
class Config:
    """Settings of the fuzz."""

    kinds: list[Kind] = field(default_factory=lambda: list(KINDS))  # type: ignore[arg-type]
    """What is made wrong."""
    seeds: list[int] = field(default_factory=lambda: [0])
    """Seeds; kind, seed and number make a case again."""
    cases: int = 2000
    """Cases of each kind and seed."""
    first: int = 0
    """Number of the first case."""
    limit_s: float = 20.0
    """Seconds after which a case counts as hung; it is tried twice."""
    again: bool = False
    """Run the cases in this process, where a debugger can look, and print each."""
    out: str = "out/benchmarks/fuzz"
    """Folder of journal.jsonl (unclear outcomes, a line each) and RESULTS.md."""

    def __post_init__(self) -> None:
        """Check that there is something to run."""
        if self.cases < 1 or self.first < 0 or not self.limit_s > 0 or not self.seeds or min(self.seeds) < 0:
            raise UsageError(
                f"cases={self.cases}, first={self.first}, limit_s={self.limit_s:g}, seeds={self.seeds}: expected 1 "
                "case or more, counted from 0, seconds above 0 and seeds of 0 or more"
            )


def cases_of(kind: str, folder: Path) -> Case:
    """The cases of a kind; what they start from is written into a folder."""
    module, name = KINDS[kind]
    made: Case = getattr(importlib.import_module(f"benchmarks.fuzz.{module}"), name)(folder)
    return made


def run(config: Config) -> int:
    """Run the cases and write what came of them; the exit code is 1 when an outcome was unclear."""
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    rows: list[str] = []
    finds = 0
    numbers = range(config.first, config.first + config.cases)
    with (
        tempfile.TemporaryDirectory() as temporary,
        (out / "journal.jsonl").open("a", encoding="utf-8") as journal,
    ):
        for kind in config.kinds:
            folder = Path(temporary) / kind
            case = cases_of(kind, folder / "samples")
            for seed in config.seeds:
                counts: collections.Counter[str] = collections.Counter()
                times: list[float] = []
                place = folder / "case"
                if config.again:
                    results = (Result(n, run_case(case, kind, seed, n, place), 0.0) for n in numbers)
                else:
                    results = run_cases(
                        case, kind=kind, seed=seed, numbers=numbers, folder=place, limit_s=config.limit_s
                    )
                for result in results:
                    counts[result.outcome.status] += 1
                    times.append(result.took_s)
                    if config.again:
                        print(f"{result.number}: {result.outcome}", flush=True)
                    if result.outcome.status == "unclear":
                        found = {
                            "kind": kind,
                            "seed": seed,
                            "number": result.number,
                            "what": result.outcome.what,
                            "mutation": result.outcome.mutation,
                        }
                        journal.write(json.dumps(found) + "\n")
                        journal.flush()
                finds += counts["unclear"]
                middle = sorted(times)[len(times) // 2]
                cells = " | ".join(f"{counts[state]:,}" for state in STATES)
                rows.append(
                    f"| {kind} | {seed} | {len(times):,} | {cells} | {1e3 * middle:.0f} / {max(times):.1f} s |"
                )
                print(f"{time.strftime('%H:%M:%S')} {rows[-1]}", flush=True)
    head = "| kind | seed | cases | refused | unchanged | valid | **unclear** | ms a case, median / slowest |"
    text = "\n".join([head, "| --- | --- | --- | --- | --- | --- | --- | --- |", *rows])
    with atomic_path(out / "RESULTS.md") as path:
        path.write_text(text + "\n", encoding="utf-8")
    print(f"\n{text}\n\n{finds} unclear; {out / 'journal.jsonl'}")
    return 1 if finds else 0


COMMAND = Command(
    name="python -m benchmarks.fuzz",
    summary="Damage session files, mappings, settings and checkpoints; each must be refused clearly or be sound.",
    config=Config,
    run=run,
    examples=(
        "python -m benchmarks.fuzz",
        "python -m benchmarks.fuzz kinds=[session] seeds=[0,1,2] cases=5000",
        "python -m benchmarks.fuzz kinds=[session] seeds=[2] first=1234 cases=1 again=true",
    ),
)

if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(run_command(COMMAND))
