"""Results of several animals side by side."""

from pathlib import Path

import pytest

from benchmarks.fewshot import COMMAND, table
from neuroformer.cli.command import run_command
from neuroformer.files import write_json


def rows(*values: tuple[str, float, float]) -> list[dict[str, object]]:
    about = {"target": "position", "metric": "mean_error", "sessions": 2, "label_s": 1.0, "difference": None}
    return [
        about | {"method": method, "amount": amount, "mean": mean, "interval": [mean - 0.25, mean + 0.25]}
        for method, amount, mean in values
    ]


def results(*values: tuple[str, float, float]) -> dict[str, object]:
    return {"rows": rows(*values), "amounts": "minutes", "units": {"position": "cm"}}


def test_the_best_of_each_column_is_bold_and_what_is_missing_stays_empty() -> None:
    text = table(
        {"mouse": results(("pretrained", 1, 2.0), ("ridge", 1, 3.0), ("ridge", 2, 1.0))},
        "position",
        "mean_error",
    )
    assert text.splitlines()[2:4] == [
        "| pretrained, then fitted | **2.00** [1.75, 2.25] | – |",
        "| ridge | 3.00 [2.75, 3.25] | **1.00** [0.75, 1.25] |",
    ]


def test_table_and_figure_are_written_and_a_missing_folder_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b", "c"):
        write_json(tmp_path / name / "metrics.json", results(("pretrained", 1, 2.0), ("ridge", 1, 3.0)))
    folders = f"folders=[{tmp_path / 'a'}, {tmp_path / 'b'}, {tmp_path / 'c'}]"
    words = [folders, "target=position", "metrics=[mean_error]", f"out={tmp_path / 'out'}"]
    assert run_command(COMMAND, words) == 0
    assert (tmp_path / "out/table.md").read_text().count("left out") == 3
    assert (tmp_path / "out/curves.png").stat().st_size > 0
    assert run_command(COMMAND, [f"folders=[{tmp_path / 'nothing'}]", *words[1:]]) == 1
    assert "nothing: holds no metrics.json" in capsys.readouterr().err
