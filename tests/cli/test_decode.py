"""`neuroformer decode`: its table, and its faults in one line."""

from pathlib import Path

import pytest

from neuroformer.cli.command import run_command
from neuroformer.cli.decode import COMMAND, render


def test_the_table_shows_scores_with_intervals_and_whether_ours_wins() -> None:
    def score(value: float) -> dict[str, object]:
        return {"value": value, "interval": (value - 1, value + 1)}

    metrics = {
        "part": "test",
        "when": "speed > 2",
        "variables": {"place": {"kind": "continuous", "unit": "cm", "period": None, "labels": []}},
        "results": [
            {"session": s, "variable": "place", "level": "bin", "method": m, "n": 1234,
             "scores": {"r2": {"value": float("nan"), "interval": None}, "mean_error": score(e)}}
            for s, shift in (("a", 1.0), ("all", 0.0))
            for m, e in (("inversion", 4 + shift), ("ridge", 9 + shift))
        ],
        "comparisons": [{"session": "a"}, {"session": "all"}, {"session": "all"}],
        "sentences": ["of a alone", None, "of all"],
        "leak_sentences": ["WARNING, leak check, place: …"],
        "notes": ["b: has none of place"],
    }  # fmt: skip
    lines = render(metrics).splitlines()
    assert lines[0] == (
        "place, errors in cm: 1,234 bins of the test part where speed > 2, all sessions (95 % interval)"
    )
    assert lines[1].split() == ["R²", "mean", "error"]
    assert lines[2].split(maxsplit=2) == ["Inversion", "–", "4 [3, 5]"]
    assert lines[4:] == ["of all", "WARNING, leak check, place: …", "note: b: has none of place"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "missing run=VALUE"),
        (["run=nowhere"], 1, "nowhere: not the folder of a pretrain run"),
        (["run=RUN"], 1, "decodes nothing; pretrain with data.variables.NAME.role=both or target"),
        (["run=RUN", "methods=[magic]"], 2, "methods: unknown 'magic'; expected any of readout, inversion"),
        (["run=RUN", "baselines=[ridge,ridge]"], 2, "expected each once"),
        (["run=RUN", "when=fast"], 2, "when='fast': expected a condition such as"),
        (["run=RUN", "block_s=0"], 2, "block_s=0: expected seconds above 0"),
        (["run=RUN", "draws=5"], 2, "draws=5: expected 100 or more"),
        (["run=RUN", "part=train"], 2, "part: found 'train', expected test or val"),
    ],
)
def test_a_fault_is_told_in_one_line(
    words: list[str],
    code: int,
    message: str,
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [word.replace("RUN", str(trained)) for word in words]
    assert run_command(COMMAND, [*words, f"out={tmp_path / 'out'}"]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out" / "metrics.json").exists()
