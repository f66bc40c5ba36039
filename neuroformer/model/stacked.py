"""The likelihood of a training step in few large products.

The same number as `Neuroformer.likelihood`, and the same gradients, for training on a CPU. What differs is the order in
memory: features before bins, so that every term of the intensity is a product of a matrix of weights with a matrix of
features, and the expectation over the weights' posteriors,

    log E λ = W x + ½ V x²,

is one product for all terms together, [W, ½ V] with [x; x²]. Otherwise a small model spends most of its time on moving
cells from one order to another.

Legend: B rows (chunks), in G groups of R with the same weights: one group where all are of one session, else B groups
of one row; N units, T bins, T' = T − first, C features, H heads, D width of a token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from neuroformer.batch import Batch
from neuroformer.model.coupling import FullCoupling, LowRankCoupling
from neuroformer.model.filters import channel_filter, unit_filter
from neuroformer.model.impulses import Impulses, products_of
from neuroformer.model.observation import poisson_total

if TYPE_CHECKING:
    from neuroformer.model.neuroformer import Neuroformer

_WORTH = 2.0  # times as long as a number of the filtered events takes one that an impulse adds
_FEW_UNITS = 256  # up to which a bin's tokens are summed by a product over units, not one by one


def suits(model: Neuroformer, batch: Batch) -> bool:
    """Whether `log_likelihood` can score the chunks, and is known to be the faster way."""
    device = batch.scored.device.type
    return (
        device == "cpu"
        and not torch.is_autocast_enabled(device)
        and (isinstance(model.coupling, LowRankCoupling) or model.coupling.are_alike(batch.session.tolist()))
    )


def log_likelihood(model: Neuroformer, batch: Batch) -> tuple[Tensor, Tensor | None]:
    """Log-likelihood of all scored cells in nats, (), and the slow state (B, T', S) or None.

    Args:
        model: the model.
        batch: the chunks; with full coupling matrices, of sessions of about as many units.
    """
    coupling, trunk, path = model.coupling, model.trunk, model.context_path
    first = batch.first_scored
    rows = slice(1) if batch.one_session else slice(None)  # one of each group
    unit_row, sessions = batch.unit_row[rows], batch.session[rows]
    weight = model.event_weight(batch)
    seen = _counts(batch, weight, len(sessions))
    counts = seen if model.n_levels == 1 else _counts(batch, torch.ones_like(weight), len(sessions))
    n_groups, n_units, n_rows, _ = counts.shape

    if isinstance(coupling, FullCoupling):
        # In memory (H, G · N, R, T').
        traces = channel_filter(seen.flatten(0, 1).mT, coupling.kernels(), first)
        features = [traces.movedim(2, 0).unflatten(1, (n_groups, n_units)).transpose(0, 1).flatten(1, 2)]
        weights = [coupling.matrices(sessions.tolist())]
    else:
        features = [coupling.latent(weight, batch).unflatten(0, (n_groups, n_rows)).transpose(1, 2)]
        weights = [(coupling.target.mean[unit_row], coupling.target.variance_of(unit_row))]
    state = None
    if trunk is not None:
        shift = model.state_shift(batch)
        if trunk.blocks or n_units > _FEW_UNITS:
            state = trunk.state(batch, weight, shift=shift)
        else:
            state = trunk.state_of_counts(seen, sessions, unit_row, first, shift=shift)
        features.append(_features_first(state, n_groups))
        weights.append((trunk.readout.mean[unit_row], trunk.readout.variance_of(unit_row)))
    if path is not None:
        found = path.features(batch).expand(len(batch.session), batch.n_bins - first, -1)
        features.append(_features_first(found, n_groups))
        weights.append((path.tuning.mean[unit_row] + path.common, path.tuning.variance_of(unit_row)))
    log_intensity = _Expected.apply(
        torch.cat([mean for mean, _ in weights] + [0.5 * variance for _, variance in weights], 2),
        torch.cat([x.flatten(2) for x in features], 1),
    )
    own = _own_history(model, batch, seen, weight, sessions, unit_row)
    log_intensity = log_intensity.view_as(own) + own + model.bias[unit_row][:, :, None, None]
    scored = batch.scored[:, first:].view(n_groups, 1, n_rows, -1)
    if not bool(batch.unit_mask.all()):
        scored = scored & batch.unit_mask[rows, :, None, None]
    return poisson_total(log_intensity, counts[..., first:], scored), state


def _own_history(
    model: Neuroformer, batch: Batch, seen: Tensor, weight: Tensor, sessions: Tensor, unit_row: Tensor
) -> Tensor:
    """(G, N, R, T') mean and half the variance of the own history."""
    history, first = model.history, batch.first_scored
    n_functions, n_lags = history.basis.shape
    n_groups, n_units, n_rows, n_bins = seen.shape
    mean = (history.shared[sessions].unsqueeze(1) + history.own.mean[unit_row]).flatten(0, 1)  # (G · N, K)
    variance = history.own.variance_of(unit_row).flatten(0, 1)
    begin = max(0, first - n_lags)
    event = (batch.event_mask & (batch.event_bin >= begin)).flatten().nonzero().squeeze(1)
    series = _series(batch, n_groups).flatten()[event]
    n_series = n_groups * n_units * n_rows
    # About as many as if the events of a unit did not depend on one another.
    n_pairs = float(series.bincount().double().square().sum()) * history.span / max(1, n_bins - begin)
    if _WORTH * (len(event) + n_pairs) * n_lags <= n_series * (n_bins - first) * n_functions:
        impulses = Impulses.of(
            series,
            batch.event_bin.flatten()[event] - begin,
            None if model.n_levels == 1 else weight.flatten()[event],
            n_distances=history.span,
        )
        kernels = impulses.kernels(mean, variance, history.basis, products_of(history.basis, history.span))
        unit = torch.arange(n_groups * n_units, device=event.device).repeat_interleave(n_rows)
        found = impulses.add(kernels, unit, n_series=n_series, n_bins=n_bins - begin)
        return found[:, first - begin :].view(n_groups, n_units, n_rows, -1)
    traces = unit_filter(seen.flatten(0, 1), history.basis, first)
    mean, variance = mean.unsqueeze(1), variance.unsqueeze(1)
    both = torch.baddbmm(mean @ traces.values, variance, traces.values.square(), alpha=0.5)
    return traces.in_order(both.squeeze(1)).view(n_groups, n_units, n_rows, -1)


def _features_first(x: Tensor, n_groups: int) -> Tensor:
    """(B, T', C) → (G, C, R, T')."""
    found: Tensor = x.unflatten(0, (n_groups, -1)).movedim(3, 1)
    return found


def _series(batch: Batch, n_groups: int) -> Tensor:
    """(B, E) number of each event's series of bins in the order (G, N, R)."""
    n_all, n_units = batch.unit_row.shape
    row = torch.arange(n_all, device=batch.event_unit.device).unsqueeze(1)
    # One group: units before rows. As many groups as rows: rows before units.
    return row * n_units + batch.event_unit if n_groups > 1 else batch.event_unit * n_all + row


def _counts(batch: Batch, weight: Tensor, n_groups: int) -> Tensor:
    """(G, N, R, T) events of each unit in each bin, each counting its weight (B, E)."""
    n_all, n_units = batch.unit_row.shape
    counts = weight.new_zeros(n_units * n_all * batch.n_bins)
    cell = _series(batch, n_groups) * batch.n_bins + batch.event_bin
    counts = counts.scatter_add(0, cell.flatten(), (weight * batch.event_mask).flatten())
    return counts.view(n_groups, n_units, n_all // n_groups, batch.n_bins)


class _Expected(torch.autograd.Function):
    """[W, ½ V] · [x; x²]: (G, N, 2 C) and (G, C, cells) → (G, N, cells)."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, x: Tensor) -> Tensor:
        """Of the weights and the features."""
        both = torch.cat([x, x], 1)
        both[:, x.shape[1] :].mul_(x)
        ctx.save_for_backward(weights, both)
        return weights @ both

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Of both."""
        weights, both = ctx.saved_tensors
        n = both.shape[1] // 2
        of_both = weights.mT @ gradient
        return gradient @ both.mT, of_both[:, :n].addcmul_(both[:, :n], of_both[:, n:], value=2)
