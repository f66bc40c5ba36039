"""Single events and pairs add up to what the filtered events of every bin give."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from neuroformer.model.filters import log_basis
from neuroformer.model.impulses import Impulses, products_of, span_of

N_SERIES, N_BINS = 3, 20


@pytest.mark.parametrize(("n_lags", "n_functions"), [(9, 4), (5, 5), (1, 1), (12, 2)])
@pytest.mark.parametrize("weighted", [False, True])
@given(events=st.lists(st.tuples(st.integers(0, N_SERIES - 1), st.integers(0, N_BINS - 1)), max_size=25))
def test_they_add_up(n_lags: int, n_functions: int, weighted: bool, events: list[tuple[int, int]]) -> None:
    generator = torch.Generator().manual_seed(len(events))
    basis = log_basis(n_lags, n_functions).double()
    span = span_of(basis)
    products = products_of(basis, span)
    mean, variance = torch.randn(2, 2, len(basis), generator=generator, dtype=torch.float64)
    weight = torch.rand(len(events), generator=generator, dtype=torch.float64) + 0.5
    series, time = torch.tensor(events, dtype=torch.long).view(-1, 2).unbind(1)
    unit = torch.tensor([0, 1, 1])

    impulses = Impulses.of(series, time, weight if weighted else None, n_distances=span)
    kernels = impulses.kernels(mean, variance, basis, products)
    found = impulses.add(kernels, unit, n_series=N_SERIES, n_bins=N_BINS)

    traces = torch.zeros(N_SERIES, len(basis), N_BINS, dtype=torch.float64)
    for k, (s, t) in enumerate(events):
        for lag in range(1, min(n_lags, N_BINS - 1 - t) + 1):
            traces[s, :, t + lag] += basis[:, lag - 1] * (float(weight[k]) if weighted else 1.0)
    expected = (mean[unit].unsqueeze(2) * traces + 0.5 * variance[unit].unsqueeze(2) * traces.square()).sum(1)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("n_lags", "n_functions"), [(20, 8), (4, 4), (9, 3)])
def test_span_reaches_as_far_as_a_function(n_lags: int, n_functions: int) -> None:
    basis = log_basis(n_lags, n_functions)
    full = products_of(basis, n_lags)
    last = max(d for d in range(n_lags) if full[:, d].any())
    assert span_of(basis) == last + 1
