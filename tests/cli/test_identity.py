"""`neuroformer identity`: its table, and its faults in one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from neuroformer.cli.command import run_command
from neuroformer.cli.identity import COMMAND
from neuroformer.files import read_json
from neuroformer.session import Session, write_session


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, circuit: Callable[..., Path], train: Callable[..., Any]
) -> Path:
    """A run of a few steps on two simulated animals, its session files beside it; not to be written into."""
    folder = tmp_path_factory.mktemp("animals")
    for name, path in (("a", circuit()), ("b", circuit("b", seed=1))):
        session = Session(path).load()
        session.subject_id = name
        write_session(folder / f"{name}.h5", session)
    train(folder / "run", folder / "*.h5", "optim.steps=2", "val_every=1")
    return folder / "run"


def test_the_table_names_every_set(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"run={run}", "label=cell_type", f"out={tmp_path}", "permutations=99", "bootstrap=100"]
    assert run_command(COMMAND, words) == 0
    printed = capsys.readouterr().out
    metrics = read_json(tmp_path / "metrics.json")
    for result in metrics["results"]:
        lines = [x for x in printed.splitlines() if x.split()[:1] == [result["features"]]]
        assert any(f"{result['scores']['macro_f1']:.3f}" in x for x in lines)
    assert metrics["sentence"] in printed
    assert f"embeddings, table and figure: {tmp_path}" in printed


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["run=RUN"], 2, "missing label=VALUE"),
        (["run=nowhere", "label=cell_type"], 1, "nowhere: not the folder of a pretrain run"),
        (["run=RUN", "label=region"], 1, "text column units/region; these sessions have cell_type"),
        (
            ["run=RUN", "label=cell_type", "data=[FIRST]"],
            1,
            "1 animal(s) with labels (a); expected 2 or more",
        ),
        (["run=RUN", "label=cell_type", "exclude=['I']"], 1, "1 of 1 labels occur in 2 or more animals"),
        (["run=RUN", "label=cell_type", "min_confidence=3"], 1, "no labelled unit has a value"),
        (["run=RUN", "label=cell_type", "embedding=[factors]"], 1, "has none of factors; it has bias, drive"),
        (["run=RUN", "label=cell_type", "embedding=[]"], 2, "embedding: empty"),
        (["run=RUN", "label=cell_type", "features=[rate]"], 2, "features: unknown 'rate'"),
        (["run=RUN", "label=cell_type", "probes=[svm]"], 2, "probes: unknown 'svm'"),
        (["run=RUN", "label=cell_type", "behavior=[licks]"], 1, "no behavior/licks in this session"),
        (["run=RUN", "label=cell_type", "normalize=log"], 2, "normalize=log: expected rank"),
        (["run=RUN", "label=cell_type", "merge=["], 2, "not a regular expression"),
        (["run=RUN", "label=cell_type", "min_animals=1"], 2, "min_animals=1: expected 2 or more"),
        (["run=RUN", "label=cell_type", "permutations=10"], 2, "permutations=10: expected 99 or more"),
    ],
)
def test_a_fault_is_told_in_one_line(
    words: list[str],
    code: int,
    message: str,
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, path in {"RUN": run, "FIRST": run.parent / "a.h5"}.items():
        words = [word.replace(name, str(path)) for word in words]
    assert run_command(COMMAND, [*words, f"out={tmp_path / 'out'}"]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out" / "metrics.json").exists()
