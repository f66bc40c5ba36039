"""Dropout whose randomness is cheap on a CPU.

PyTorch draws a Bernoulli number for each element, one after another. Here each takes 16 bits of a stream of random
64-bit integers; the probability is therefore a multiple of 2⁻¹⁶, and what is kept is scaled by the very probability
that it is kept with, so that the mean stays exact. On other devices PyTorch's own dropout is used.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_STEPS = 2**16


class Dropout(nn.Dropout):
    """As PyTorch's, in training: 0 with probability `p`, else scaled so that the mean is kept."""

    def forward(self, input: Tensor) -> Tensor:
        """Of a tensor of any shape."""
        bits = self.draw(input)
        if bits is None:
            return super().forward(input)
        dropped: Tensor = _Dropped.apply(input, bits, self.p)
        return dropped

    def added(self, x: Tensor, z: Tensor) -> Tensor:
        """X plus what dropout leaves of z."""
        bits = self.draw(z)
        if bits is None:
            return x + super().forward(z)
        total: Tensor = _Added.apply(x, z, bits, self.p)
        return total

    def draw(self, like: Tensor) -> Tensor | None:
        """The randomness of one mask, 16 bits an element; None where PyTorch's own dropout is used."""
        plain = not self.training or like.device.type != "cpu" or torch.compiler.is_compiling()
        if plain or steps_of(self.p) in (0, _STEPS):
            return None
        words = torch.empty(-(-like.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        return words.view(torch.int16)[: like.numel()].view(like.shape)


def steps_of(p: float) -> int:
    """A probability in steps of 2⁻¹⁶."""
    return round(p * _STEPS)


def noise_of(bits: Tensor, p: float, dtype: torch.dtype) -> Tensor:
    """What each element is multiplied by: 0 with probability p, else 1 / (1 − p)."""
    steps = steps_of(p)
    kept = bits.to(dtype).ge_(steps - _STEPS // 2)  # the bits are −2¹⁵ … 2¹⁵ − 1
    return kept.mul_(_STEPS / (_STEPS - steps))


class _Dropped(torch.autograd.Function):
    """noise · x; the bits are kept instead of the noise."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bits: Tensor, p: float) -> Tensor:
        ctx.save_for_backward(bits)
        ctx.p = p
        return noise_of(bits, p, x.dtype).mul_(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (grad,), (bits,) = grads, ctx.saved_tensors
        return noise_of(bits, ctx.p, grad.dtype).mul_(grad), None, None


class _Added(torch.autograd.Function):
    """x + noise · z."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, z: Tensor, bits: Tensor, p: float) -> Tensor:
        ctx.save_for_backward(bits)
        ctx.p = p
        return noise_of(bits, p, z.dtype).mul_(z).add_(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (grad,), (bits,) = grads, ctx.saved_tensors
        return grad, noise_of(bits, ctx.p, grad.dtype).mul_(grad), None, None
