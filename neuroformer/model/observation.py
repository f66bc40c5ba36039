"""Poisson events: the likelihood of counts, and the next-token distribution that it implies.

Given the bins before it, the number of events of unit j in bin t is Poisson with intensity λ_j(t). A stream of
tokens in order of (bin, unit) then has the exact likelihood

    log p(stream) = Σ_{t, j} k log λ − λ − log k!

and the next token's distribution over (gap, unit) follows by competing risks: walk over the cells (bin, unit) in
order; a cell that has n events so far brings one more with probability P(K ≥ n + 1 | K ≥ n), else the walk goes on.
The product of these over all tokens, and of the silence after the last, is the same number (a test checks it).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def poisson_log_likelihood(log_intensity: Tensor, counts: Tensor) -> Tensor:
    """Log p(count) of every cell in nats, log k! included.

    Args:
        log_intensity: log expected events per bin, any shape.
        counts: same shape.
    """
    found = counts * log_intensity - log_intensity.exp()
    repeated = (counts > 1).nonzero(as_tuple=True)  # log k! is 0 everywhere else, and most cells are empty
    if len(repeated[0]):
        found = found.index_put(repeated, -torch.lgamma(counts[repeated] + 1), accumulate=True)
    return found


def poisson_total(log_intensity: Tensor, counts: Tensor, scored: Tensor) -> Tensor:
    """Sum of `poisson_log_likelihood` over the scored cells, for training.

    Args:
        log_intensity: log expected events per bin, any shape.
        counts: same shape; whole numbers.
        scored: bool, which count; a shape that broadcasts.
    """
    total: Tensor = _PoissonTotal.apply(log_intensity, counts, scored)
    return total


class _PoissonTotal(torch.autograd.Function):
    """Σ k log λ − λ − log k!; its gradient is k − λ, computed on the way."""

    @staticmethod
    def forward(ctx: Any, log_intensity: Tensor, counts: Tensor, scored: Tensor) -> Tensor:
        intensity = log_intensity.exp()
        if not bool(scored.all()):
            intensity = intensity * scored
            counts = counts * scored
        repeated = counts[counts > 1]
        total = torch.linalg.vecdot(counts.flatten(), log_intensity.flatten()) - intensity.sum()
        ctx.save_for_backward(counts - intensity)
        return total - torch.lgamma(repeated + 1).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (excess,) = ctx.saved_tensors
        return excess * gradient, None, None


def log_tail(intensity: Tensor, n: int) -> Tensor:
    """Log P(K ≥ n) for Poisson counts: the regularised lower incomplete gamma function P(n, λ); 0 for n = 0."""
    if n == 0:
        return torch.zeros_like(intensity)
    if n == 1:
        return torch.log(-torch.expm1(-intensity))
    return torch.special.gammainc(torch.full_like(intensity, float(n)), intensity).log()


def next_token_log_prob(intensity: Tensor, last_unit: int, n_last: int) -> tuple[Tensor, Tensor]:
    """Distribution of the next token, given silence until it.

    Args:
        intensity: (G, N) expected events per bin, row 0 for the last token's own bin; rows after it are the
            intensities if nothing more happens.
        last_unit: unit of the last token; −1 if the walk starts at the beginning of row 0.
        n_last: events that this unit has had in row 0 so far, the last token included (0 with `last_unit` −1).

    Returns:
        (G, N) log p(gap, unit), −inf for cells that are over, and the log probability that no token comes in the G
        bins.
    """
    intensity = intensity.double()
    more = log_tail(intensity, 1)  # log P(K ≥ 1)
    silence = -intensity  # log P(K = 0)
    if last_unit >= 0:
        last = intensity[0, last_unit]
        # The cell of the last token: one more, or no more, given that it had n.
        log_more = log_tail(last, n_last + 1) - log_tail(last, n_last)
        more, silence = more.clone(), silence.clone()
        more[0, last_unit] = log_more
        silence[0, last_unit] = torch.log(-torch.expm1(log_more))
        more[0, :last_unit] = -torch.inf
        silence[0, :last_unit] = 0.0
    # Before each cell, and after the last.
    walked = torch.cat([silence.new_zeros(1), silence.flatten().cumsum(0)])
    return walked[:-1].view_as(more) + more, walked[-1]
