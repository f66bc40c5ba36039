"""Connectivity read from the trunk's self-attention: raw, rolled out, and weighted by gradients.

None of them knows which unit comes next when it attends, so only what recent events tell of the target can show:
baselines for the coupling, not rivals (Jain & Wallace 2019, arXiv 1902.10186, on reading attention as explanation).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from neuroformer.batch import Batch
from neuroformer.connectivity.estimate import ConnectivityMap
from neuroformer.connectivity.nulls import by_central_spread
from neuroformer.data import Recording, RecordingsModule
from neuroformer.model import Neuroformer
from neuroformer.model.attention import Block
from neuroformer.model.trunk import Trunk

_MOST_BATCHES = 20  # attention is a mean over events; a few thousand of them settle it
_GRADIENT_BATCHES = 2  # each costs a backward pass per unit


def self_attention(model: Neuroformer, data: RecordingsModule, recording: Recording) -> ConnectivityMap:
    """Attention that the state before an event of the target pays to events of the source, against chance.

    For every event of unit j the weights of the token just before its bin (the last that its intensity can depend on)
    on all tokens are averaged by the tokens' unit i, over heads and blocks, and divided by what unit i gets from such
    tokens on average over all targets; the map is that ratio less 1. It has no sign and no lag.

    Args:
        model: the trained model.
        data: reads the batches.
        recording: the session; attention is averaged over its validation part.
    """
    return _paid(
        "self_attention",
        lambda weights: torch.stack(weights).mean(0),
        model,
        data,
        recording,
        description="attention to events of the source before an event of the target, relative to its mean over "
        "targets, less 1",
    )


def attention_rollout(model: Neuroformer, data: RecordingsModule, recording: Recording) -> ConnectivityMap:
    """As `self_attention`, with the attention of all blocks multiplied up: Π (A + 1) / 2.

    Attention rollout (Abnar & Zuidema 2020, arXiv 2005.00928, section 3): the residual stream carries half.
    """
    return _paid(
        "attention_rollout",
        rolled_out,
        model,
        data,
        recording,
        description="attention rolled out over blocks, to events of the source before an event of the target, "
        "relative to its mean over targets, less 1",
    )


def rolled_out(weights: list[Tensor]) -> Tensor:
    """Attention (B, E, E) of the last block's tokens to the first block's, from the weights of each; rows sum to 1."""
    one = torch.eye(weights[0].shape[-1], dtype=weights[0].dtype)
    total = one
    for block in weights:
        total = (block + one) / 2 @ total
    return total


def attention_gradient(model: Neuroformer, data: RecordingsModule, recording: Recording) -> ConnectivityMap:
    """Attention times the gradient of the target's log-intensity in it, summed over an event of the source as key.

    For target j, Σ over blocks, heads and queries of A ⊙ ∂(Σ_t log λ_j(t)) / ∂A, per event of source i, each attention
    pattern on its own with the others held fixed. After Chefer, Gur & Wolf 2021 (arXiv 2103.15679), who average over
    heads and cut at zero; here the sign is kept.

    Args:
        model: the trained model.
        data: reads the batches.
        recording: the session; the sum runs over its validation part.
    """
    n = recording.session.n_units
    total, events = np.zeros((n, n)), np.zeros(n)
    trunk, blocks = _blocks(model)
    for number, batch in enumerate(_batches(data, recording)):
        if number >= _GRADIENT_BATCHES:
            break
        x, angles, mask = trunk.embed(batch).detach(), trunk.angles(batch), trunk.mask(batch)
        weights = []
        for block in blocks:
            attention = block.weights(x, angles, mask).detach().requires_grad_()
            weights.append(attention)
            x = block.attended(x, angles, attention)
        state = trunk.state(batch, model.event_weight(batch), tokens=x)
        mean, variance = trunk(state, batch)
        scored = batch.scored[:, batch.first_scored :, None]
        log_intensity = ((mean + variance / 2) * scored).sum((0, 1))  # (N,)
        source = F.one_hot(batch.event_unit, n) * batch.event_mask.unsqueeze(-1)  # (B, E, N)
        events += source.sum((0, 1)).double().numpy()
        for target in range(n):
            slopes = torch.autograd.grad(log_intensity[target], weights, retain_graph=True)
            by_key = sum((w.detach() * g).sum((1, 2)) for w, g in zip(weights, slopes, strict=True))  # (B, E)
            assert isinstance(by_key, Tensor)
            total[:, target] += torch.einsum("be,ben->n", by_key, source.to(by_key)).double().numpy()
    matrix = total / np.maximum(events, 1)[:, None]
    np.fill_diagonal(matrix, 0.0)
    return by_central_spread(
        ConnectivityMap(
            name="attention_gradient",
            matrix=matrix,
            description="attention to an event of the source times the gradient of the target's log-intensity in it",
        )
    )


def _paid(
    name: str,
    combine: Callable[[list[Tensor]], Tensor],
    model: Neuroformer,
    data: RecordingsModule,
    recording: Recording,
    *,
    description: str,
) -> ConnectivityMap:
    """The map of attention paid just before events, for one way to combine (B, E, E) weights of the blocks."""
    n = recording.session.n_units
    paid, events, by_query = np.zeros((n, n)), np.zeros(n), np.zeros(n)
    trunk, blocks = _blocks(model)
    with torch.no_grad():
        for batch in _batches(data, recording):
            x, angles, mask = trunk.embed(batch), trunk.angles(batch), trunk.mask(batch)
            by_block = []
            for block in blocks:
                by_block.append(block.weights(x, angles, mask).mean(1))
                x = block(x, angles, mask)
            weights = combine(by_block)
            for row in range(len(batch.session)):
                real = batch.event_mask[row]
                unit, at = batch.event_unit[row][real].numpy(), batch.event_bin[row][real].numpy()
                query = np.searchsorted(at, at, side="left") - 1  # the last token of an earlier bin
                scored = (query >= 0) & (at >= batch.first_scored)
                paid_row = weights[row][: len(unit), : len(unit)].double().numpy()[query[scored]]
                if scored.any():
                    per_source = np.stack([np.bincount(unit, weights=w, minlength=n) for w in paid_row])
                    np.add.at(paid.T, unit[scored], per_source)
                    np.add.at(events, unit[scored], 1)
                    by_query += per_source.sum(0)
    expected = by_query / max(1, events.sum())
    mean = paid / np.maximum(events, 1)
    ratio = np.where(
        (expected[:, None] > 0) & (events > 0), mean / np.maximum(expected[:, None], 1e-12) - 1, 0.0
    )
    np.fill_diagonal(ratio, 0.0)
    return by_central_spread(ConnectivityMap(name=name, matrix=ratio, description=description))


def _blocks(model: Neuroformer) -> tuple[Trunk, list[Block]]:
    trunk = model.trunk
    assert trunk is not None, "the model has no trunk"
    return trunk, [block for block in trunk.blocks if isinstance(block, Block)]


def _batches(data: RecordingsModule, recording: Recording) -> Iterator[Batch]:
    for number, (_, batch) in enumerate(data.in_order("val", [recording])):
        if number >= _MOST_BATCHES:
            break
        yield batch
