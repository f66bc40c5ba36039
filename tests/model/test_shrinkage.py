import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from neuroformer.model.shrinkage import _VARIANCES, ShrunkWeight, group_kl


def make_weight(n: int, *groups: int, seed: int = 0) -> ShrunkWeight:
    generator = torch.Generator().manual_seed(seed)
    weight = ShrunkWeight(n, *groups).double()
    with torch.no_grad():
        weight.mean.copy_(0.5 * torch.randn(weight.mean.shape, generator=generator))
        weight.log_scale.copy_(-1.5 + 0.7 * torch.randn(weight.mean.shape, generator=generator))
        weight.mixture.copy_(torch.randn(weight.mixture.shape, generator=generator))
    return weight


def log_prior(weight: ShrunkWeight, w: torch.Tensor) -> torch.Tensor:
    """(S,) log density of the mixture at samples (S, n) of one group."""
    scales = torch.tensor(_VARIANCES, dtype=torch.float64).sqrt()
    each = Normal(0.0, scales).log_prob(w.unsqueeze(-1)).sum(1)  # (S, C)
    return (weight.mixture.log_softmax(0) + each).logsumexp(-1)


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_bound_lies_above_the_divergence_from_the_mixture(n: int, seed: int) -> None:
    weight = make_weight(n, 1, seed=seed)
    posterior = Normal(weight.mean[:, 0], weight.log_scale[:, 0].exp())
    torch.manual_seed(seed)
    with torch.no_grad():
        samples = posterior.sample((20_000,))
        ratio = posterior.log_prob(samples).sum(1) - log_prior(weight, samples)
        bound = float(weight.kl())
    error = 5 * float(ratio.std()) / math.sqrt(len(ratio))
    assert bound >= float(ratio.mean()) - error
    assert bound >= 0
    # It is no looser than the choice of any single component.
    with torch.no_grad():
        components = [
            float(
                kl_divergence(posterior, Normal(0.0, math.sqrt(v))).sum() - weight.mixture.log_softmax(0)[c]
            )
            for c, v in enumerate(_VARIANCES)
        ]
    assert bound <= min(components) + 1e-9


@pytest.mark.parametrize("component", range(len(_VARIANCES)))
def test_bound_is_exact_for_a_prior_of_one_component(component: int) -> None:
    weight = make_weight(3, 2)
    with torch.no_grad():
        weight.mixture.fill_(-1e9)
        weight.mixture[component] = 0.0
        prior = Normal(0.0, torch.tensor(_VARIANCES[component], dtype=torch.float64).sqrt())
        exact = kl_divergence(Normal(weight.mean, weight.log_scale.exp()), prior).sum()
        torch.testing.assert_close(weight.kl(), exact)


def test_divergence_adds_up_over_groups_and_can_leave_some_out() -> None:
    weight = make_weight(2, 3)
    singles = []
    for group in range(3):
        single = make_weight(2, 1)
        with torch.no_grad():
            single.mean.copy_(weight.mean[:, [group]])
            single.log_scale.copy_(weight.log_scale[:, [group]])
            single.mixture.copy_(weight.mixture)
        singles.append(float(single.kl().detach()))
    assert float(weight.kl().detach()) == pytest.approx(sum(singles))
    mask = torch.tensor([1.0, 0.0, 1.0])
    assert float(weight.kl(mask=mask).detach()) == pytest.approx(singles[0] + singles[2])


def test_rows_choose_whose_weights_count() -> None:
    weight = make_weight(5, 2)
    part = ShrunkWeight(2, 2).double()
    rows = torch.tensor([1, 4])
    with torch.no_grad():
        for name in ("mean", "log_scale"):
            getattr(part, name).copy_(getattr(weight, name)[rows])
        part.mixture.copy_(weight.mixture)
    torch.testing.assert_close(weight.kl(rows), part.kl())


def test_growth_appends_rows_at_their_start_and_keeps_the_others() -> None:
    weight = make_weight(3, 2)
    mean, log_scale = weight.mean.detach().clone(), weight.log_scale.detach().clone()
    weight.grow(4)
    assert weight.mean.shape == weight.log_scale.shape == (7, 2)
    assert torch.equal(weight.mean[:3], mean)
    assert torch.equal(weight.log_scale[:3], log_scale)
    assert (weight.mean[3:] == 0).all()
    assert weight.mean.requires_grad
    assert weight.log_scale.requires_grad


def test_weight_that_the_data_do_not_need_shrinks_to_zero_and_one_that_they_need_stays() -> None:
    """Fit y = w x + noise for one w of 1 and many of 0 by the evidence lower bound."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.tensor([1.0] + [0.0] * 19)
    estimate = truth + 0.1 * torch.randn(20, generator=generator)  # each with a standard error of 0.1
    weight = ShrunkWeight(1, 20)
    optimizer = torch.optim.Adam(weight.parameters(), lr=0.05)
    for _ in range(400):
        error = (weight.mean[0] - estimate).square() + weight.variance[0]
        loss = 0.5 * error.sum() / 0.01 + weight.kl()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = weight.mean[0].detach()
    assert found[0] == pytest.approx(float(estimate[0]), abs=0.05)
    assert found[1:].abs().mean() < 0.3 * estimate[1:].abs().mean()


def test_gradients_of_the_bound_are_those_of_its_formula(rng: np.random.Generator) -> None:
    square, log_scale, mixture = (
        torch.from_numpy(rng.normal(size=size)).requires_grad_()
        for size in ((3, 4, 5), (3, 4, 5), (3, 1, 1, 8))
    )
    weight = torch.from_numpy(rng.normal(size=(3, 4, 5)))

    def bound() -> torch.Tensor:
        return group_kl(square.exp(), log_scale, size=2, mixture=mixture)

    alpha = torch.tensor(_VARIANCES, dtype=torch.float64)
    kl = 0.5 * (square.exp().unsqueeze(-1) / alpha - 2 + 2 * alpha.log()) - log_scale.unsqueeze(-1)
    expected = -torch.logsumexp(mixture.log_softmax(-1) - kl, -1)
    torch.testing.assert_close(bound(), expected)
    found = torch.autograd.grad((bound() * weight).sum(), (square, log_scale, mixture))
    reference = torch.autograd.grad((expected * weight).sum(), (square, log_scale, mixture))
    for a, b in zip(found, reference, strict=True):
        torch.testing.assert_close(a, b)
