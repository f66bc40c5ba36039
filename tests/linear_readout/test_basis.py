"""Activity around a bin as a few numbers."""

from __future__ import annotations

import numpy as np
import pytest

from neuroformer.linear_readout import raised_cosines


@pytest.mark.parametrize(("before_s", "after_s"), [(0.4, 0.4), (0.5, 0.0), (0.0, 0.3)])
def test_features_are_weighted_sums_of_the_window(
    before_s: float, after_s: float, rng: np.random.Generator
) -> None:
    basis = raised_cosines(before_s=before_s, after_s=after_s, functions=3, bin_s=0.1)
    assert basis.weights.sum(1) == pytest.approx(np.ones(3))
    x = rng.normal(size=(12, 2))
    expected = np.zeros((12, 2, 3))
    for t in range(12):
        for j, lag in enumerate(range(basis.first, basis.first + basis.weights.shape[1])):
            if 0 <= t + lag < 12:
                expected[t] += x[t + lag][:, None] * basis.weights[:, j]
    assert basis(x) == pytest.approx(expected)


def test_a_causal_basis_does_not_see_what_follows(rng: np.random.Generator) -> None:
    basis = raised_cosines(before_s=0.5, after_s=0.0, functions=4, bin_s=0.1)
    x = rng.normal(size=(20, 3))
    other = x.copy()
    other[11:] = 99
    assert basis.is_causal
    assert np.array_equal(basis(x)[:11], basis(other)[:11])
    assert not raised_cosines(before_s=0.5, after_s=0.1, functions=4, bin_s=0.1).is_causal


def test_missing_bins_count_as_the_mean() -> None:
    basis = raised_cosines(before_s=0.1, after_s=0.1, functions=2, bin_s=0.1)
    x = np.ones((5, 1))
    zero, missing = x.copy(), x.copy()
    zero[2], missing[2] = 0, np.nan
    assert np.array_equal(basis(zero), basis(missing))


def test_a_window_of_one_bin_is_that_bin() -> None:
    basis = raised_cosines(before_s=0.0, after_s=0.0, functions=5, bin_s=0.1)
    x = np.arange(4.0)[:, None]
    assert np.array_equal(basis(x)[:, :, 0], x)
