"""Dropout from 16 random bits an element."""

import pytest
import torch
from torch import Tensor

from neuroformer.model.dropout import Dropout, noise_of


def sample(seed: int = 0, size: int = 1001) -> Tensor:
    return torch.randn(7, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9, 2**-16])
def test_every_value_of_the_bits_counts_and_the_mean_is_exact(p: float) -> None:
    every = torch.arange(-(2**15), 2**15, dtype=torch.int16)
    noise = noise_of(every, p, torch.float64)
    dropped = int((noise == 0).sum())
    assert dropped == round(p * 2**16)  # within 2⁻¹⁷ of p
    assert noise.sum().item() == pytest.approx(2**16, rel=1e-12)
    assert len(noise.unique()) == 2


def test_the_bits_are_uniform_and_independent() -> None:
    torch.manual_seed(0)
    bits = Dropout(0.1).draw(torch.empty(400, 1000))
    assert bits is not None
    counts = torch.bincount((bits.flatten().long() + 2**15) >> 8, minlength=256)
    expected = bits.numel() / 256
    assert ((counts - expected).square() / expected).sum() < 255 + 5 * (2 * 255) ** 0.5  # χ²
    kept = (noise_of(bits, 0.1, torch.float64) > 0).double().flatten()
    assert kept.mean().item() == pytest.approx(0.9, abs=5 * (0.09 / kept.numel()) ** 0.5)
    for lag in (1, 2, 3, 4, 5, 8, 1000):
        pairs = ((kept[lag:] - 0.9) * (kept[:-lag] - 0.9)).mean().item()
        assert abs(pairs) < 5 * 0.09 / kept.numel() ** 0.5, lag


def test_repeats_from_the_seed() -> None:
    dropout, x = Dropout(0.3), sample()
    torch.manual_seed(5)
    first, second = dropout(x), dropout(x)
    torch.manual_seed(5)
    assert torch.equal(dropout(x), first)
    assert not torch.equal(first, second)


def test_gradients_pass_where_values_do() -> None:
    dropout, x = Dropout(0.3), sample().requires_grad_()
    y = dropout(x)
    y.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad * x.detach(), y.detach())
    assert sorted(x.grad.unique().tolist()) == [0.0, pytest.approx(1 / 0.7, rel=1e-4)]


def test_added_is_the_sum_with_the_same_mask() -> None:
    dropout = Dropout(0.3)
    found = []
    for make in (dropout.added, lambda x, z: x + dropout(z)):
        torch.manual_seed(2)
        x, z = sample(0).requires_grad_(), sample(1).requires_grad_()
        y = make(x, z)
        (y * sample(2)).sum().backward()
        assert x.grad is not None
        assert z.grad is not None
        found.append((y.detach(), x.grad, z.grad))
    torch.testing.assert_close(found[0], found[1])


def test_without_dropout_nothing_changes() -> None:
    x = sample()
    assert torch.equal(Dropout(0.0)(x), x)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.5).eval().added(x, x), 2 * x)
    assert not Dropout(1.0)(x).any()


@pytest.mark.parametrize("size", [(0,), (1,), (3,), (5, 1)])
def test_any_size(size: tuple[int, ...]) -> None:
    assert Dropout(0.5)(torch.ones(size)).shape == size
