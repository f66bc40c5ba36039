"""What the figures are drawn from."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from neuroformer.report.collect import Raster
from neuroformer.report.sections.learning import running_median
from neuroformer.report.sections.raster import first_stretch, moving_average
from neuroformer.report.sections.wiring import precision_recall, unit_order


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=30))
def test_precision_and_recall_by_definition(pairs: list[tuple[int, bool]]) -> None:
    score = np.array([float(value) for value, _ in pairs])
    edge = np.array([is_edge for _, is_edge in pairs])
    edge[0] = True
    precision, recall = precision_recall(score, edge)
    thresholds = sorted(set(score.tolist()), reverse=True)
    np.testing.assert_allclose(precision, [edge[score >= threshold].mean() for threshold in thresholds])
    np.testing.assert_allclose(
        recall, [edge[score >= threshold].sum() / edge.sum() for threshold in thresholds]
    )


def test_units_are_sorted_by_type_and_then_by_strength() -> None:
    couplings = np.zeros((5, 5))
    couplings[0, 1] = -3
    couplings[1, 2] = 1
    couplings[2, [3, 4]] = 1
    couplings[3, 0] = -4
    np.fill_diagonal(couplings, -99)
    assert list(unit_order(couplings)) == [2, 1, 4, 3, 0]


def test_the_best_connected_of_many_units_come_first() -> None:
    couplings = np.zeros((400, 400))
    couplings[250:300, 350:] = 1
    assert set(unit_order(couplings)[:150]) > set(range(250, 300)) | set(range(350, 400))


def test_the_stretch_shown_is_the_first_one_and_long_enough() -> None:
    rng = np.random.default_rng(0)
    counts = rng.poisson([[0.2, 2.0, 0.7]], size=(5000, 3))
    raster = Raster(
        time=60 + 0.1 * np.arange(5000), counts=counts, intensity=counts + 0.5, bin_s=0.1, session_id="s"
    )
    shown = first_stretch(raster)
    n = len(shown.time)
    assert shown.time[0] == 60
    assert shown.counts[:-1].sum() < 1500 <= shown.counts.sum()
    np.testing.assert_array_equal(shown.counts, counts[:n, [1, 2, 0]])
    np.testing.assert_array_equal(shown.intensity, shown.counts + 0.5)


@given(st.integers(1, 40), st.integers(1, 60))
def test_smoothing_keeps_length_and_constants(length: int, width: int) -> None:
    np.testing.assert_allclose(moving_average(np.full(length, 3.0), width), 3.0)
    np.testing.assert_allclose(running_median(np.full(length, 3.0)), 3.0)


def test_median_follows_the_trend_and_not_an_outlier() -> None:
    values = np.linspace(0, 1, 200)
    noisy = values.copy()
    noisy[100] = 50
    np.testing.assert_allclose(running_median(noisy), values, atol=0.03)
