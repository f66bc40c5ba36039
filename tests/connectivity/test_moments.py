import dataclasses

import numpy as np
import pytest
import torch

from neuroformer.connectivity.moments import LogLinearCoupling, in_basis, pair_moments
from neuroformer.model.filters import log_basis

N, BINS, PIECE, ROWS, HISTORY = 3, 47, 7, 2, 6  # the last piece is shorter, the last batch has one row
KERNELS = np.array([[1.0, 0.5, 0.25, 0.1], [0.2, 0.6, 0.9, 0.4]])
WINDOWS = ((0, 0), (1, 2), (3, 9))


@pytest.fixture
def small(rng, tiles):
    """Counts (T, N), intensities (T, N) that vary, the batches, and the coupling that gives these intensities."""
    counts = rng.poisson(0.6, (BINS, N))
    intensity = np.exp(rng.normal(-0.7, 0.5, (BINS, N)))
    batches = tiles(counts, history=HISTORY, piece=PIECE, rows=ROWS)
    given = {}
    for k, batch in enumerate(batches):
        rows = torch.full((len(batch.scored), batch.n_bins - HISTORY, N), 9.0, dtype=torch.float64)  # padding
        for row in range(len(rows)):
            part = np.log(intensity[(k * ROWS + row) * PIECE :][:PIECE])
            rows[row, : len(part)] = torch.from_numpy(part)
        given[id(batch)] = rows
    fitted = LogLinearCoupling(
        log_intensity=lambda batch: given[id(batch)],
        kernels=torch.from_numpy(KERNELS),
        weights=rng.normal(0, 0.3, (2, N, N)),
        rate=torch.from_numpy(counts.mean(0)),
        bin_s=0.005,
        event_weight=lambda batch: torch.ones(batch.event_bin.shape, dtype=torch.float64),
    )
    return counts, intensity, batches, fitted


DIRECTIONS = (np.array([1.0, 0.0]), np.array([0.7, -1.3]), np.array([-0.4, 2.0]))


def filtered(counts):
    """(H, T, N) events after each kernel, bin by bin."""
    traces = np.zeros((len(KERNELS), *counts.shape))
    for t in range(len(counts)):
        for lag in range(1, min(t, KERNELS.shape[1]) + 1):
            traces[:, t] += KERNELS[:, lag - 1, None] * counts[t - lag]
    return traces


