"""Coupling attention: fast directed influence of one unit on another.

Linear attention over past events. The score of an event depends on its lag alone, through one positive kernel per head
(a softmax over the lags, as attention weights are, times √L); the value of an event is its source unit; each target
reads the heads out with its own weights:

    coupling_j(t) = Σ_h Σ_{i ≠ j} G_h[i, j] · (κ_h * s_i)(t)

so the map over (source, target, lag) is Σ_h G_h[i, j] κ_h(lag) by construction: it *is* the estimate of the wiring.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neuroformer.batch import Batch
from neuroformer.model.filters import banded
from neuroformer.model.shrinkage import ShrunkWeight
from neuroformer.model.traces import all_traces


class LagKernels(nn.Module):
    """Positive kernels over the lags 1 … L, each a softmax times √L (so that an event's trace is of order 1)."""

    def __init__(self, *, heads: int, n_lags: int) -> None:
        """See the class."""
        super().__init__()
        # Started as bumps spread evenly over the logarithm of the lag, each as wide as their distance.
        lag = torch.arange(1, n_lags + 1).log()
        centre = (torch.arange(heads) + 0.5) / heads * math.log(max(2, n_lags) / 2)
        width = max(0.5, math.log(max(2, n_lags) / 2) / heads)
        self.logits = nn.Parameter(-(((lag - centre[:, None]) / width) ** 2).clamp(max=8))

    def forward(self) -> Tensor:
        """(H, L)."""
        return self.logits.softmax(-1) * math.sqrt(self.logits.shape[1])


class FullCoupling(nn.Module):
    """One matrix per head and session: (H, N, N), [source, target]. For up to a few hundred units."""

    def __init__(self, *, heads: int, n_lags: int) -> None:
        """See the class."""
        super().__init__()
        self.heads = heads
        self.kernels = LagKernels(heads=heads, n_lags=n_lags)
        self.sessions = nn.ModuleList()

    def add_session(self, n_units: int) -> None:
        """Make room for a session."""
        self.sessions.append(ShrunkWeight(self.heads, n_units, n_units).to(self.kernels.logits))

    def forward(self, weight: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean and variance of the coupling term for the bins from `batch.first_scored` on.

        Args:
            weight: (B, E) what each past event counts.
            batch: the chunks.

        Returns:
            Two (B, T − first, N).
        """
        traces = all_traces(batch, self.kernels(), weight)  # (B, N, H, T)
        parts = []
        for session, rows in rows_by_session(batch):
            pairs = self._weight(session)
            n = pairs.mean.shape[-1]
            off = off_diagonal(n, traces)
            features = (traces if len(rows) == len(traces) else traces[rows])[:, :n].flatten(
                1, 2
            )  # (b, N·H, T)
            mean = _stack(pairs.mean * off) @ features
            variance = _stack(pairs.variance * off) @ features.square()
            pad = (0, 0, 0, traces.shape[1] - n)
            parts.append((rows, F.pad(mean, pad), F.pad(variance, pad)))
        order = torch.cat([rows for rows, _, _ in parts]).argsort()
        if len(parts) == 1:
            return parts[0][1].mT, parts[0][2].mT
        mean, variance = (torch.cat([part[k] for part in parts])[order] for k in (1, 2))
        return mean.mT, variance.mT

    def kl(self, session: int, rows: Tensor) -> Tensor:
        """KL of a session's weights, nats."""
        weight = self._weight(session)
        return weight.kl(mask=off_diagonal(weight.mean.shape[-1], weight.mean))

    def map(self, session: int, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean and variance of the log-gain by lag: two (N, N, L), [source, target, lag − 1]."""
        weight, kernels = self._weight(session), self.kernels()
        return (
            torch.einsum("hst,hl->stl", weight.mean, kernels),
            torch.einsum("hst,hl->stl", weight.variance, kernels.square()),
        )

    def head_weights(self, session: int, rows: Tensor) -> Tensor:
        """Posterior mean of a session's matrices: (H, N, N), [head, source, target]."""
        return self._weight(session).mean

    def _weight(self, session: int) -> ShrunkWeight:
        weight = self.sessions[session]
        assert isinstance(weight, ShrunkWeight)
        return weight


class LowRankCoupling(nn.Module):
    """Each head's matrix is of rank R: G_h[i, j] = Σ_r a_i[h, r] b_j[h, r]. For many units or many sessions.

    A unit's effect on itself is part of the product and adds to its own history.
    """

    def __init__(self, *, heads: int, n_lags: int, rank: int) -> None:
        """See the class."""
        super().__init__()
        self.heads, self.rank = heads, rank
        self.kernels = LagKernels(heads=heads, n_lags=n_lags)
        self.source = nn.Parameter(torch.zeros(0, heads * rank))
        self.target = ShrunkWeight(0, heads * rank)

    def add_session(self, n_units: int) -> None:
        """Make room for a session."""
        new = torch.randn(n_units, self.heads * self.rank, device=self.source.device) / math.sqrt(self.rank)
        self.source = nn.Parameter(torch.cat([self.source.data, new]))
        self.target.grow(n_units)

    def forward(self, weight: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """As `FullCoupling.forward`."""
        return self.read(self.latent(weight, batch), batch.unit_row)

    def latent(self, weight: Tensor, batch: Batch) -> Tensor:
        """(B, H·R, T − first) what the past events of all units carry to the targets."""
        carried = self.source[batch.unit_row.gather(1, batch.event_unit)] * weight.unsqueeze(-1)
        per_bin = batch.sum_per_bin(carried).unflatten(-1, (self.heads, self.rank))
        over_time = banded(self.kernels(), batch.n_bins, batch.first_scored)
        return torch.einsum("hts,bshr->bhrt", over_time, per_bin).flatten(1, 2)

    def read(self, latent: Tensor, unit_row: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the coupling of some targets (B, N), given as vocabulary rows: two (B, T − first, N)."""
        mean = self.target.mean[unit_row] @ latent
        variance = self.target.variance_of(unit_row) @ latent.square()
        return mean.mT, variance.mT

    def kl(self, session: int, rows: Tensor) -> Tensor:
        """KL of a session's weights, nats; the sources have a standard normal prior of variance 1 / R."""
        return self.target.kl(rows) + 0.5 * self.rank * self.source[rows].square().sum()

    def map(self, session: int, rows: Tensor) -> tuple[Tensor, Tensor]:
        """As `FullCoupling.map`."""
        kernels = self.kernels()
        shape = (self.heads, self.rank)
        mean, source = self.head_weights(session, rows), self.source[rows].unflatten(-1, shape)
        variance = torch.einsum(
            "shr,thr->hst", source.square(), self.target.variance_of(rows).unflatten(-1, shape)
        )
        return (
            torch.einsum("hst,hl->stl", mean, kernels),
            torch.einsum("hst,hl->stl", variance, kernels.square()),
        )

    def head_weights(self, session: int, rows: Tensor) -> Tensor:
        """As `FullCoupling.head_weights`."""
        shape = (self.heads, self.rank)
        source, target = self.source[rows].unflatten(-1, shape), self.target.mean[rows].unflatten(-1, shape)
        return torch.einsum("shr,thr->hst", source, target)


def rows_by_session(batch: Batch) -> Iterator[tuple[int, Tensor]]:
    """(session, rows of the batch that show it), for each session in the batch."""
    for session in batch.session.unique().tolist():
        yield session, (batch.session == session).nonzero().squeeze(-1)


def off_diagonal(n: int, like: Tensor) -> Tensor:
    """(N, N) of ones with a zero diagonal."""
    return 1 - torch.eye(n, device=like.device, dtype=like.dtype)


def _stack(weight: Tensor) -> Tensor:
    """(H, N, M) → (M, N·H), in the order of flattened traces."""
    return weight.permute(2, 1, 0).flatten(1, 2)
