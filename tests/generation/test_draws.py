"""Counts from uniform numbers, and what temperature, top-k and nucleus make of a bin."""

import numpy as np
import pytest
import torch
from scipy.stats import poisson

from neuroformer.generation.ceiling import best_ceiling
from neuroformer.generation.draws import Uniforms, draw_counts, sharpen, stream_seed


def test_counts_invert_the_distribution(rng: np.random.Generator) -> None:
    intensity = rng.gamma(0.3, 2.0, 5000)
    intensity[:50] = 0
    uniform = rng.random(5000)
    cells, counts = draw_counts(torch.from_numpy(intensity), torch.from_numpy(uniform))
    found = np.zeros(5000, int)
    found[cells.numpy()] = counts.numpy()
    expected = poisson.isf(uniform, intensity)  # the smallest n with P(K > n) ≤ u
    assert np.array_equal(found, np.where(intensity > 0, expected, 0))
    assert found.max() > 5


def brute(rate: np.ndarray, temperature: float, top_k: int | None, top_p: float | None) -> np.ndarray:
    q = rate ** (1 / temperature)
    q /= q.sum()
    order = sorted(range(len(q)), key=lambda j: -q[j])
    kept = order[: top_k or len(q)]
    if top_p is not None:
        total, chosen = sum(q[j] for j in kept), []
        for j in kept:
            if sum(q[i] for i in chosen) < top_p * total:
                chosen.append(j)
        kept = chosen
    result = np.zeros(len(q))
    result[kept] = rate.sum() * q[kept] / q[kept].sum()
    return result


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("top_k", [None, 1, 3])
@pytest.mark.parametrize("top_p", [None, 0.5, 0.9, 1.0])
def test_sharpening_by_brute_force(
    temperature: float, top_k: int | None, top_p: float | None, rng: np.random.Generator
) -> None:
    rate = rng.gamma(1.0, 0.1, (2, 6))
    rate[1, 2] = 0
    found = sharpen(torch.from_numpy(rate), temperature=temperature, top_k=top_k, top_p=top_p).numpy()
    for row in (0, 1):
        assert found[row] == pytest.approx(brute(rate[row], temperature, top_k, top_p))
    assert found.sum(1) == pytest.approx(rate.sum(1))


def test_nothing_that_can_fire_stays_so() -> None:
    assert not sharpen(torch.zeros(1, 3), temperature=0.5, top_p=0.5).any()


def test_the_numbers_of_a_stream_are_its_own() -> None:
    alone = Uniforms([3], n_units=[4], n_padded=4, n_levels=2)
    beside = Uniforms([9, 3], n_units=[6, 4], n_padded=6, n_levels=2)
    for step in range(300):
        a, b = alone.next()[0], beside.next()
        if step == 150:
            beside.keep([1])
        assert torch.equal(a, b[-1, :8])
        assert bool((b[-1, 8:] == 1).all())


def test_seeds_differ_by_what_a_stream_is() -> None:
    seeds = {stream_seed(s, name, k) for s in (0, 1) for name in ("a", "b") for k in range(5)}
    assert len(seeds) == 20


def test_the_ceiling_is_the_likeliest_one(rng: np.random.Generator) -> None:
    intensity = rng.lognormal(-2, 1.5, 8_000)
    counts = rng.poisson(np.minimum(intensity, 0.6)).astype(float)
    ceiling, gain = best_ceiling(intensity, counts)

    def score(c: float) -> float:
        lowered = np.minimum(intensity, c)
        return float((counts * np.log(lowered) - lowered).sum())

    grid = np.geomspace(0.05, intensity.max(), 300)
    assert score(ceiling) >= max(map(score, grid)) - 1e-9
    assert gain == pytest.approx(score(ceiling) - score(np.inf))
    assert ceiling == pytest.approx(0.6, rel=0.15)
    assert best_ceiling(np.array([0.1, 0.2]), np.array([1.0, 1.0])) == (0.2, 0.0)