def test_the_sums_are_those_of_a_loop_over_all_bins(small):
    counts, intensity, batches, fitted = small
    real = pair_moments(fitted, batches, windows=()).real
    traces = filtered(counts)
    for i in range(N):
        for j in range(N):
            rate, residual = intensity[:, j], counts[:, j] - intensity[:, j]
            centred = traces[:, :, i] - (traces[:, :, i] @ rate / rate.sum())[:, None]
            np.testing.assert_allclose(real.score[:, i, j], centred @ residual, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(
                real.information[:, :, i, j], np.einsum("t,at,bt->ab", rate, centred, centred), rtol=1e-9
            )
            for direction in DIRECTIONS:
                third = rate @ (direction @ centred) ** 3
                found = real.third_along(np.broadcast_to(direction[:, None, None], (2, N, N)))[i, j]
                assert found == pytest.approx(third, rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(real.expected, intensity.sum(0))


def test_the_same_bin_is_the_product_of_residuals_and_leaves_the_lags_alone(small):
    counts, intensity, batches, fitted = small
    plain = pair_moments(fitted, batches, windows=(), surrogates=3)
    both = pair_moments(fitted, batches, windows=(), surrogates=3, same_bin=True)
    residual, traces = counts - intensity, filtered(counts)
    for i in range(N):
        for j in range(N):
            rate = intensity[:, j]
            x = np.stack([residual[:, i], *traces[:, :, i]])
            centred = x - (x @ rate / rate.sum())[:, None]
            np.testing.assert_allclose(
                both.real.score[:, i, j], centred @ residual[:, j], rtol=1e-9, atol=1e-9
            )
            np.testing.assert_allclose(
                both.real.information[:, :, i, j], np.einsum("t,at,bt->ab", rate, centred, centred), rtol=1e-9
            )
    direction = np.random.default_rng(1).normal(size=(2, N, N))
    for one, other in zip([both.real, *both.surrogates], [plain.real, *plain.surrogates], strict=True):
        rest = one.lagged(True)
        np.testing.assert_array_equal(rest.score, other.score)
        np.testing.assert_array_equal(rest.information, other.information)
        np.testing.assert_allclose(rest.third_along(direction), other.third_along(direction), rtol=1e-12)
        assert other.lagged(False) is other


def test_a_surrogate_of_the_same_bin_pairs_residuals_of_other_rows(small):
    counts, intensity, batches, fitted = small
    (found,) = pair_moments(fitted, batches, windows=(), surrogates=1, same_bin=True).surrogates
    residual = counts - intensity
    pieces = [residual[k : k + PIECE] for k in range(0, BINS, PIECE)]
    shift = round(len(pieces) / 2)
    expected = np.zeros((N, N))
    for first in range(0, len(pieces), ROWS):  # a batch is as long as the shortest of its rows' sources
        targets = pieces[first : first + ROWS]
        sources = [pieces[(first + row + shift) % len(pieces)] for row in range(len(targets))]
        t = min(*map(len, sources), max(map(len, targets)))
        expected += sum(source[:t].T @ target[:t] for source, target in zip(sources, targets, strict=True))
    np.testing.assert_allclose(found._slope[0], expected, rtol=1e-9, atol=1e-9)


def test_they_are_slope_and_curvature_of_the_likelihood_with_the_constant_profiled_out(small):
    counts, intensity, batches, fitted = small
    real = pair_moments(fitted, batches, windows=()).real
    traces, base = torch.from_numpy(filtered(counts)), torch.from_numpy(np.log(intensity))
    i, j = 2, 1

    def log_likelihood(x):  # two weights and the constant
        eta = base[:, j] + x[:2] @ traces[:, :, i] + x[2]
        return (torch.from_numpy(counts[:, j]) * eta - eta.exp()).sum()

    at = torch.zeros(3, dtype=torch.float64)
    slope = torch.autograd.functional.jacobian(log_likelihood, at).numpy()
    curvature = -torch.autograd.functional.hessian(log_likelihood, at).numpy()
    of_constant = curvature[:2, 2] / curvature[2, 2]
    np.testing.assert_allclose(real.score[:, i, j], slope[:2] - of_constant * slope[2])
    np.testing.assert_allclose(
        real.information[:, :, i, j], curvature[:2, :2] - np.outer(of_constant, curvature[2, :2])
    )

    # The same by finding the constant that is best for given weights.
    def profiled(x):
        eta = base[:, j] + x @ traces[:, :, i]
        constant = np.log(counts[:, j].sum()) - torch.logsumexp(eta, 0)
        eta = eta + constant
        return (torch.from_numpy(counts[:, j]) * eta - eta.exp()).sum()

    profile = torch.autograd.functional.hessian(profiled, at[:2]).numpy()
    ratio = counts[:, j].sum() / intensity[:, j].sum()
    np.testing.assert_allclose(real.information[:, :, i, j] * ratio, -profile)


def test_controls_are_those_of_a_loop_and_end_with_their_row(small):
    counts, intensity, batches, fitted = small
    controls = pair_moments(fitted, batches, windows=WINDOWS).controls
    residual, excess = counts - intensity, counts - counts.mean(0)
    expected = np.zeros((len(WINDOWS), N, N))
    for c, (first, last) in enumerate(WINDOWS):
        for t in range(BINS):
            end = min(BINS, (t // PIECE + 1) * PIECE)
            for later in range(t + first, min(t + last + 1, end)):
                expected[c] += np.outer(excess[later], residual[t])
    np.testing.assert_allclose(controls, expected, rtol=1e-9, atol=1e-9)


def test_how_the_recording_is_cut_does_not_matter_to_the_sums(small, tiles):
    counts, _, _, fitted = small
    steady = dataclasses.replace(
        fitted,
        log_intensity=lambda batch: torch.full(
            (len(batch.scored), batch.n_bins - batch.first_scored, N), -0.5, dtype=torch.float64
        ),
    )
    one, other = (
        pair_moments(steady, tiles(counts, history=HISTORY, piece=piece, rows=rows), windows=((0, 0),))
        for piece, rows in ((PIECE, ROWS), (BINS, 1))
    )
    np.testing.assert_allclose(one.real.score, other.real.score, rtol=1e-9, atol=1e-9)
    direction = np.array([0.7, -1.3])[:, None, None] * np.ones((2, N, N))
    np.testing.assert_allclose(
        one.real.third_along(direction), other.real.third_along(direction), rtol=1e-9, atol=1e-9
    )
    np.testing.assert_allclose(one.controls, other.controls, rtol=1e-9, atol=1e-9)


def test_surrogates_take_the_sources_from_other_times(small):
    counts, intensity, batches, fitted = small
    moments = pair_moments(fitted, batches, windows=(), surrogates=2)
    assert len(moments.surrogates) == 2
    traces = filtered(counts)
    pieces = [slice(k, min(k + PIECE, BINS)) for k in range(0, BINS, PIECE)]
    for number, sums in enumerate(moments.surrogates, start=1):
        shift = round(number * len(pieces) / 3)
        slope, expected = np.zeros((2, N, N)), np.zeros(N)
        for first in range(0, len(pieces), ROWS):
            here = pieces[first : first + ROWS]
            there = [pieces[(first + row + shift) % len(pieces)] for row in range(len(here))]
            for own, other in zip(here, there, strict=True):
                # A batch is as long as its longest row; beyond the end of a row nothing is expected.
                length = min(own.stop - own.start, other.stop - other.start)
                source = traces[:, other.start : other.start + length]
                at = slice(own.start, own.start + length)
                slope += np.einsum("hts,tj->hsj", source, (counts - intensity)[at])
                expected += intensity[at].sum(0)
        assert np.abs(sums.score - moments.real.score).min() > 1e-6
        if all(len(range(BINS)[piece]) == PIECE for piece in pieces):
            np.testing.assert_allclose(sums._slope, slope, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(sums.expected, expected)
        else:
            assert sums.expected.sum() == pytest.approx(expected.sum(), rel=0.2)


def test_surrogates_keep_the_rates_of_the_sources(rng, tiles, constant_rates):
    counts = rng.poisson(0.1, (4000, 4))
    moments = pair_moments(
        constant_rates(counts), tiles(counts, history=10, piece=250, rows=2), windows=(), surrogates=3
    )
    for sums in moments.surrogates:
        assert sums.expected.sum() == pytest.approx(moments.real.expected.sum())
        np.testing.assert_allclose(sums._mass, moments.real._mass, rtol=1e-3)
        np.testing.assert_allclose(sums.information, moments.real.information, rtol=0.1, atol=1)


def test_there_are_no_more_surrogates_than_other_rows(small):
    _, _, batches, fitted = small
    rows = sum(len(batch.session) for batch in batches)
    assert len(pair_moments(fitted, batches, windows=(), surrogates=99).surrogates) == rows - 1
    one = pair_moments(fitted, batches[:1], windows=(), surrogates=4)
    assert len(one.surrogates) == len(batches[0].session) - 1


def test_a_basis_holds_a_coupling_whose_kernels_lie_in_its_span(small):
    _, _, _, fitted = small
    mixed = torch.tensor([[1.0, 0.3, 0.0], [0.0, 0.5, 2.0]], dtype=torch.float64) @ log_basis(12, 3).double()
    inside = dataclasses.replace(fitted, kernels=mixed)
    found = in_basis(inside, 3)
    assert found.kernels.shape == (3, 12)
    assert found.weights.shape == (3, N, N)
    torch.testing.assert_close(found.kernels.norm(dim=1), torch.ones(3, dtype=torch.float64))

    def profile(coupling):
        return np.einsum("hst,hl->stl", coupling.weights, coupling.kernels.numpy())

    np.testing.assert_allclose(profile(found), profile(inside), rtol=1e-6, atol=1e-6)
    # As many functions as lags hold any kernel; fewer come as near as they can.
    any_kernel = dataclasses.replace(fitted, kernels=torch.from_numpy(KERNELS))
    np.testing.assert_allclose(profile(in_basis(any_kernel, 99)), profile(any_kernel), rtol=1e-6, atol=1e-6)
    rest = profile(in_basis(any_kernel, 2)) - profile(any_kernel)
    basis = in_basis(any_kernel, 2).kernels.numpy()
    np.testing.assert_allclose(rest @ basis.T, 0, atol=1e-6)
