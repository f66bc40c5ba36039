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

import torch
from torch import Tensor, nn

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

    def _component_terms(self, rows: slice | Tensor) -> Tensor:
        """Log π_c − Σ_group KL(q ‖ N(0, α_c)), (..., C) for weights (G, ...) selected along the first dimension."""
        mean, log_scale = self.mean[rows], self.log_scale[rows]
        size = mean.shape[0]
        square = (mean.square() + torch.exp(2 * log_scale)).sum(0).unsqueeze(-1)
        entropy = 2 * log_scale.sum(0).unsqueeze(-1)
        alpha = mean.new_tensor(_VARIANCES)
        kl = 0.5 * (square / alpha - size + size * alpha.log() - entropy)
        return self.mixture.log_softmax(0) - kl

    def kl(self, rows: slice | Tensor = slice(None), mask: Tensor | None = None) -> Tensor:
        """The bound on KL(q ‖ p), in nats, summed over groups.

        Args:
            rows: which entries of the first dimension count.
            mask: of the groups' shape; 0 leaves a group out.
        """
        bound = -torch.logsumexp(self._component_terms(rows), -1)
        return (bound if mask is None else bound * mask).sum()

    @torch.no_grad()
    def grow(self, n_rows: int) -> None:
        """Append entries along the first dimension, at their initial values."""
        new = torch.zeros(n_rows, *self.mean.shape[1:], device=self.mean.device)
        self.mean = nn.Parameter(torch.cat([self.mean, new]))
        self.log_scale = nn.Parameter(torch.cat([self.log_scale, new + self.initial_log_scale]))
