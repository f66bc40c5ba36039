import math

import pytest
import torch

from neuroformer.model.filters import banded, causal_filter, exponential_filters, log_basis, unit_filter


@pytest.mark.parametrize(("n_bins", "n_lags"), [(1, 1), (1, 4), (12, 1), (12, 5), (4, 9)])
@pytest.mark.parametrize("late", [False, True])
def test_causal_filter_is_the_sum_over_lags(n_bins: int, n_lags: int, late: bool) -> None:
    generator = torch.Generator().manual_seed(n_bins + n_lags)
    x = torch.randn(2, n_bins, 3, generator=generator, dtype=torch.float64)
    kernels = torch.randn(2, n_lags, generator=generator, dtype=torch.float64)
    first = n_bins - 1 if late else 0
    y = causal_filter(x, kernels, first)
    assert y.shape == (2, n_bins - first, 3, 2)
    for b in range(2):
        for t in range(first, n_bins):
            for c in range(3):
                for k in range(2):
                    expected = sum(
                        kernels[k, lag - 1] * x[b, t - lag, c] for lag in range(1, n_lags + 1) if t - lag >= 0
                    )
                    assert y[b, t - first, c, k] == pytest.approx(float(expected), abs=1e-12)


@pytest.mark.parametrize("first", [0, 3, 11, 12])
@pytest.mark.parametrize("n_lags", [1, 4, 30])
def test_unit_filter_holds_the_same_numbers_unit_by_unit(first: int, n_lags: int) -> None:
    generator = torch.Generator().manual_seed(n_lags)
    x = torch.randn(3, 2, 12, generator=generator, dtype=torch.float64)  # units, rows, bins
    kernels = torch.randn(4, n_lags, generator=generator, dtype=torch.float64)
    found = unit_filter(x, kernels, first)
    by_kernel = torch.stack([found.in_order(found.values[:, k]) for k in range(4)])
    expected = causal_filter(x.permute(1, 2, 0), kernels, first).permute(3, 2, 0, 1)
    torch.testing.assert_close(by_kernel, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("first", [0, 3, 11])
@pytest.mark.parametrize("n_lags", [1, 4, 30])
def test_banded_matrix_filters_as_the_convolution_does(first: int, n_lags: int) -> None:
    generator = torch.Generator().manual_seed(n_lags)
    x = torch.randn(2, 12, 3, generator=generator, dtype=torch.float64)
    kernels = torch.randn(2, n_lags, generator=generator, dtype=torch.float64)
    matrix = banded(kernels, 12, first)
    assert matrix.shape == (2, 12 - first, 12)
    found = torch.einsum("kts,bsc->btck", matrix, x)
    torch.testing.assert_close(found, causal_filter(x, kernels, first), rtol=0, atol=1e-12)


@pytest.mark.parametrize("first", [0, 3, 11])
@pytest.mark.parametrize("n_lags", [1, 4, 30])
def test_exponential_filter_is_the_sum_over_lags(first: int, n_lags: int) -> None:
    x = torch.randn(2, 12, 3, generator=torch.Generator().manual_seed(n_lags), dtype=torch.float64)
    y = exponential_filters(x, [2.5, 7.0], n_lags, first)
    assert y.shape == (2, 12 - first, 6)
    for k, tau in enumerate((2.5, 7.0)):
        for t in range(first, 12):
            lags = range(1, min(n_lags, t) + 1)
            terms = (math.exp(-lag / tau) / math.sqrt(tau) * x[:, t - lag] for lag in lags)
            expected = sum(terms, x[:, 0] * 0)
            torch.testing.assert_close(y[:, t - first, 3 * k : 3 * k + 3], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("n_lags", "n_functions"), [(1, 1), (1, 5), (7, 7), (20, 1), (20, 8), (100, 10), (13, 12)]
)
def test_basis_functions_sum_to_one_at_every_lag(n_lags: int, n_functions: int) -> None:
    basis = log_basis(n_lags, n_functions)
    assert basis.shape == (min(n_functions, n_lags), n_lags)
    assert (basis >= 0).all()
    torch.testing.assert_close(basis.sum(0), torch.ones(n_lags))
    peaks = basis.argmax(1)
    assert (peaks.diff() > 0).all()  # each function has a place of its own
    assert peaks[0] == 0


def test_basis_resolves_short_lags_bin_by_bin_and_widens() -> None:
    basis = log_basis(100, 12)
    torch.testing.assert_close(basis[:3, :3], torch.eye(3))
    widths = (basis > 0.05).sum(1)
    assert widths[0] == 1
    assert (widths.diff()[:-1] >= 0).all()  # the last function is cut off at the longest lag
    assert widths[-2] > 20
