"""Log-likelihoods of several models on the same bins, summed over blocks of time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neuroformer.batch import Batch
from neuroformer.data import Part, Recording, RecordingsModule, Span
from neuroformer.errors import UserError
from neuroformer.model.observation import poisson_log_likelihood

LogIntensity = Callable[[Batch], Tensor]
"""From a batch to (B, T − first, N) log expected events per bin of the bins from `batch.first_scored` on."""


@dataclass(frozen=True, kw_only=True)
class BlockScores:
    """What each method gives the events of each unit in each block of held-out time.

    Attributes:
        start: (M,) left edge of each block in seconds.
        seconds: (M,) scored time in each block; below the block's length at the ends of a span.
        events: (M, N) events.
        log_likelihood: per method, (M, N) nats of the events given the past.
        truth: (M, N) nats under the intensities that made the events, where the session knows them and the
            block is whole, else
            NaN; None for a real recording.
    """

    start: np.ndarray
    seconds: np.ndarray
    events: np.ndarray
    log_likelihood: Mapping[str, np.ndarray]
    truth: np.ndarray | None


def score_blocks(
    data: RecordingsModule,
    recording: Recording,
    methods: Mapping[str, LogIntensity],
    *,
    part: Part = "test",
    block_s: float = 1.0,
) -> BlockScores:
    """Score a part of a recording, every bin once and with the whole context before it.

    Args:
        data: reads the batches.
        recording: whose part.
        methods: what to score, by name.
        part: which part.
        block_s: length of a block in seconds; a session with truth uses the blocks of its truth.

    Raises:
        UserError: the part holds no event.
    """
    truth = recording.session.truth
    if truth is not None and not len(truth.block_starts):
        truth = None  # simulated, but the likelihood of the events is not known
    block_s = truth.block_s if truth is not None else block_s
    origin = float(truth.block_starts[0]) if truth is not None else recording.session.start
    n_units = recording.session.n_units
    sums: dict[int, dict[str, np.ndarray]] = {}
    seconds: dict[int, float] = {}
    with torch.no_grad():
        for keys, batch in data.in_order(part, [recording]):
            first = batch.first_scored
            scored = batch.scored[:, first:]
            counts = batch.counts(scored_only=True)
            found = {name: poisson_log_likelihood(method(batch), counts) for name, method in methods.items()}
            found["events"] = counts
            for row, key in enumerate(keys):
                block = _blocks(recording, key.span, origin, block_s)
                n_bins = len(key.span)
                assert int(scored[row].sum()) == n_bins
                for index in np.unique(block):
                    inside = torch.from_numpy(block == index)
                    seconds[index] = seconds.get(index, 0.0) + float(inside.sum()) * recording.bin_s
                    into = sums.setdefault(index, {name: np.zeros(n_units) for name in found})
                    for name, cells in found.items():
                        into[name] += cells[row, :n_bins, :n_units][inside].double().sum(0).numpy()
    order = sorted(sums)
    stacked = {name: np.stack([sums[i][name] for i in order]) for name in [*methods, "events"]}
    events = stacked.pop("events")
    if events.sum() == 0:
        raise UserError(
            f"{recording.session.path}: no event in the {part} part; use a longer recording or another data.split"
        )
    whole = np.array([seconds[i] for i in order])
    return BlockScores(
        start=origin + np.array(order) * block_s,
        seconds=whole,
        events=events,
        log_likelihood=stacked,
        truth=None
        if truth is None
        else np.stack(
            [
                truth.log_likelihood[i] if abs(whole[k] - block_s) < 1e-6 else np.full(n_units, np.nan)
                for k, i in enumerate(order)
            ]
        ),
    )


def _blocks(recording: Recording, span: Span, origin: float, block_s: float) -> np.ndarray:
    """Block of each bin of a span, by the middle of the bin."""
    epoch = recording.epochs[span.epoch]
    middle = epoch.start + (np.arange(span.start, span.stop) + 0.5) * epoch.bin_s
    return np.floor((middle - origin) / block_s).astype(np.int64)


def log_likelihood(data: RecordingsModule, recording: Recording, method: LogIntensity, span: Span) -> float:
    """Exact log-likelihood in nats of the events (units and bins) of a span, given the recording before it.

    Args:
        data: reads the batches; its context must reach as far back as the method looks.
        recording: whose events.
        method: a model's intensities.
        span: which bins.
    """
    total = 0.0
    with torch.no_grad():
        for batch in data.batches_of(recording, [span]):
            counts = batch.counts(scored_only=True)
            cells = poisson_log_likelihood(method(batch), counts)
            cells = cells * batch.scored[:, batch.first_scored :, None] * batch.unit_mask[:, None]
            total += float(cells.double().sum())
    return total
