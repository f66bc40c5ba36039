"""The learning curve of a new animal in the report."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from neuroformer.errors import UserError
from neuroformer.report import comparison, write_report
from neuroformer.report.blocks import Cards, Drawing, Missing, Paragraph, Table
from neuroformer.report.collect import Run, find_runs
from neuroformer.report.overview import draw_overview
from neuroformer.report.sections import headline
from neuroformer.report.sections.behavior import SECTION

FakeRun = Callable[..., Path]


@pytest.fixture
def run(fake_run: FakeRun, fake_fewshot: FakeRun, tmp_path: Path) -> Run:
    """A run of a few units with a learning curve in it."""
    folder = fake_run(tmp_path / "herd", n_units=8)
    fake_fewshot(folder / "fewshot")
    return Run(folder, "herd")


def test_a_sentence_a_figure_and_tables_for_each_variable(run: Run) -> None:
    blocks = list(SECTION.blocks(run))
    first, second = [block.text for block in blocks if isinstance(block, Paragraph)]
    assert first.startswith(
        "Place, mean error: the pretrained model beats the best other method from 2 % of the labels to 5 % of the "
        "labels (4 against 9 cm of"
    )
    assert "from scratch" in first
    assert first.endswith("loses to the best other method at 25 % of the labels (3 against 2 cm of ridge).")
    assert second.startswith("Side, accuracy: the pretrained model beats")
    (drawing,) = [block for block in blocks if isinstance(block, Drawing)]
    assert [axes.get_ylabel() for axes in drawing.figure.axes] == ["mean error (cm)", "accuracy"]
    assert [text.get_text() for text in drawing.figure.axes[0].get_xticklabels()] == ["2", "5", "25"]
    place, r2, side = [block for block in blocks if isinstance(block, Table)]
    assert place.columns == (
        "place: mean error (cm)",
        "2 % of the labels, 2.0 s",
        "5 % of the labels, 5.0 s",
        "25 % of the labels, 25 s",
    )
    assert place.rows[0] == (
        "pretrained, then fitted",
        "4.00 (3.60 to 4.40)",
        "3.50 (3.15 to 3.85)",
        "3.00 (2.70 to 3.30)",
    )
    assert place.emphasis == 0
    assert (place.summary, r2.summary, side.summary) == ("", "place: r2", "")
    assert "blocks of its test time" in place.caption


def test_a_run_without_behaviour_says_nothing_and_one_with_it_how_to_decode(
    fake_run: FakeRun, tmp_path: Path
) -> None:
    run = Run(fake_run(tmp_path / "run", n_units=4), "run")
    assert list(SECTION.blocks(run)) == []
    (run.path / "config.yaml").write_text("data:\n  variables:\n    place: {role: both, grid: 20}\n")
    (missing,) = SECTION.blocks(run)
    assert isinstance(missing, Missing)
    assert missing.command.startswith(f"neuroformer fewshot run={run.path} ")


def test_a_curve_with_a_folder_of_its_own(fake_fewshot: FakeRun, tmp_path: Path) -> None:
    folder = fake_fewshot(tmp_path / "fewshot", sessions=3)
    assert [run.path for run in find_runs(folder)] == [folder]
    page = write_report(folder).read_text("utf-8")
    assert "Mean of 3 sessions" in page
    assert "neuroformer evaluate" not in page


def test_runs_side_by_side(run: Run, fake_fewshot: FakeRun) -> None:
    fake_fewshot(run.path.parent / "mice")
    (likelihoods, _, behavior) = comparison.blocks(find_runs(run.path.parent))
    assert isinstance(likelihoods, Table)
    assert [row[0] for row in likelihoods.rows] == ["herd"]
    assert isinstance(behavior, Table)
    assert behavior.rows[0] == (
        "herd",
        "place: mean error (cm)",
        "2 % of the labels",
        "4.00 (3.60 to 4.40)",
        "from scratch: 9.00 (8.10 to 9.90)",
    )
    assert [row[0] for row in behavior.rows] == ["herd", "herd", "mice", "mice"]


def test_what_nobody_asked_of_a_run_for_behaviour_is_not_missed(run: Run) -> None:
    shutil.rmtree(run.path / "connectivity")
    shutil.rmtree(run.path / "evaluate")
    page = write_report(run.path).read_text("utf-8")
    assert "neuroformer connectivity" not in page
    assert "neuroformer evaluate run=" not in page
    (cards,) = [block for block in headline.SECTION.blocks(run) if isinstance(block, Cards)]
    assert [(card.value, card.detail) for card in cards.cards] == [
        ("4 cm", "2 % of the labels; best other: from scratch 9 cm"),
        ("0.8", "2 % of the labels; best other: from scratch 0.55"),
    ]


def test_a_curve_in_a_run_is_shown_with_the_run_and_another_beside_it(
    run: Run, fake_fewshot: FakeRun
) -> None:
    assert [found.name for found in find_runs(run.path)] == ["herd"]
    fake_fewshot(run.path / "other_mouse")
    assert [found.name for found in find_runs(run.path)] == ["herd", "other_mouse"]


def test_the_overview_has_the_curves_in_place_of_the_wiring(run: Run) -> None:
    figure = draw_overview([run])
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.axison]
    assert titles == ["herd: held-out prediction", "new animal: place", "new animal: side"]


def test_a_broken_curve_is_named(run: Run) -> None:
    path = run.path / "fewshot" / "metrics.json"
    content = json.loads(path.read_text())
    del content["rows"][0]["mean"]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"fewshot/metrics\.json: is not what `neuroformer fewshot` writes"):
        list(SECTION.blocks(run))
    path.write_text(json.dumps({"command": "neuroformer fewshot"}))
    with pytest.raises(UserError, match="run it again"):
        run.fewshot()


def test_method_without_rivals(fake_fewshot: FakeRun, tmp_path: Path) -> None:
    folder = fake_fewshot(tmp_path / "alone", errors={"pretrained": [3, 2, 1]})
    texts = [block.text for block in SECTION.blocks(Run(folder, "alone")) if isinstance(block, Paragraph)]
    assert texts[0] == "Place, mean error: nothing stands beside the pretrained model."
