"""Weights with a posterior: what the data do not support shrinks to zero by itself.

Every per-unit or per-pair weight w has a Gaussian posterior q(w) = N(μ, σ²) fitted by variational inference. Its prior
is a scale mixture of zero-mean normals on a fixed grid of variances with learned proportions (adaptive shrinkage:
Stephens 2017, Biostatistics 18:275, doi 10.1093/biostatistics/kxw041), so whether weights are mostly absent, and how
large the present ones are, is read from the data. Weights that stand or fall together (the lag kernels of one pair,
one latent dimension over all units) form a group and share their mixture component c:

    KL(q ‖ p) ≤ −log Σ_c π_c exp(−Σ_{w in group} KL(q(w) ‖ N(0, α_c)))

(the bound is the optimum over the responsibilities of the components, which are the softmax of the terms). Because
log-intensities are linear in these weights, the expected Poisson likelihood is closed:
E exp(η) = exp(mean + variance / 2).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from neuroformer.model.tables import SessionRows, append_rows

# Variances of the mixture: from 'absent' to 'an event changes the rate by a factor of e and more'.
_VARIANCES = (1e-6, 1e-4, 1e-3, 1e-2, 0.05, 0.25, 1.0, 4.0)
_INITIAL_LOG_SCALE = -4.0


class ShrunkWeight(nn.Module):
    """A tensor of weights with posterior mean and scale; groups run along its first dimension.

    Args:
        shape: shape of the weights.
        log_scale: initial log standard deviation of the posterior.
    """

    def __init__(self, *shape: int, log_scale: float = _INITIAL_LOG_SCALE) -> None:
        """See the class."""
        super().__init__()
        self.initial_log_scale = log_scale
        self.mean = nn.Parameter(torch.zeros(shape))
        self.log_scale = nn.Parameter(torch.full(shape, log_scale))
        self.mixture = nn.Parameter(torch.zeros(len(_VARIANCES)))

    @property
    def variance(self) -> Tensor:
        """Posterior variance, of the weights' shape."""
        return torch.exp(2 * self.log_scale)

    def variance_of(self, rows: Tensor) -> Tensor:
        """Posterior variance of some entries of the first dimension."""
        return torch.exp(2 * self.log_scale[rows])

    def kl(self, rows: slice | Tensor = slice(None), mask: Tensor | None = None) -> Tensor:
        """The bound on KL(q ‖ p), in nats, summed over groups.

        Args:
            rows: which entries of the first dimension count.
            mask: of the groups' shape; 0 leaves a group out.
        """
        mean, log_scale = self.mean[rows], self.log_scale[rows]
        square = second_moment(mean, log_scale).sum(0)
        bound = group_kl(square, log_scale.sum(0), size=len(mean), mixture=self.mixture)
        return (bound if mask is None else bound * mask).sum()

    def kl_by_session(self, there: SessionRows) -> Tensor:
        """(S,) `kl` of each of some sessions, whose units are entries of the first dimension."""
        mean, log_scale = there.of_table(self.mean), there.of_table(self.log_scale)
        square = there.sum(second_moment(mean, log_scale))
        size = square.new_tensor(there.sizes).unsqueeze(1)
        return group_kl(square, there.sum(log_scale), size=size, mixture=self.mixture).sum(1)

    def grow(self, n_rows: int) -> None:
        """Append entries along the first dimension, at their initial values."""
        new = torch.zeros(n_rows, *self.mean.shape[1:])
        append_rows(self, "mean", new)
        append_rows(self, "log_scale", new + self.initial_log_scale)


def second_moment(mean: Tensor, log_scale: Tensor) -> Tensor:
    """μ² + σ² of each weight."""
    found: Tensor = _SecondMoment.apply(mean, log_scale)
    return found


class _SecondMoment(torch.autograd.Function):
    """By hand: half as many steps."""

    @staticmethod
    def forward(ctx: Any, mean: Tensor, log_scale: Tensor) -> Tensor:
        """Of μ and log σ."""
        variance = (2 * log_scale).exp_()
        ctx.save_for_backward(mean, variance)
        return torch.addcmul(variance, mean, mean)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Of μ and log σ."""
        mean, variance = ctx.saved_tensors
        twice = 2 * gradient
        return twice * mean, twice * variance


def group_kl(square: Tensor, log_scale: Tensor, *, size: int | Tensor, mixture: Tensor) -> Tensor:
    """The bound on KL(q ‖ p) of groups of weights, nats.

    Args:
        square: (…) Σ of μ² + σ² over a group.
        log_scale: (…) Σ of log σ over it.
        size: weights of a group; a number, or a tensor that broadcasts over the groups.
        mixture: (…, C) logits of the proportions, its leading dimensions broadcasting over the groups.
    """
    alpha = square.new_tensor(_VARIANCES)
    spread = alpha.log() * (size.unsqueeze(-1) if isinstance(size, Tensor) else size)
    constant = mixture.log_softmax(-1) - 0.5 * spread
    constant = constant[(None,) * (square.ndim + 1 - constant.ndim)]
    found: Tensor = _LogSumExpOfLines.apply(constant.movedim(-1, 0), square, 0.5 / alpha)
    return -found - log_scale - 0.5 * size


class _LogSumExpOfLines(torch.autograd.Function):
    """Log Σ_c exp(constant_c − rate_c · x), for `constant` (C, …) that broadcasts over x (…).

    By hand, as this runs over all components of all pairs of units: in one buffer, and with gradients that are sums
    over the components' shares, it takes a fraction of the time of PyTorch's own steps.
    """

    @staticmethod
    def forward(ctx: Any, constant: Tensor, x: Tensor, rate: Tensor) -> Tensor:
        """(…)."""
        share = torch.addcmul(constant, x, -rate.view(-1, *[1] * x.ndim))
        highest = share.amax(0)
        total = share.sub_(highest).exp_().sum(0)
        ctx.save_for_backward(share.div_(total), rate)
        ctx.size = constant.shape
        return highest + total.log()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        """Of constant and x."""
        share, rate = ctx.saved_tensors
        of_x = (rate @ share.flatten(1)).view(gradient.shape).mul_(gradient).neg_()
        return (share * gradient).sum_to_size(ctx.size), of_x, None
