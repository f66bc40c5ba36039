"""Connectivity read from a trained model: coupling attention and the trunk's self-attention."""

from __future__ import annotations

import numpy as np
import torch

from neuroformer.connectivity.estimate import ConnectivityMap, from_lag_profile
from neuroformer.data import Recording, RecordingsModule
from neuroformer.model import Neuroformer
from neuroformer.model.attention import Block

_MOST_BATCHES = 20  # attention is a mean over events; a few thousand of them settle it


def coupling(model: Neuroformer, session: int) -> ConnectivityMap:
    """The model's own map: change of the target's log-intensity after an event of the source, its size over lags.

    Args:
        model: the trained model.
        session: index of the session in its vocabulary.
    """
    mean, _ = model.coupling_map(session)
    return from_lag_profile(
        "coupling",
        mean.double().cpu().numpy(),
        model.bin_s,
        description="change of the target's log-intensity after an event of the source, its size over lags",
    )


def self_attention(model: Neuroformer, data: RecordingsModule, recording: Recording) -> ConnectivityMap:
    """Attention that the state before an event of the target pays to events of the source, against chance.

    For every event of unit j the weights of the token just before its bin (the last that its intensity can
    depend on) on
    all tokens are averaged by the tokens' unit i, over heads and blocks, and divided by what unit i gets from
    such tokens on average over all targets; the map is that ratio less 1. It has no sign and no lag. As the query does
    not know which unit comes next, only what recent events tell of j shows: a baseline for the coupling, not a
    rival (Jain & Wallace 2019, arXiv 1902.10186, on reading attention).

    Args:
        model: the trained model.
        data: reads the batches.
        recording: the session; attention is averaged over its validation part.
    """
    n = recording.session.n_units
    paid, events, by_query = np.zeros((n, n)), np.zeros(n), np.zeros(n)
    trunk = model.trunk
    assert trunk is not None
    blocks = [block for block in trunk.blocks if isinstance(block, Block)]
    with torch.no_grad():
        for number, (_, batch) in enumerate(data.in_order("val", [recording])):
            if number >= _MOST_BATCHES:
                break
            x, angles, mask = trunk.embed(batch), trunk.angles(batch), trunk.mask(batch)
            weights = x.new_zeros(mask[:, 0].shape)
            for block in blocks:
                weights += block.weights(x, angles, mask).mean(1) / len(blocks)
                x = block(x, angles, mask)
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
    return ConnectivityMap(
        name="self_attention",
        matrix=ratio,
        description="attention to events of the source before an event of the target, relative to its mean over "
        "targets, less 1",
    )
