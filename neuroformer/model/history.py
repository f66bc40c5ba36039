"""Own history: what a unit's past events do to itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neuroformer.batch import Batch
from neuroformer.model.event_cells import EventCells
from neuroformer.model.filters import log_basis
from neuroformer.model.impulses import span_of
from neuroformer.model.shrinkage import ShrunkWeight
from neuroformer.model.tables import SessionRows, append_rows
from neuroformer.model.traces import combine, own_traces


class OwnHistory(nn.Module):
    """history_j(t) = Σ_k (shared_k + own_{j, k}) · (φ_k * s_j)(t), φ a basis of raised cosines over the lag.

    `shared` belongs to the session; `own` is a unit's departure from it and shrinks to zero where data are few.
    """

    def __init__(self, *, n_lags: int, n_functions: int) -> None:
        """See the class."""
        super().__init__()
        self.register_buffer("basis", log_basis(n_lags, n_functions), persistent=False)
        self.basis: Tensor
        self.span = span_of(self.basis)
        n_functions = self.basis.shape[0]
        self.shared = nn.Parameter(torch.zeros(0, n_functions))
        self.own = ShrunkWeight(0, n_functions)

    def add_session(self, n_units: int) -> None:
        """Make room for a session."""
        append_rows(self, "shared", torch.zeros(1, self.basis.shape[0]))
        self.own.grow(n_units)

    def forward(self, weight: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean and variance of the term for the bins from `batch.first_scored` on.

        Args:
            weight: (B, E) what each past event counts.
            batch: the chunks.

        Returns:
            Two (B, T − first, N).
        """
        traces = own_traces(batch, self.basis, weight)
        # Rows of one session share their weights. In evaluation each row has its own all the same, so that what is
        # found in a chunk is the same to the last bit whatever else is in the batch.
        rows = slice(1) if torch.is_grad_enabled() and batch.one_session else slice(None)
        units = batch.unit_row[rows]
        mean = self.shared[batch.session[rows]].unsqueeze(1) + self.own.mean[units]  # (B or 1, N, K)
        variance = self.own.variance_of(units)
        return combine(traces, mean, batch), combine(traces, variance, batch, squared=True)

    def at_events(self, weight: Tensor, events: EventCells) -> tuple[Tensor, Tensor]:
        """Mean and variance of the term at the cells (unit, bin) of events alone: two (R,).

        Args:
            weight: (R,) what each event counts.
            events: where they are.
        """
        traces = events.own_traces(self.basis.to(weight.dtype), weight)
        mean = self.shared[events.session] + self.own.mean[events.unit_row]
        variance = self.own.variance_of(events.unit_row)
        return (mean * traces).sum(1), (variance * traces.square()).sum(1)

    def kl(self, there: SessionRows) -> Tensor:
        """(S,) KL of each session's weights, nats."""
        return self.own.kl_by_session(there)

    def kernel(self, session: int, rows: Tensor) -> Tensor:
        """(N, L) log-gain of a unit's own event after 1 … L bins."""
        return (self.shared[session] + self.own.mean[rows]) @ self.basis
