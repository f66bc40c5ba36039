"""Own history: what a unit's past events do to itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neuroformer.batch import Batch
from neuroformer.model.filters import causal_filter, log_basis
from neuroformer.model.shrinkage import ShrunkWeight


class OwnHistory(nn.Module):
    """history_j(t) = Σ_k (shared_k + own_{j, k}) · (φ_k * s_j)(t), φ a basis of raised cosines over the lag.

    `shared` belongs to the session; `own` is a unit's departure from it and shrinks to zero where data are few.
    """

    def __init__(self, *, n_lags: int, n_functions: int) -> None:
        """See the class."""
        super().__init__()
        self.register_buffer("basis", log_basis(n_lags, n_functions), persistent=False)
        self.basis: Tensor
        n_functions = self.basis.shape[0]
        self.shared = nn.Parameter(torch.zeros(0, n_functions))
        self.own = ShrunkWeight(0, n_functions)

    def add_session(self, n_units: int) -> None:
        """Make room for a session."""
        new = torch.zeros(1, self.basis.shape[0], device=self.shared.device)
        self.shared = nn.Parameter(torch.cat([self.shared.data, new]))
        self.own.grow(n_units)

    def forward(self, weight: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean and variance of the term for the bins from `batch.first_scored` on.

        Args:
            weight: (B, E) what each past event counts.
            batch: the chunks.

        Returns:
            Two (B, T − first, N).
        """
        mean = self.shared[batch.session].unsqueeze(1) + self.own.mean[batch.unit_row]  # (B, N, K)
        variance = self.own.variance[batch.unit_row]
        n_cells = batch.unit_row.numel() * (batch.n_bins - batch.first_scored)
        if 4 * batch.event_bin.numel() * self.basis.shape[1] > n_cells:
            return self._dense(weight, batch, mean, variance)
        return self._sparse(weight, batch, mean, variance)

    def _dense(self, weight: Tensor, batch: Batch, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Every cell (unit, bin); for units that fire often."""
        traces = causal_filter(batch.counts(weight), self.basis, batch.first_scored).movedim(
            1, 3
        )  # (B, N, K, T)
        return (
            (mean.unsqueeze(2) @ traces).squeeze(2).mT,
            (variance.unsqueeze(2) @ traces.square()).squeeze(2).mT,
        )

    def _sparse(self, weight: Tensor, batch: Batch, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Only cells within reach of an event of the same unit, all others are 0; for many units that fire rarely."""
        n_rows, n_units = batch.unit_row.shape
        n_out = batch.n_bins - batch.first_scored
        lag = torch.arange(1, self.basis.shape[1] + 1, device=weight.device)
        row = torch.arange(n_rows, device=weight.device).unsqueeze(1)
        train = row * n_units + batch.event_unit  # (B, E), whose history
        at = batch.event_bin.unsqueeze(-1) + lag - batch.first_scored  # (B, E, L)
        reached = (at >= 0) & (at < n_out) & batch.event_mask.unsqueeze(-1)
        cell = (train.unsqueeze(-1) * n_out + at)[reached]
        touched = torch.zeros(n_rows * n_units * n_out, dtype=torch.bool, device=weight.device)
        touched[cell] = True
        cells = touched.nonzero().squeeze(1)
        slot = (touched.cumsum(0) - 1)[cell]
        values = (weight[:, :, None, None] * self.basis.mT)[reached]
        traces = values.new_zeros(len(cells), values.shape[1]).index_add(0, slot, values)
        return (
            self._spread(traces, mean.flatten(0, 1), cells, (n_rows, n_units, n_out)),
            self._spread(traces.square(), variance.flatten(0, 1), cells, (n_rows, n_units, n_out)),
        )

    @staticmethod
    def _spread(traces: Tensor, weight: Tensor, cells: Tensor, shape: tuple[int, int, int]) -> Tensor:
        """Σ_k traces[c, k] weight[unit of c, k] at cell c of (B, N, T), as (B, T, N)."""
        n_rows, n_units, n_out = shape
        value = (traces * weight.index_select(0, cells // n_out)).sum(1)
        return value.new_zeros(n_rows * n_units * n_out).index_copy(0, cells, value).view(shape).mT

    def kl(self, session: int, rows: Tensor) -> Tensor:
        """KL of a session's weights, nats."""
        return self.own.kl(rows)

    def kernel(self, session: int, rows: Tensor) -> Tensor:
        """(N, L) log-gain of a unit's own event after 1 … L bins."""
        return (self.shared[session] + self.own.mean[rows]) @ self.basis
