"""The cells (unit, bin) in which events lie, alone: what a likelihood needs of them when most cells are left to chance.

Legend: R events in order of (row, unit, bin), K functions, L lags.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neuroformer.batch import Batch


@dataclass(frozen=True, kw_only=True)
class EventCells:
    """The real events of a batch, those of a unit one behind the other.

    Attributes:
        token: (R,) where each stands among the (B · E) padded ones.
        row: (R,) row of the batch.
        session: (R,).
        unit_row: (R,) vocabulary row of its unit.
        key: (R,) stands for (row, unit).
        time: (R,) bin.
    """

    token: Tensor
    row: Tensor
    session: Tensor
    unit_row: Tensor
    key: Tensor
    time: Tensor

    @classmethod
    def of(cls, batch: Batch) -> EventCells:
        """All events, history included."""
        n_events, n_units = batch.event_mask.shape[1], batch.unit_row.shape[1]
        token = batch.event_mask.flatten().nonzero().squeeze(1)
        row = token.div(n_events, rounding_mode="floor")
        unit, time = batch.event_unit.flatten()[token], batch.event_bin.flatten()[token]
        key = row * n_units + unit
        order = (key * batch.n_bins + time).argsort(stable=True)
        row, unit = row[order], unit[order]
        return cls(
            token=token[order],
            row=row,
            session=batch.session[row],
            unit_row=batch.unit_row[row, unit],
            key=key[order],
            time=time[order],
        )

    def own_traces(self, kernels: Tensor, weight: Tensor) -> Tensor:
        """(R, K) Σ_lag kernels[k, lag − 1] · s_j(t − lag) at each event's unit and bin, of the events of its own unit.

        Args:
            kernels: (K, L).
            weight: (R,) what each event counts.
        """
        found = weight.new_zeros(len(self.token), kernels.shape[0])
        for ago in range(1, len(self.token)):  # as far as any unit fires within L bins
            lag = self.time[ago:] - self.time[:-ago]
            near = (self.key[ago:] == self.key[:-ago]) & (lag <= kernels.shape[1])
            if not bool(near.any()):
                break
            later = (near & (lag >= 1)).nonzero().squeeze(1)
            value = kernels[:, lag[later] - 1].mT * weight[later].unsqueeze(1)
            found = found.index_add(0, later + ago, value)
        return found

    def rank(self) -> Tensor:
        """(R,) 1 for the first event of a cell, 2 for the second …: their product is k! for k events."""
        rank = torch.ones_like(self.time)
        for ago in range(1, len(self.token)):
            same = (self.key[ago:] == self.key[:-ago]) & (self.time[ago:] == self.time[:-ago])
            if not bool(same.any()):
                break
            rank[ago:] += same
        return rank
