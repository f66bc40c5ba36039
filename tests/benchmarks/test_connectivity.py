"""The benchmark of connectivity: its circuits, its sums, and one short run."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.connectivity.__main__ import COMMAND, ORDER
from benchmarks.connectivity.cells import CIRCUITS, DEFAULT, Cell
from benchmarks.connectivity.figure import draw
from benchmarks.connectivity.summary import best_of, called, score, strongest_glm
from benchmarks.connectivity.tables import START, STOP, render, write_into
from neuroformer.cli.command import parse_arguments, run_command
from neuroformer.errors import UserError
from neuroformer.files import read_json, write_json
from simulate.__main__ import COMMAND as SIMULATE

METHODS = ("adjusted_coupling", "adjusted_glm", "poisson_glm", "ridge_glm", "granger")


def cell(circuit: str, precision: dict[str, float], *, edges: bool = True) -> dict:
    """What `neuroformer connectivity` leaves, as far as the benchmark reads it."""
    scores = {
        name: {"average_precision": value, "auroc": value, "mcc": None, "chance": 0.1, "delay_error_s": 0.005}
        for name, value in precision.items()
    }
    return {
        "connectivity": scores if edges else {},
        "calls": {circuit: {name: {"called_share": 0.02} for name in precision}},
        "seconds": {circuit: dict.fromkeys(precision, 1.5)},
    }


@pytest.fixture
def results() -> dict:
    first = dict(zip(METHODS, (0.99, 0.98, 0.90, 0.94, 0.97), strict=True))
    second = dict(zip(METHODS, (0.97, 0.96, 0.95, 0.91, 0.97), strict=True)) | {"silencing": 0.999}
    return {
        "fast_drive": {1: cell("fast_drive", first), 2: cell("fast_drive", second)},
        "unconnected": {1: cell("unconnected", first, edges=False)},
    }


@pytest.mark.parametrize("path", sorted(CIRCUITS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_circuit_can_be_simulated_and_is_in_the_order(path: Path) -> None:
    assert parse_arguments(SIMULATE, ["--config", str(path), "out=somewhere"]) is not None
    assert path.stem in ORDER


def test_the_strongest_glm_is_chosen_on_every_seed(results: dict) -> None:
    np.testing.assert_array_equal(strongest_glm(results, "fast_drive"), [0.94, 0.95])


def test_the_best_rival_was_run_on_every_seed_and_is_not_ours(results: dict) -> None:
    name, values = best_of(results, "fast_drive", ("silencing", *METHODS[2:]))
    assert name == "granger"
    np.testing.assert_array_equal(values, [0.97, 0.97])
    assert best_of(results, "fast_drive", ("transfer_entropy",)) is None


def test_scores_that_are_not_there_are_nan(results: dict) -> None:
    np.testing.assert_array_equal(
        score(results, "fast_drive", "silencing", "average_precision"), [np.nan, 0.999]
    )
    assert np.isnan(score(results, "fast_drive", "granger", "mcc")).all()
    np.testing.assert_array_equal(called(results, "unconnected", "granger"), [0.02])


def test_the_tables_hold_the_ratio_to_the_strongest_glm(results: dict) -> None:
    text = render(results)
    # (.01 + .03) / (.06 + .05)
    assert "| fast_drive | .980 | Granger causality | .970 | +0.010 | .945 | 0.36 | .970 |" in text
    assert "| In-silico silencing | .999 (1) |" in text
    assert "| Granger causality | 2.00 | 2.00 |" in text


def test_the_figure_has_a_panel_for_each_circuit_with_edges(results: dict) -> None:
    titles = [axes.get_title(loc="left") for axes in draw(results).axes if axes.get_visible()]
    assert titles == ["fast drive"]


def test_tables_go_between_the_marks_and_nowhere_else(tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    path.write_text(f"before\n{START}\nold\n{STOP}\nafter\n")
    write_into(path, "new")
    assert path.read_text() == f"before\n{START}\n\nnew\n\n{STOP}\nafter\n"
    path.write_text("no marks\n")
    with pytest.raises(UserError, match="connectivity: start"):
        write_into(path, "new")
    assert path.read_text() == "no marks\n"


def test_a_cell_is_finished_by_the_same_settings_and_methods_only(tmp_path: Path) -> None:
    one = Cell(circuit="clean", seed=1, out=tmp_path, estimators=("granger",))
    assert not one.finished
    (one.folder / "connectivity").mkdir(parents=True)
    write_json(one.folder / "connectivity" / "metrics.json", {"calls": {"clean": {"granger": {}}}})
    assert not one.finished
    (one.folder / "key.txt").write_text(one.key)
    assert one.finished
    assert not Cell(circuit="clean", seed=1, out=tmp_path).finished
    short = Cell(
        circuit="clean", seed=1, out=tmp_path, estimators=("granger",), quick=(("duration_s=9",), ())
    )
    assert not short.finished
    assert set(METHODS) < set(DEFAULT)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["circuits=[klean]"], "circuits: unknown 'klean'"),
        (["estimators=[self_attention]"], "estimators: unknown 'self_attention'"),
        (["record=true", "quick=true"], "quick figures are not to be quoted"),
        (["seeds=[]"], "expected one seed"),
    ],
)
def test_wrong_settings_are_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(COMMAND, words) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_short_run_goes_through_and_is_not_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["circuits=[clean]", "seeds=[7]", "quick=true", f"out={tmp_path}", "workers=1",
             "estimators=[adjusted_coupling,poisson_glm,adjusted_glm,granger]"]  # fmt: skip
    assert run_command(COMMAND, words) == 0
    assert "**Average precision**" in (tmp_path / "RESULTS.md").read_text()
    assert (tmp_path / "connectivity.png").stat().st_size > 10_000
    found = read_json(tmp_path / "clean/seed_7/connectivity/metrics.json")
    assert set(found["connectivity"]) == {"adjusted_coupling", "poisson_glm", "adjusted_glm", "granger"}
    capsys.readouterr()
    assert run_command(COMMAND, words) == 0
    assert "1 cells, 1 of them finished before" in capsys.readouterr().out
