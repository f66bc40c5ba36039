"""Chunks of several sessions → one padded batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from neuroformer.batch import Batch, FrameStack, Variable
from neuroformer.data.recording import Chunk
from neuroformer.data.vocabulary import Vocabulary


def collate(chunks: Sequence[Chunk], vocabulary: Vocabulary) -> Batch:
    """Pad chunks to the most units, events and scored bins among them.

    All chunks have the same history, so that scoring begins at one bin in every row.
    """
    history = chunks[0].history
    assert all(c.history == history for c in chunks)
    n_rows = len(chunks)
    n_units = max(vocabulary[c.session_id].n_units for c in chunks)
    n_events = max(1, *(len(c.tokens) for c in chunks))
    n_scored = max(c.n_scored for c in chunks)
    session = np.zeros(n_rows, np.int64)
    unit_row = np.zeros((n_rows, n_units), np.int64)
    unit_mask = np.zeros((n_rows, n_units), bool)
    event = np.zeros((3, n_rows, n_events), np.int64)
    event_mask = np.zeros((n_rows, n_events), bool)
    scored = np.zeros((n_rows, history + n_scored), bool)
    for row, chunk in enumerate(chunks):
        entry = vocabulary[chunk.session_id]
        session[row] = vocabulary.index(chunk.session_id)
        first = vocabulary.offset(chunk.session_id)
        unit_row[row, : entry.n_units] = np.arange(first, first + entry.n_units)
        unit_mask[row, : entry.n_units] = True
        tokens = chunk.tokens
        for k, values in enumerate((tokens.units, tokens.bins, tokens.levels)):
            event[k, row, : len(tokens)] = values
        event_mask[row, : len(tokens)] = True
        scored[row, history : history + chunk.n_scored] = True
    return Batch(
        session=torch.from_numpy(session),
        unit_row=torch.from_numpy(unit_row),
        unit_mask=torch.from_numpy(unit_mask),
        event_unit=torch.from_numpy(event[0]),
        event_bin=torch.from_numpy(event[1]),
        event_level=torch.from_numpy(event[2]),
        event_mask=torch.from_numpy(event_mask),
        scored=torch.from_numpy(scored),
        variables=_variables(chunks, vocabulary, history + n_scored),
        frames=_frames(chunks, vocabulary),
    )


def _variables(chunks: Sequence[Chunk], vocabulary: Vocabulary, n_bins: int) -> dict[str, Variable]:
    found = {}
    for name, entry in vocabulary.variables.items():
        if entry.kind == "frames" or not any(name in c.variables for c in chunks):
            continue
        categorical = entry.kind == "categorical"
        values = torch.zeros(
            len(chunks), n_bins, *entry.shape, dtype=torch.long if categorical else torch.get_default_dtype()
        )
        known = torch.zeros(len(chunks), n_bins, dtype=torch.bool)
        for row, chunk in enumerate(chunks):
            if name in chunk.variables:
                binned = chunk.variables[name]
                values[row, : len(binned.known)] = torch.from_numpy(binned.values)
                known[row, : len(binned.known)] = torch.from_numpy(binned.known)
        found[name] = Variable(values=values, known=known)
    return found


def _frames(chunks: Sequence[Chunk], vocabulary: Vocabulary) -> dict[str, FrameStack]:
    found = {}
    for name, entry in vocabulary.variables.items():
        sizes = [len(c.frames[name].bins) if name in c.frames else 0 for c in chunks]
        if entry.kind != "frames" or not max(sizes):
            continue
        values = torch.zeros(len(chunks), max(sizes), *entry.shape)
        bins = torch.zeros(len(chunks), max(sizes), dtype=torch.long)
        known = torch.zeros(len(chunks), max(sizes), dtype=torch.bool)
        for row, (chunk, size) in enumerate(zip(chunks, sizes, strict=True)):
            if size:
                values[row, :size] = torch.from_numpy(np.ascontiguousarray(chunk.frames[name].values))
                bins[row, :size] = torch.from_numpy(chunk.frames[name].bins)
                known[row, :size] = True
        found[name] = FrameStack(values=values, bins=bins, known=known)
    return found
