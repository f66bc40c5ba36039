"""Coupling attention: fast directed influence of one unit on another.

Linear attention over past events. The score of an event depends on its lag alone, through one positive kernel per head
(a softmax over the lags, as attention weights are, times √L); the value of an event is its source unit; each target
reads the heads out with its own weights:

    coupling_j(t) = Σ_h Σ_{i ≠ j} G_h[i, j] · (κ_h * s_i)(t)

so the map over (source, target, lag) is Σ_h G_h[i, j] κ_h(lag) by construction: it *is* the estimate of the wiring.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neuroformer.batch import Batch
from neuroformer.model.filters import banded
from neuroformer.model.shrinkage import ShrunkWeight, group_kl, second_moment
from neuroformer.model.tables import SessionRows, append_rows
from neuroformer.model.traces import all_traces

_ALIKE = 0.5  # share of a padded matrix that must be there


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
        numbers = batch.session.tolist()
        found = sorted(set(numbers))
        # What is found for a chunk in evaluation is the same to the last bit, whatever other sessions stand beside it.
        groups = self._alike(found) if self.training else [[session] for session in found]
        parts: list[tuple[list[int], list[Tensor]]] = []
        for group in groups:
            place = {session: k for k, session in enumerate(group)}
            rows = [row for row, session in enumerate(numbers) if session in place]
            mean, log_scale, there = self._together(group)
            n = mean.shape[-1]
            features = traces if len(rows) == len(traces) else traces[rows]
            features = features[:, :n].flatten(1, 2)  # (b, N·H, T)
            own = [place[numbers[row]] for row in rows]
            sums = []
            for matrix, x in ((mean, features), (torch.exp(2 * log_scale), features.square())):
                stacked = _stack(matrix * there.unsqueeze(-3))
                # One matrix for all rows, or each row's own.
                sums.append((stacked if len(group) == 1 else stacked[own]) @ x)
            if n < traces.shape[1]:
                sums = [F.pad(x, (0, 0, 0, traces.shape[1] - n)) for x in sums]
            parts.append((rows, sums))
        if len(parts) == 1:
            return parts[0][1][0].mT, parts[0][1][1].mT
        order = torch.tensor([row for rows, _ in parts for row in rows], device=traces.device).argsort()
        mean, variance = (torch.cat([sums[k] for _, sums in parts])[order] for k in (0, 1))
        return mean.mT, variance.mT

    def are_alike(self, sessions: Sequence[int]) -> bool:
        """Whether sessions have about as many units, so that their matrices may be padded to one size."""
        return len(self._alike(set(sessions))) == 1

    def matrices(self, sessions: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Posterior mean and variance of the weights of some sessions, padded: two (S, N, H · N), [target, source].

        Args:
            sessions: may name one several times.
        """
        mean, log_scale, there = self._together(sessions)
        found = ((x * there.unsqueeze(-3)).flatten(-3, -2).mT for x in (mean, torch.exp(2 * log_scale)))
        first, second = (x.unsqueeze(0) if mean.ndim == 3 else x for x in found)
        return first, second

    def kl(self, there: SessionRows) -> Tensor:
        """(S,) KL of each session's weights, nats."""
        groups = self._alike(there.sessions)
        order = torch.tensor([session for group in groups for session in group]).argsort()
        found = torch.cat([self._kl(group) for group in groups])
        return found if len(groups) == 1 else found[order]

    def _kl(self, group: list[int]) -> Tensor:
        mean, log_scale, there = self._together(group)
        mixture = torch.stack([self._weight(session).mixture for session in group])[:, None, None]
        mixture = mixture if mean.ndim == 4 else mixture[0]
        square = second_moment(mean, log_scale).sum(-3)
        bound = group_kl(square, log_scale.sum(-3), size=self.heads, mixture=mixture)
        return (bound * there).sum((-2, -1)).view(len(group))

    def _alike(self, sessions: Iterable[int]) -> list[list[int]]:
        """Sessions in groups of about as many units, within which padding at most doubles the matrices."""
        size = {session: self._weight(session).mean.shape[-1] for session in sessions}
        groups: list[list[int]] = []
        for session in sorted(sessions, key=lambda s: (-size[s], s)):
            if not groups or size[session] ** 2 < _ALIKE * size[groups[-1][0]] ** 2:
                groups.append([])
            groups[-1].append(session)
        return [sorted(group) for group in groups]

    def _together(self, group: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Posterior means and log-scales of some sessions' weights, padded, (S, H, N, N); (S, N, N) which are there.

        Of a single session without the first dimension, and without a copy.
        """
        weights = [self._weight(session) for session in group]
        if len(group) == 1:
            only = weights[0].mean
            return only, weights[0].log_scale, off_diagonal(only.shape[-1], only)
        sizes = [weight.mean.shape[-1] for weight in weights]
        n = max(sizes)
        mean, log_scale = (
            torch.stack([F.pad(x, (0, n - x.shape[-1]) * 2) if x.shape[-1] < n else x for x in parts])
            for parts in ([w.mean for w in weights], [w.log_scale for w in weights])
        )
        there = off_diagonal(n, mean).expand(len(group), -1, -1)
        if min(sizes) < n:
            unit = torch.arange(n, device=mean.device) < torch.tensor(sizes, device=mean.device)[:, None]
            there = there * unit[:, None] * unit[:, :, None]
        return mean, log_scale, there

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
        append_rows(self, "source", new)
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

    def kl(self, there: SessionRows) -> Tensor:
        """(S,) KL of each session's weights, nats; the sources have a standard normal prior of variance 1 / R."""
        source = there.of_table(self.source).square().sum(1)
        return self.target.kl_by_session(there) + 0.5 * self.rank * there.sum(source)

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


def off_diagonal(n: int, like: Tensor) -> Tensor:
    """(N, N) of ones with a zero diagonal."""
    return 1 - torch.eye(n, device=like.device, dtype=like.dtype)


def _stack(weight: Tensor) -> Tensor:
    """(…, H, N, M) → (…, M, N·H), in the order of flattened traces."""
    return weight.transpose(-1, -3).flatten(-2)
