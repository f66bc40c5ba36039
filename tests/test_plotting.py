"""The shared look of figures."""

import re
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from neuroformer import plotting


def draw() -> Figure:
    figure = plotting.new_figure(width=3, height=2)
    with plotting.style():
        axes = figure.subplots()
        plotting.draw_couplings(axes, np.arange(9.0).reshape(3, 3) - 4)
    return figure


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_saves_by_suffix_and_leaves_nothing_else(tmp_path: Path, suffix: str, magic: bytes) -> None:
    path = plotting.save_figure(draw(), tmp_path / "figures" / f"matrices.{suffix}")
    assert path.read_bytes().startswith(magic)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_style_is_gone_after_the_block() -> None:
    before = dict(matplotlib.rcParams)
    with plotting.style():
        assert matplotlib.rcParams["svg.fonttype"] == "none"
    assert dict(matplotlib.rcParams) == before


def test_two_figures_in_a_page_share_no_id() -> None:
    ids = [set(re.findall(r'\bid="([^"]+)"', plotting.figure_svg(draw(), name=name))) for name in ("a", "b")]
    assert ids[0]
    assert ids[0].isdisjoint(ids[1])


def test_text_in_a_figure_is_never_markup() -> None:
    figure = plotting.new_figure(width=3, height=2)
    figure.text(0.5, 0.5, "<script>&")
    svg = plotting.figure_svg(figure, name="a")
    assert "<script>" not in svg
    assert "&lt;script&gt;&amp;" in svg


def test_svg_is_reproducible() -> None:
    assert plotting.figure_svg(draw(), name="a") == plotting.figure_svg(draw(), name="a")


@pytest.mark.parametrize(
    ("matrix", "limit"),
    [
        (np.zeros((4, 4)), 1.0),
        (np.diag([9.0, 9.0, 9.0]), 1.0),
        (np.array([[5.0, np.nan], [-2.0, 5.0]]), 2.0),
        (np.full((1, 1), 3.0), 1.0),
    ],
)
def test_colour_limit_ignores_the_diagonal(matrix: np.ndarray, limit: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plotting.off_diagonal_limit(matrix) == pytest.approx(limit)


def test_colour_limit_of_a_very_sparse_matrix_is_not_zero() -> None:
    matrix = np.zeros((50, 50))
    matrix[3, 4] = -0.7
    assert plotting.off_diagonal_limit(matrix) == pytest.approx(0.7)


def test_known_methods_have_colours_of_their_own_and_no_spare_one() -> None:
    names = ("coupling", "stimulation", "silencing", "attention_gradient", "attention_rollout", "self_attention",
             "poisson_glm", "group_lasso_glm", "ridge_glm", "cross_correlation", "jittered_ccg", "directed_sttc",
             "partial_correlation", "transfer_entropy", "granger")  # fmt: skip
    assert len({plotting.method_color(name) for name in names}) == len(names)
    spare = {plotting.method_color(f"method {i}") for i in range(99)}
    assert spare.isdisjoint({plotting.method_color(name) for name in names})
    assert len({plotting.method_label(name) for name in names}) == len(names)
    assert plotting.method_line("coupling") == {
        "color": plotting.method_color("coupling"),
        "linestyle": "solid",
    }
    assert plotting.method_line("ridge_glm")["linestyle"] != "solid"


def test_unknown_methods_keep_their_colour() -> None:
    assert plotting.method_color("granger") == plotting.method_color("granger")
    assert plotting.method_label("dSTTC") == "dSTTC"
