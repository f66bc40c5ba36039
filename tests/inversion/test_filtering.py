"""Forward and forward–backward against a sum over all paths."""

from itertools import pairwise, product

import numpy as np
import pytest

from neuroformer.data.motion import Motion
from neuroformer.inversion.filtering import forward, smooth


def enumerated(log_likelihood: np.ndarray, motion: Motion) -> tuple[np.ndarray, np.ndarray, float]:
    n_bins, n_cells = log_likelihood.shape
    filtered, smoothed = np.zeros((n_bins, n_cells)), np.zeros((n_bins, n_cells))
    total = 0.0
    for stop in range(1, n_bins + 1):
        for path in product(range(n_cells), repeat=stop):
            p = motion.start[path[0]] * np.prod([motion.step[a, b] for a, b in pairwise(path)])
            p *= np.exp(sum(log_likelihood[t, cell] for t, cell in enumerate(path)))
            filtered[stop - 1, path[-1]] += p
            if stop == n_bins:
                total += p
                for t, cell in enumerate(path):
                    smoothed[t, cell] += p
    return filtered / filtered.sum(1, keepdims=True), smoothed / total, float(np.log(total))


def chain(rng: np.random.Generator, n: int) -> Motion:
    step = rng.random((n, n)) ** 3
    return Motion(start=rng.dirichlet(np.ones(n)), step=step / step.sum(1, keepdims=True))


def test_posteriors_and_likelihood_are_those_of_all_paths(rng: np.random.Generator) -> None:
    for _ in range(5):
        motion, evidence = chain(rng, 3), rng.normal(0, 2, (5, 3))
        filtered, smoothed, total = enumerated(evidence, motion)
        found, likelihood = forward(evidence, motion)
        np.testing.assert_allclose(found, filtered)
        assert likelihood == pytest.approx(total)
        np.testing.assert_allclose(smooth(evidence, motion), smoothed)
        np.testing.assert_allclose(smooth(evidence, motion, found), smoothed)


def test_constants_per_bin_and_large_numbers_change_nothing(rng: np.random.Generator) -> None:
    motion, evidence = chain(rng, 4), rng.normal(0, 300, (200, 4))
    shift = rng.normal(0, 1e4, (200, 1))
    (a, one), (b, other) = forward(evidence, motion), forward(evidence + shift, motion)
    np.testing.assert_allclose(a, b, atol=1e-8)
    assert other - one == pytest.approx(shift.sum())
    assert np.isfinite(smooth(evidence, motion)).all()


def test_the_filter_is_causal_and_the_smoother_ends_where_it_does(rng: np.random.Generator) -> None:
    motion, evidence = chain(rng, 4), rng.normal(0, 2, (30, 4))
    other = evidence.copy()
    other[20:] = rng.normal(0, 2, (10, 4))
    np.testing.assert_array_equal(forward(evidence, motion)[0][:20], forward(other, motion)[0][:20])
    np.testing.assert_array_equal(smooth(evidence, motion)[-1], forward(evidence, motion)[0][-1])
    assert np.abs(smooth(evidence, motion)[19] - smooth(other, motion)[19]).max() > 1e-4


def test_a_chain_that_cannot_reach_a_cell_gives_it_no_probability(rng: np.random.Generator) -> None:
    """Static variables: what a trial begins with stays."""
    motion = Motion(start=np.array([0.5, 0.5, 0.0]), step=np.eye(3))
    evidence = rng.normal(0, 1, (6, 3))
    found, smoothed = forward(evidence, motion)[0], smooth(evidence, motion)
    assert (found[:, 2] < 1e-200).all()
    np.testing.assert_allclose(smoothed, np.tile(found[-1], (6, 1)), atol=1e-12)


def test_evidence_against_all_that_a_chain_allows_is_no_error() -> None:
    motion = Motion(start=np.array([0.5, 0.5]), step=np.eye(2))
    evidence = np.zeros((60, 2))
    evidence[:30, 0], evidence[30:, 1] = 50.0, 90.0  # in the middle another trial begins
    found, total = forward(evidence, motion)
    assert np.isfinite(total)
    assert found[29, 0] == pytest.approx(1)
    assert np.isfinite(smooth(evidence, motion)).all()
    np.testing.assert_allclose(smooth(evidence, motion).sum(1), 1)
