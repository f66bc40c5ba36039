import math

import numpy as np
import pytest
import torch
from scipy.stats import poisson

from neuroformer.model.observation import (
    log_tail,
    next_token_log_prob,
    poisson_log_likelihood,
    poisson_total,
)


def test_counts_are_poisson(rng: np.random.Generator) -> None:
    intensity, counts = rng.gamma(1.0, size=(5, 4)), rng.integers(0, 6, (5, 4))
    found = poisson_log_likelihood(torch.from_numpy(intensity).log(), torch.from_numpy(counts.astype(float)))
    np.testing.assert_allclose(found.numpy(), poisson.logpmf(counts, intensity), rtol=1e-12)


@pytest.mark.parametrize("all_scored", [True, False])
def test_total_is_the_sum_over_scored_cells_and_so_is_its_gradient(
    rng: np.random.Generator, all_scored: bool
) -> None:
    log_intensity = torch.from_numpy(rng.normal(size=(3, 2, 7))).requires_grad_()
    counts = torch.from_numpy(rng.poisson(1.0, (3, 2, 7)).astype(float))
    scored = torch.from_numpy(rng.random((2, 7)) < 0.6) | all_scored
    found = 3 * poisson_total(log_intensity, counts, scored)
    expected = 3 * (poisson_log_likelihood(log_intensity, counts) * scored).sum()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    gradients = [torch.autograd.grad(x, log_intensity)[0] for x in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("n", [0, 1, 2, 5, 20])
@pytest.mark.parametrize("intensity", [1e-5, 0.3, 2.0, 30.0])
def test_tail_is_the_probability_of_at_least_n(n: int, intensity: float) -> None:
    found = float(log_tail(torch.tensor(intensity, dtype=torch.float64), n))
    assert found == pytest.approx(poisson.logsf(n - 1, intensity), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("last_unit", "n_last"), [(-1, 0), (0, 1), (2, 1), (2, 4), (3, 2)])
def test_next_token_or_none_is_certain(rng: np.random.Generator, last_unit: int, n_last: int) -> None:
    intensity = torch.from_numpy(rng.gamma(0.5, size=(6, 4)))
    token, none = next_token_log_prob(intensity, last_unit, n_last)
    assert token.shape == (6, 4)
    assert float(token.exp().sum() + none.exp()) == pytest.approx(1.0, abs=1e-12)
    assert (token[0, : max(0, last_unit)] == -torch.inf).all()  # cells that are over
    assert (token[1:] > -torch.inf).all()


def test_next_token_follows_the_hand_calculation() -> None:
    a, b = 0.5, 0.25
    token, none = next_token_log_prob(torch.tensor([[a, b], [a, b]]), last_unit=0, n_last=1)
    more = (1 - math.exp(-a) * (1 + a)) / (1 - math.exp(-a))  # P(K ≥ 2 | K ≥ 1)
    walk = [more, (1 - more) * (1 - math.exp(-b))]
    left = (1 - more) * math.exp(-b)
    walk += [left * (1 - math.exp(-a)), left * math.exp(-a) * (1 - math.exp(-b))]
    np.testing.assert_allclose(token.exp().flatten().numpy(), walk, rtol=1e-6)
    assert float(none.exp()) == pytest.approx(left * math.exp(-a - b))


def test_a_token_that_is_certain_leaves_nothing_to_the_others() -> None:
    intensity = torch.tensor([[1e4, 1e4], [1.0, 1e4]])
    for last_unit, n_last in ((-1, 0), (0, 1)):
        token, none = next_token_log_prob(intensity, last_unit, n_last)
        assert not token.isnan().any()
        np.testing.assert_allclose(token.exp().numpy(), [[1.0, 0.0], [0.0, 0.0]], atol=1e-12)
        assert float(none.exp()) == 0.0
