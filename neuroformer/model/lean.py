"""The two halves of a transformer block with their gradients by hand: fewer passes over memory, and less of it.

PyTorch's autograd keeps what every elementwise step has made. Of a block only what is dear to make again is kept here:
its input, rotated queries and keys, values, the hidden layer of the MLP, and 16 bits an element of dropout. The results
are those of the plain modules but for rounding. Used on a CPU, where passes over memory are what a block spends beside
its matrix products; on a GPU (and under autocast) the plain modules are.

Legend: M tokens, D width, H heads, C = D / H.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from neuroformer.model.dropout import Dropout, noise_of


def is_lean(x: Tensor) -> bool:
    """Whether the functions of this module are to be used."""
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
    )


def rotated_heads(
    x: Tensor, norm: nn.RMSNorm, qkv: nn.Linear, turn: Tensor, heads: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of normalised tokens, three (M, H, C).

    Channels of queries and keys stand in another order than in `rotate`, in both the same: what attention makes of them
    does not depend on it.

    Args:
        x: (M, D).
        norm: of the tokens.
        qkv: their projection, without a bias.
        turn: (M, 1, C / 2), the rotations as complex numbers of length 1.
        heads: H.
    """
    weight = norm.weight
    found: tuple[Tensor, Tensor, Tensor] = _RotatedHeads.apply(
        x, weight, _eps(norm, x), qkv.weight, turn, heads
    )
    return found


def with_mlp(x: Tensor, norm: nn.RMSNorm, mlp: nn.Sequential, dropout: Dropout) -> Tensor:
    """Tokens x + dropout(mlp(norm(x))), of an MLP of two layers with a GELU between them."""
    first, second = mlp[0], mlp[2]
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    found: Tensor = _WithMLP.apply(
        x, norm.weight, _eps(norm, x), first.weight, first.bias, second.weight, second.bias, dropout.draw(x), dropout.p
    )  # fmt: skip
    return found


def _eps(norm: nn.RMSNorm, x: Tensor) -> float:
    return torch.finfo(x.dtype).eps if norm.eps is None else norm.eps


def _scale(x: Tensor, eps: float) -> Tensor:
    """(M, 1): one over the root of the mean square."""
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_()


def _norm_backward(grad: Tensor, x: Tensor, scale: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of x and of the weight, from that of x · scale · weight, which is overwritten."""
    unit = x * scale
    product = grad * unit
    shift = (product @ weight).div_(-x.shape[-1]).unsqueeze(1)
    return grad.mul_(weight).addcmul_(unit, shift).mul_(scale), product.sum(0)


def _pairs_first(weight: Tensor, heads: int) -> Tensor:
    """Rows of the projection's queries and keys, (3 D, D): the two channels that turn together side by side."""
    width = weight.shape[1]
    halves = weight[: 2 * width].view(2 * heads, 2, -1, width).transpose(1, 2).reshape(2 * width, width)
    return torch.cat([halves, weight[2 * width :]])


def _halves_first(weight: Tensor, heads: int) -> Tensor:
    """The way back, in place."""
    width = weight.shape[1]
    part = weight[: 2 * width]
    part.copy_(part.view(2 * heads, -1, 2, width).transpose(1, 2).reshape(2 * width, width))
    return weight


def _complex(x: Tensor, heads: int) -> Tensor:
    """(M, H · C) or (M, H, C), complex: (M, H, C / 2)."""
    pairs = x.shape[1:].numel() // heads // 2
    return torch.view_as_complex(x.view(len(x), heads, pairs, 2))


class _RotatedHeads(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gain: Tensor, eps: float, weight: Tensor, turn: Tensor, heads: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        scale = _scale(x, eps)
        ordered = _pairs_first(weight, heads)
        z = (x * scale).mul_(gain) @ ordered.T
        q, k, v = z.chunk(3, dim=-1)
        ctx.save_for_backward(x, gain, scale, ordered, turn)
        ctx.heads = heads
        size = (len(x), heads, x.shape[1] // heads)
        rotated = [torch.view_as_real(_complex(part, heads) * turn).view(size) for part in (q, k)]
        return rotated[0], rotated[1], v.view(size)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, scale, ordered, turn = ctx.saved_tensors
        (n, width), heads, back = x.shape, ctx.heads, turn.conj().resolve_conj()
        gz = x.new_empty(n, 3 * width)
        *turned, values = gz.chunk(3, dim=-1)
        for part, grad in zip(turned, grads[:2], strict=True):
            torch.mul(_complex(grad.contiguous(), heads), back, out=_complex(part, heads))
        values.copy_(grads[2].flatten(1))
        g_weight = None
        if ctx.needs_input_grad[3]:
            g_weight = _halves_first(gz.T @ (x * scale).mul_(gain), heads)
        gx, g_gain = _norm_backward(gz @ ordered, x, scale, gain)
        return gx, g_gain, None, g_weight, None, None


class _WithMLP(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gain: Tensor, eps: float, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor,
        bits: Tensor | None, p: float,
    ) -> Tensor:  # fmt: skip
        scale = _scale(x, eps)
        hidden = torch.addmm(b1, (x * scale).mul_(gain), w1.T)
        active = F.gelu(hidden)
        z = torch.addmm(b2, active, w2.T)
        ctx.save_for_backward(x, gain, scale, w1, w2, hidden, active, bits)
        ctx.p = p
        if bits is not None:
            z.mul_(noise_of(bits, p, z.dtype))
        return z.add_(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, scale, w1, w2, hidden, active, bits = ctx.saved_tensors
        (grad,), needed = grads, ctx.needs_input_grad
        gz = grad if bits is None else noise_of(bits, ctx.p, grad.dtype).mul_(grad)
        g_w2 = gz.T @ active if needed[5] else None
        g_b2 = gz.sum(0) if needed[6] else None
        gh = gz @ w2
        torch.ops.aten.gelu_backward.grad_input(gh, hidden, grad_input=gh)
        g_w1 = gh.T @ (x * scale).mul_(gain) if needed[3] else None
        g_b1 = gh.sum(0) if needed[4] else None
        gx, g_gain = _norm_backward(gh @ w1, x, scale, gain)
        return gx.add_(grad), g_gain, None, g_w1, g_b1, g_w2, g_b2, None, None
