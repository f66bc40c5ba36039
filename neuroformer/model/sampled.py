"""The likelihood of many units from the silence of a few.

    log p = Σ_events (log λ − log rank) − Σ_{t, j} λ_j(t)

The first sum runs over the events and is exact. The second, over all cells, is estimated from drawn units S, each
weighted by the inverse of its chance π_j of being drawn (Horvitz & Thompson 1952, JASA 47:663): the expectation over
draws is the sum, whatever the chances are, and so is that of every gradient. Chances are half uniform and half by mean
rate, so that the sum hardly varies from draw to draw; units that are sure to be drawn count once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuroformer.batch import Batch
from neuroformer.model.coupling import LowRankCoupling
from neuroformer.model.event_cells import EventCells

if TYPE_CHECKING:
    from neuroformer.model.neuroformer import Neuroformer, Past


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Units drawn in every row.

    Attributes:
        columns: (B, n) of `Batch.unit_row`.
        weight: (B, n) what each counts, 1 / π; 0 where fewer were drawn.
    """

    columns: Tensor
    weight: Tensor


def draw_units(model: Neuroformer, batch: Batch, size: int) -> Drawn:
    """Draw about `size` units in every row, by their mean rates."""
    rate = model.bias.detach()[batch.unit_row].exp() * batch.unit_mask
    share = 0.5 * rate / rate.sum(1, keepdim=True) + 0.5 * batch.unit_mask / batch.unit_mask.sum(
        1, keepdim=True
    )
    chance = (size * share).clamp(max=1) * batch.unit_mask
    order = torch.rand(chance.shape, device=chance.device).argsort(1)
    return draw_by(chance, order, torch.rand(len(chance), 1, device=chance.device))


def draw_by(chance: Tensor, order: Tensor, start: Tensor) -> Drawn:
    """Systematic sampling: unit j is drawn with chance π_j exactly, and about Σ π units are.

    Laid end to end in a random order, units are stretches of length π_j; drawn are those on which a tick falls, ticks
    being a unit length apart and the first uniform in it.

    Args:
        chance: (B, N) each unit's π, 0 … 1.
        order: (B, N) permutation of the units.
        start: (B, 1) place of the first tick, 0 … 1.
    """
    laid = chance.double().gather(1, order)
    ends = torch.cat([torch.zeros_like(laid[:, :1]), laid.cumsum(1)], 1) - start
    drawn = torch.ceil(ends).diff(dim=1) > 0
    most = int(drawn.sum(1).max())
    picked = drawn.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :most]
    columns = order.gather(1, picked)
    weight = torch.where(drawn.gather(1, picked), 1 / chance.gather(1, columns).clamp(min=1e-30), 0.0)
    return Drawn(columns=columns, weight=weight.to(chance.dtype))


def part_of(batch: Batch, columns: Tensor) -> Batch:
    """The chunks with some of their units (B, n) and the events of these alone; no unit is named twice in a row."""
    n_rows, n = columns.shape
    device = columns.device
    new = torch.full(batch.unit_row.shape, -1, device=device)
    new.scatter_(1, columns, torch.arange(n, device=device).expand(n_rows, n))
    unit = new.gather(1, batch.event_unit)
    kept = batch.event_mask & (unit >= 0)
    # Kept events move to the front of their row, in order.
    place = kept.to(torch.int8).argsort(dim=1, descending=True, stable=True)[
        :, : max(1, int(kept.sum(1).max()))
    ]
    return replace(
        batch,
        unit_row=batch.unit_row.gather(1, columns),
        unit_mask=batch.unit_mask.gather(1, columns),
        event_unit=unit.gather(1, place).clamp(min=0),
        event_bin=batch.event_bin.gather(1, place),
        event_level=batch.event_level.gather(1, place),
        event_mask=kept.gather(1, place),
    )


def sampled_log_likelihood(model: Neuroformer, batch: Batch, past: Past, drawn: Drawn) -> Tensor:
    """Log-likelihood of all scored cells in nats, unbiased over draws.

    Args:
        model: with a coupling of low rank.
        batch: the chunks.
        past: of the chunks.
        drawn: the units whose silence is looked at.
    """
    part = part_of(batch, drawn.columns)
    mean, variance = model.targets(part, past, with_context=True)
    scored = batch.scored[:, batch.first_scored :, None] * (drawn.weight * part.unit_mask).unsqueeze(1)
    return _at_events(model, batch, past) - ((mean + 0.5 * variance).exp() * scored).sum()


def _at_events(model: Neuroformer, batch: Batch, past: Past) -> Tensor:
    """Σ log λ − log rank over the scored events."""
    events = EventCells.of(batch)
    assert isinstance(model.coupling, LowRankCoupling)
    assert past.latent is not None
    history, history_variance = model.history.at_events(past.weight.flatten()[events.token], events)
    log_intensity = model.bias[events.unit_row] + history + 0.5 * history_variance
    scored = batch.scored[events.row, events.time].nonzero().squeeze(1)
    row, at, unit_row = events.row[scored], events.time[scored] - batch.first_scored, events.unit_row[scored]
    total = (log_intensity[scored] - events.rank()[scored].to(log_intensity.dtype).log()).sum()
    shared = [(past.latent.mT, model.coupling.target)]
    if model.trunk is not None and past.state is not None:
        shared.append((past.state, model.trunk.readout))
    if model.context_path is not None and past.features is not None:
        shared.append((past.features, model.context_path.tuning))
        total = total + (past.features[row, at] @ model.context_path.common).sum()
    for values, weight in shared:
        value = values[row, at]
        total = total + (value * weight.mean[unit_row]).sum()
        total = total + 0.5 * (value.square() * weight.variance_of(unit_row)).sum()
    return total
