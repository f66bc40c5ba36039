from collections.abc import Callable

import numpy as np
import pytest
import torch

from neuroformer.batch import Batch
from neuroformer.data import Recording, Span, Vocabulary
from neuroformer.data.collate import collate
from neuroformer.session import Events

HISTORY = 20
SPANS = [Span(epoch=0, start=100, stop=140), Span(epoch=0, start=5, stop=60), Span(epoch=0, start=7, stop=8)]


@pytest.fixture
def recordings(record: Callable[..., Recording]) -> list[Recording]:
    sizes = {"a": 2, "b": 6, "c": 4}
    return [record(name, n_units=n, amplitudes=True, seed=n) for name, n in sizes.items()]


@pytest.fixture
def batch(recordings: list[Recording]) -> Batch:
    vocabulary = Vocabulary(bin_s=0.1)
    for recording in recordings:
        vocabulary.add(recording.entry(3))
    chunks = [
        r.chunk(span, HISTORY, vocabulary[r.session_id].level_edges)
        for r, span in zip(recordings, SPANS, strict=True)
    ]
    return collate(chunks, vocabulary)


def test_every_row_holds_its_chunk_and_padding_is_marked(batch: Batch, recordings: list[Recording]) -> None:
    assert batch.session.tolist() == [0, 1, 2]
    assert batch.n_bins == HISTORY + 55
    counts = batch.counts()
    assert counts.shape == (3, 75, 6)
    for row, (recording, span, offset) in enumerate(zip(recordings, SPANS, [0, 2, 8], strict=True)):
        n = recording.session.n_units
        assert batch.unit_mask[row].tolist() == [True] * n + [False] * (6 - n)
        assert batch.unit_row[row, :n].tolist() == list(range(offset, offset + n))
        first = max(0, span.start - HISTORY)
        expected = recording.counts(Span(epoch=0, start=first, stop=span.stop))
        found = counts[row, first - (span.start - HISTORY) : HISTORY + len(span), :n]
        np.testing.assert_array_equal(found.numpy(), expected)
        assert counts[row].sum() == expected.sum() == batch.event_mask[row].sum()
        assert batch.scored[row].nonzero().flatten().tolist() == list(range(HISTORY, HISTORY + len(span)))
    assert batch.first_scored == HISTORY


def test_counts_can_weigh_events_and_leave_the_history_out(batch: Batch) -> None:
    weight = torch.rand(batch.event_bin.shape) + batch.event_level
    counts = batch.counts(weight)
    b, t, n = 1, int(batch.event_bin[1, 3]), int(batch.event_unit[1, 3])
    here = batch.event_mask[b] & (batch.event_bin[b] == t) & (batch.event_unit[b] == n)
    torch.testing.assert_close(counts[b, t, n], weight[b][here].sum())
    torch.testing.assert_close(counts.sum(), weight[batch.event_mask].sum())
    assert torch.equal(batch.counts(scored_only=True), batch.counts()[:, HISTORY:])


def test_what_events_carry_is_summed_within_their_bin(batch: Batch) -> None:
    values = torch.randn(*batch.event_bin.shape, 2)
    found = batch.sum_per_bin(values)
    assert found.shape == (3, batch.n_bins, 2)
    for b in range(3):
        for t in range(batch.n_bins):
            here = batch.event_mask[b] & (batch.event_bin[b] == t)
            torch.testing.assert_close(found[b, t], values[b][here].sum(0))


def test_silence_makes_a_batch_too(record: Callable[..., Recording]) -> None:
    recording = record(events=Events(times=np.array([50.0]), units=np.zeros(1, np.int32)))
    vocabulary = Vocabulary(bin_s=0.1)
    vocabulary.add(recording.entry(1))
    batch = collate([recording.chunk(SPANS[0], HISTORY)], vocabulary)
    assert not batch.event_mask.any()
    assert (batch.counts() == 0).all()
    assert batch.scored.sum() == 40


def test_moved_batch_is_the_same_batch(batch: Batch) -> None:
    moved = batch.to("cpu")
    assert moved is not batch
    assert torch.equal(moved.counts(), batch.counts())
    assert torch.equal(moved.unit_row, batch.unit_row)
