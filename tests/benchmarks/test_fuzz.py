"""A small share of `python -m benchmarks.fuzz`, and the finds of its long runs."""

from pathlib import Path

import pytest

from benchmarks.fuzz.__main__ import cases_of
from benchmarks.fuzz.outcomes import Outcome, refused
from benchmarks.fuzz.workers import run_case, run_cases


@pytest.mark.parametrize(
    ("kind", "n"), [("session", 25), ("mapping", 15), ("settings", 20), ("stranger", 15)]
)
def test_every_outcome_is_clear(kind: str, n: int, tmp_path: Path) -> None:
    case = cases_of(kind, tmp_path / "samples")
    for number in range(n):
        found = run_case(case, kind, 0, number, tmp_path / "case")
        assert found.status != "unclear", f"{kind}, seed 0, case {number}: {found}"


def test_a_crash_and_an_exception_end_a_case_and_not_the_run(tmp_path: Path) -> None:
    import os
    import signal
    import time

    def case(rng: object, folder: Path) -> Outcome:
        number = len(list(tmp_path.glob("done*")))
        (tmp_path / f"done{number}").touch()
        if number == 0:
            os.kill(os.getpid(), signal.SIGSEGV)
        if number == 1:
            raise KeyError("a")
        if number in (2, 3):
            time.sleep(60)
        return Outcome("refused", "in clear words")

    found = list(run_cases(case, kind="x", seed=0, numbers=range(4), folder=tmp_path / "case", limit_s=0.5))
    words = [result.outcome.what for result in found]
    assert [result.number for result in found] == [0, 1, 2, 3]
    assert words[0] == "crash: SIGSEGV"
    assert words[1].startswith("exception KeyError")
    assert words[2].startswith("hang")
    assert words[3] == "in clear words"


@pytest.mark.parametrize(
    "message",
    ["", "error: a.h5: 'NoneType' object has no attribute 'x'", "error: a.h5: Unable to allocate 3 TiB"],
)
def test_words_for_programmers_are_no_refusal(message: str) -> None:
    assert refused(message).status == "unclear"
    assert refused("error: b.h5: cut short", ["a.h5"]).status == "unclear"
    assert refused("error: a.h5: cut short; copy it again", ["a.h5"]).status == "refused"
