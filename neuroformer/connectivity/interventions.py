"""In-silico experiments on a trained model: add an event of one unit, or take all of its events away.

Both read the whole model, trunk included, so what they show is what an event *tells* about the others in this model,
through its couplings and through the shared state alike. Where the state infers a hidden drive from events, an added
event moves it too: on confounded circuits these maps are wider than the wiring.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from neuroformer.connectivity.estimate import ConnectivityMap, from_lag_profile
from neuroformer.connectivity.nulls import by_central_spread
from neuroformer.data import Chunk, Recording, RecordingsModule, Span, Vocabulary
from neuroformer.data.collate import collate
from neuroformer.data.tokens import Tokens
from neuroformer.errors import UserError
from neuroformer.model import Neuroformer

ROWS = 32  # rows of a batch
MOST_SILENCED_S = 1200.0  # seconds of recording that are run through the model for all units together
LEAST_SILENCED_S = 15.0  # seconds for each unit all the same
PIECES = 4


def stimulation(
    model: Neuroformer,
    data: RecordingsModule,
    recording: Recording,
    *,
    contexts: int = 12,
    n_lags: int | None = None,
    rng: np.random.Generator,
) -> ConnectivityMap:
    """Add one event of the source to the real past and read the change of every target's log-intensity, by lag.

    Args:
        model: the trained model.
        data: knows the vocabulary.
        recording: the session; the pasts are drawn from its validation part.
        contexts: how many pasts; the change is averaged over them.
        n_lags: lags read after the event, by default those of the coupling.
        rng: draws the pasts.
    """
    lags = n_lags or model.coupling.kernels.logits.shape[1]
    n = recording.session.n_units
    spans = [span for span in recording.part("val") if len(span) >= lags]
    if not spans:
        raise UserError(
            f"{recording.session.path}: no stretch of the validation part has the {lags} bins of the coupling's lags; "
            "expected one, use a longer recording or leave out stimulation and silencing"
        )
    room = np.array([len(span) - lags + 1 for span in spans])
    profile = np.zeros((n, n, lags))
    for _ in range(contexts):
        span = spans[rng.choice(len(spans), p=room / room.sum())]
        start = int(rng.integers(span.start, span.stop - lags + 1))
        chunk = recording.chunk(
            Span(epoch=span.epoch, start=start, stop=start + lags), model.context, _edges(data, recording)
        )
        base = _log_intensity(model, [chunk], data.vocabulary)[0]
        for first in range(0, n, ROWS):
            sources = range(first, min(first + ROWS, n))
            changed = [_with_event(chunk, unit) for unit in sources]
            found = _log_intensity(model, changed, data.vocabulary)  # (rows, T, N)
            profile[list(sources)] += (found - base).transpose(0, 2, 1) / contexts
    profile[np.eye(n, dtype=bool)] = 0
    return by_central_spread(
        from_lag_profile(
            "stimulation",
            profile,
            model.bin_s,
            description="change of the target's log-intensity after an added event of the source, its size over lags",
        )
    )


def silencing(model: Neuroformer, data: RecordingsModule, recording: Recording) -> ConnectivityMap:
    """Take the source's events away and read what every target's log-intensity loses after each of them, by lag.

    The profile is the mean over the source's events e of Δ_j(e + l), Δ_j(t) the log-intensity with the source less that
    without, less the mean of Δ_j over all bins: what is lost at any time alike is no influence at a lag.

    Args:
        model: the trained model.
        data: knows the vocabulary.
        recording: the session; pieces spread over its validation part are used, of a total length that keeps the work
            of all units in bounds and is at least `LEAST_SILENCED_S`.
    """
    lags = model.coupling.kernels.logits.shape[1]
    n = recording.session.n_units
    budget = max(4 * lags, round(max(MOST_SILENCED_S / n, LEAST_SILENCED_S) / recording.bin_s))
    chunks = _chunks(recording, model.context, budget, _edges(data, recording))
    profile = np.zeros((n, n, lags))
    base = _log_intensity(model, chunks, data.vocabulary)  # (chunks, T, N), padded
    for unit in range(n):
        silenced = [_without(chunk, unit) for chunk in chunks]
        change = base - _log_intensity(model, silenced, data.vocabulary)
        after, events, total, bins = np.zeros((n, lags)), np.zeros(lags), np.zeros(n), 0
        for delta, chunk in zip(change, chunks, strict=True):
            delta = delta[: chunk.n_scored]
            total, bins = total + delta.sum(0), bins + len(delta)
            at = chunk.tokens.bins[chunk.tokens.units == unit] - chunk.history
            for lag in range(1, lags + 1):
                seen = at + lag
                seen = seen[(seen >= 0) & (seen < len(delta))]
                after[:, lag - 1] += delta[seen].sum(0)
                events[lag - 1] += len(seen)
        profile[unit] = np.where(events > 0, after / np.maximum(events, 1) - total[:, None] / bins, 0.0)
        profile[unit, unit] = 0
    return by_central_spread(
        from_lag_profile(
            "silencing",
            profile,
            model.bin_s,
            description="what the target's log-intensity loses after each event of the source when all are taken away, "
            "its size over lags",
        )
    )


def _edges(data: RecordingsModule, recording: Recording) -> np.ndarray | None:
    return data.vocabulary[recording.session_id].level_edges


def _chunks(recording: Recording, context: int, budget: int, edges: np.ndarray | None) -> list[Chunk]:
    """About `budget` bins of the validation part, in pieces spread over it."""
    size = max(budget // PIECES, 1)
    tiles = recording.tiles("val", size, shift=size)
    chosen = sorted({round(k) for k in np.linspace(0, len(tiles) - 1, min(PIECES, len(tiles)))})
    return [recording.chunk(tiles[k], context, edges) for k in chosen]


def _with_event(chunk: Chunk, unit: int) -> Chunk:
    """The chunk with one more event of a unit, of the lowest level, in the last bin before the scored ones."""
    tokens, at = chunk.tokens, chunk.history - 1
    place = int(np.searchsorted(tokens.bins * 2**32 + tokens.units, at * 2**32 + unit))
    return replace(
        chunk,
        tokens=Tokens(
            bins=np.insert(tokens.bins, place, at),
            units=np.insert(tokens.units, place, unit),
            levels=np.insert(tokens.levels, place, 0),
        ),
    )


def _without(chunk: Chunk, unit: int) -> Chunk:
    tokens = chunk.tokens
    kept = tokens.units != unit
    return replace(
        chunk, tokens=Tokens(bins=tokens.bins[kept], units=tokens.units[kept], levels=tokens.levels[kept])
    )


def _log_intensity(model: Neuroformer, chunks: list[Chunk], vocabulary: Vocabulary) -> np.ndarray:
    """(chunks, T, N) log-intensities of the scored bins; what lies beyond a shorter chunk's end means nothing."""
    longest = max(chunk.n_scored for chunk in chunks)
    parts = []
    with torch.no_grad():
        for first in range(0, len(chunks), ROWS):
            found = model(collate(chunks[first : first + ROWS], vocabulary))[0].double().numpy()
            parts.append(np.pad(found, ((0, 0), (0, longest - found.shape[1]), (0, 0))))
    return np.concatenate(parts)
