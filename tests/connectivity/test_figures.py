import dataclasses

import numpy as np
import pytest

from neuroformer.connectivity import ConnectivityMap, SessionConnectivity
from neuroformer.connectivity.figures import draw_matrices, draw_precision_recall, unit_order
from neuroformer.plotting import save_figure

WEIGHTS = np.array([[0, 1, 0, 0], [3, 0, 2, 0], [0, -4, 0, -1], [0, 0, 0.5, 0]], dtype=np.float32)


def example(*, n_maps: int = 2, truth: bool = True) -> SessionConnectivity:
    rng = np.random.default_rng(0)
    return SessionConnectivity(
        session_id="circuit",
        unit_ids=np.arange(4),
        maps=tuple(
            ConnectivityMap(name=f"method_{i}", matrix=rng.standard_normal((4, 4))) for i in range(n_maps)
        ),
        weights=WEIGHTS if truth else None,
    )


def test_units_are_ordered_by_type_then_strength_of_output():
    assert unit_order(WEIGHTS).tolist() == [1, 0, 3, 2]
    with_diagonal = WEIGHTS - 100 * np.eye(4)
    assert unit_order(with_diagonal).tolist() == [1, 0, 3, 2]


def test_every_panel_shows_the_same_order_around_zero():
    session = example()
    shown = [axes for axes in draw_matrices(session).axes if axes.images]
    order = [1, 0, 3, 2]
    for axes, matrix in zip(shown, [WEIGHTS, *(estimate.matrix for estimate in session.maps)], strict=True):
        (image,) = axes.images
        off = ~np.eye(4, dtype=bool)
        np.testing.assert_allclose(image.get_array()[off], matrix[np.ix_(order, order)][off])
        assert image.norm.vmin == -image.norm.vmax
        assert image.origin == "upper"  # rows are sources, the first at the top
    assert shown[0].get_title(loc="left") == "Truth"
    assert "average precision" in shown[1].get_title(loc="left")


@pytest.mark.parametrize(("n_maps", "truth"), [(1, False), (1, True), (6, True), (14, True)])
def test_any_number_of_panels_can_be_saved(tmp_path, n_maps, truth):
    session = example(n_maps=n_maps, truth=truth)
    file = save_figure(draw_matrices(session), tmp_path / "matrices.png", dpi=50)
    assert file.stat().st_size > 1000


def test_precision_recall_has_a_curve_per_estimate_and_chance():
    (axes,) = draw_precision_recall(example()).axes
    *curves, chance = axes.lines
    assert len(curves) == 2
    assert set(chance.get_ydata()) == {6 / 12}
    assert all(curve.get_xdata()[-1] == 1 for curve in curves)


def test_a_dot_marks_the_graph_of_each_method_with_a_null():
    session = example()
    p_values = np.ones((4, 4))
    p_values[0, 1] = p_values[0, 2] = 1e-9  # one true edge, one false
    np.fill_diagonal(p_values, np.nan)
    one, other = session.maps
    session = dataclasses.replace(session, maps=(dataclasses.replace(one, p_values=p_values), other))
    (axes,) = draw_precision_recall(session).axes
    (dot,) = [line for line in axes.lines if line.get_marker() == "o"]
    assert dot.get_xdata()[0] == pytest.approx(1 / 6)
    assert dot.get_ydata()[0] == pytest.approx(1 / 2)
