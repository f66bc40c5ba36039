"""Filtered events of every unit, for units that fire often and for units that fire rarely.

Two forms of the same numbers: every cell (unit, bin) as one array, or only the cells within reach of an event of the
same unit. Calcium events of hundreds of cells touch a few percent of the cells; there the second form is many times as
fast.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neuroformer.batch import Batch
from neuroformer.model.filters import channel_filter

Traces = tuple[Tensor, Tensor | None]
"""(B, N, K, T) and None; or (C, K) and the (C,) cells, counted in (B, N, T), that they belong to."""


def own_traces(
    batch: Batch, kernels: Tensor, weight: Tensor | None = None, *, sparse: bool | None = None
) -> Traces:
    """Filter each unit's events: Σ_lag kernels[k, lag − 1] · s_j(t − lag), for the bins from `batch.first_scored` on.

    Args:
        batch: the chunks.
        kernels: (K, L).
        weight: (B, E) what each event counts; by default 1.
        sparse: which form; by default the cheaper one.
    """
    n_rows, n_units = batch.unit_row.shape
    n_out = batch.n_bins - batch.first_scored
    if sparse is None:
        sparse = 4 * batch.event_bin.numel() * kernels.shape[1] <= n_rows * n_units * n_out
    if not sparse:
        by_unit = batch.counts(weight).transpose(
            0, 2
        )  # (N, T, B): in memory units stand before rows, see `combine`
        return channel_filter(by_unit, kernels, batch.first_scored).transpose(0, 1), None
    cell, values = _reach(batch, kernels, weight)
    touched = torch.zeros(n_rows * n_units * n_out, dtype=torch.bool, device=cell.device)
    touched[cell] = True
    slot = (touched.cumsum(0) - 1)[cell]
    cells = touched.nonzero().squeeze(1)
    return values.new_zeros(len(cells), values.shape[1]).index_add(0, slot, values), cells


def combine(traces: Traces, weight: Tensor, batch: Batch, *, squared: bool = False) -> Tensor:
    """Σ_k weight[b, j, k] · traces_k of unit j (or their squares): (B, T − first, N).

    Args:
        traces: from `own_traces`.
        weight: (B, N, K), or (1, N, K) for all rows.
        batch: the chunks.
        squared: use the squares of the traces.
    """
    values, cells = traces
    values = values.square() if squared else values
    if cells is None and len(weight) == 1:  # one product a unit for all rows
        found = weight[0].unsqueeze(1) @ values.permute(1, 2, 0, 3).flatten(2)  # (N, 1, B · T)
        return found.view(values.shape[1], len(values), -1).permute(1, 2, 0)
    if cells is None:
        return (weight.unsqueeze(2) @ values).squeeze(2).mT
    n_rows, n_units = batch.unit_row.shape
    n_out = batch.n_bins - batch.first_scored
    weight = weight.expand(n_rows, -1, -1)
    found = (values * weight.flatten(0, 1).index_select(0, cells // n_out)).sum(1)
    return (
        found.new_zeros(n_rows * n_units * n_out).index_copy(0, cells, found).view(n_rows, n_units, n_out).mT
    )


def all_traces(batch: Batch, kernels: Tensor, weight: Tensor | None = None) -> Tensor:
    """(B, N, K, T − first): as `own_traces`, always with every cell, by the cheaper way."""
    values, cells = own_traces(batch, kernels, weight)
    if cells is None:
        return values.contiguous()
    n_rows, n_units = batch.unit_row.shape
    n_out = batch.n_bins - batch.first_scored
    full = values.new_zeros(n_rows * n_units * n_out, values.shape[1]).index_copy(0, cells, values)
    return full.view(n_rows, n_units, n_out, -1).movedim(3, 2)


def _reach(batch: Batch, kernels: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """What every event adds to the cells in its reach: (M,) cells with repeats, and (M, K) values."""
    n_rows, n_units = batch.unit_row.shape
    n_out = batch.n_bins - batch.first_scored
    lag = torch.arange(1, kernels.shape[1] + 1, device=kernels.device)
    row = torch.arange(n_rows, device=kernels.device).unsqueeze(1)
    at = batch.event_bin.unsqueeze(-1) + lag - batch.first_scored  # (B, E, L)
    reached = (at >= 0) & (at < n_out) & batch.event_mask.unsqueeze(-1)
    cell = ((row * n_units + batch.event_unit).unsqueeze(-1) * n_out + at)[reached]
    if weight is None:
        weight = torch.ones_like(batch.event_mask, dtype=kernels.dtype)
    return cell, (weight[:, :, None, None] * kernels.mT)[reached]
