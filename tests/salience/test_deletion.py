"""Deletion curves, their areas, and agreement, against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from neuroformer.salience.agreement import mean_agreement, order, overlap, rank_correlation
from neuroformer.salience.deletion import area, by_block, curve, spread_counts


def test_curves_keep_and_delete_the_first_units(rng: np.random.Generator) -> None:
    x, w = rng.normal(size=(20, 5)), np.array([3.0, 0.0, 2.0, 1.0, 0.5])
    y = x @ w

    def errors(kept: np.ndarray) -> np.ndarray:
        return (((x * kept) @ w - y) ** 2)[:, None]

    units = order(np.abs(w))
    assert units.tolist() == [0, 2, 3, 4, 1]
    deleted = curve(errors, units, [1, 2], insert=False)
    np.testing.assert_allclose(deleted[1, :, 0], (x[:, 0] * 3 + x[:, 2] * 2) ** 2)
    inserted = curve(errors, units, [4], insert=True)
    np.testing.assert_allclose(inserted, 0, atol=1e-20)


def test_sums_by_block_leave_out_what_is_unknown() -> None:
    found = by_block(np.array([[1.0, 2.0, np.nan, 4.0]]), np.array([0, 0, 1, 1]))
    assert found.tolist() == [[[3.0, 2.0], [4.0, 1.0]]]


def test_area_is_the_mean_height_over_the_logarithm() -> None:
    assert area([1, 10, 100], np.array([0.0, 1.0, 2.0])) == pytest.approx(1.0)
    assert area([3], np.array([5.0])) == 5.0
    assert spread_counts([50, 1, 5, 5, 200], 100) == [1, 5, 50]


def test_agreement(rng: np.random.Generator) -> None:
    a = rng.random(100)
    assert overlap(a, a + 3, 10) == 1
    assert overlap(a, -a, 10) == 0
    assert rank_correlation(a, -a) == pytest.approx(-1)
    assert np.isnan(rank_correlation(a, np.ones(100)))
    assert mean_agreement([a], 10) is None
    found = mean_agreement([a, a, rng.random(100)], 10)
    assert found is not None
    assert found["pairs"] == 3
    assert found["chance"] == 0.1
    assert found["overlap"] < 0.7
