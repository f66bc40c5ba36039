import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import binary_matthews_corrcoef

from neuroformer.connectivity.measures import matthews, weighted_mean, weighted_median


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_medians_and_means_count_each_value_as_often_as_it_weighs(seed, n):
    rng = np.random.default_rng(seed)
    values, chosen = rng.integers(0, 5, n) / 2, rng.random(n) < 0.7
    weight = rng.integers(0, 4, size=(4, n)).astype(float)
    medians, means = (f(values, chosen, weight) for f in (weighted_median, weighted_mean))
    for row, median, mean in zip(weight.astype(int), medians, means, strict=True):
        repeated = np.repeat(values[chosen], row[chosen])
        if len(repeated):
            assert median == pytest.approx(np.median(repeated))
            assert mean == pytest.approx(np.mean(repeated))
        else:
            assert np.isnan(median)
            assert np.isnan(mean)


@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(0, 1))
def test_matthews_agrees_with_torchmetrics_and_numpy(seed, share_called, share_edges):
    rng = np.random.default_rng(seed)
    called, edge = rng.random(30) < share_called, rng.random(30) < share_edges
    (found,) = matthews(called, edge, np.ones((1, 30)))
    if 0 < called.sum() < 30 and 0 < edge.sum() < 30:
        assert found == pytest.approx(np.corrcoef(called, edge)[0, 1])
        prediction, target = (torch.from_numpy(x.astype(np.int64)) for x in (called, edge))
        assert found == pytest.approx(binary_matthews_corrcoef(prediction, target).item(), abs=1e-6)
    else:
        assert found == 0
