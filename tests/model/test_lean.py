"""Gradients by hand against those of the plain modules."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from neuroformer.model import attention
from neuroformer.model.attention import Block, Rotation, rotary_angles
from neuroformer.model.lean import is_lean

WIDTH, HEADS, TOKENS = 12, 3, 7


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal, over all tokens."""
    scores = torch.einsum("qhc,khc->hqk", q, k)
    weights = scores.masked_fill(~torch.ones(len(q), len(q)).tril().bool(), -torch.inf).softmax(-1)
    return torch.einsum("hqk,khc->qhc", weights, v).flatten(1)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Tensor, dict[str, Tensor]]]:
    """Output and gradients of a block, by hand or by autograd."""

    def run(
        *, lean: bool, dropout: float = 0.0, frozen: tuple[str, ...] = (), eps: float | None = None,
        x_needs: bool = True, size: int = TOKENS,
    ) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
        monkeypatch.setattr(attention, "is_lean", lambda x: lean)
        torch.manual_seed(0)
        block = Block(width=WIDTH, heads=HEADS, dropout=dropout).double()
        block.norm_attention.eps = block.norm_mlp.eps = eps
        with torch.no_grad():
            for parameter in block.parameters():
                parameter.normal_()
        for name, parameter in block.named_parameters():
            parameter.requires_grad_(name not in frozen)
        x = torch.randn(size, WIDTH, dtype=torch.float64)
        upstream = torch.randn_like(x)
        x.requires_grad_(x_needs)
        angles = rotary_angles(torch.arange(size)[None] * 3, WIDTH // HEADS // 2, 24)[0, 0]
        y = block.packed(x, Rotation.of(angles, x.dtype), attend)
        (y * upstream).sum().backward()
        named = [("x", x), *block.named_parameters()]
        return y.detach(), {name: p.grad for name, p in named if p.grad is not None}

    return run


@pytest.mark.parametrize("eps", [None, 0.5])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_equals_autograd(
    run: Callable[..., tuple[Tensor, dict[str, Tensor]]], dropout: float, eps: float
) -> None:
    found = run(lean=True, dropout=dropout, eps=eps)  # masks are drawn in the same order
    expected = run(lean=False, dropout=dropout, eps=eps)
    assert found[1].keys() == expected[1].keys()
    assert len(found[1]) == 9
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("x_needs", [True, False])
def test_frozen_weights_get_no_gradient(
    run: Callable[..., tuple[Tensor, dict[str, Tensor]]], x_needs: bool
) -> None:
    frozen = ("qkv.weight", "mlp.0.weight", "mlp.0.bias", "mlp.2.weight", "mlp.2.bias", "norm_mlp.weight")
    found, expected = (run(lean=lean, frozen=frozen, x_needs=x_needs) for lean in (True, False))
    assert set(found[1]) == {"x", "norm_attention.weight", "out.weight"} - (set() if x_needs else {"x"})
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_no_token(run: Callable[..., tuple[Tensor, dict[str, Tensor]]]) -> None:
    y, gradients = run(lean=True, size=0)
    assert y.shape == (0, WIDTH)
    assert not any(g.any() for g in gradients.values())


def test_only_where_there_are_gradients_in_full_precision_on_a_cpu() -> None:
    x = torch.zeros(2, 2)
    assert is_lean(x)
    assert not is_lean(x.bfloat16())
    assert not is_lean(x.to("meta"))
    with torch.no_grad():
        assert not is_lean(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_lean(x)
