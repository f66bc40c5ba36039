import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroformer.data import PARTS, Recording, Span, SplitConfig
from neuroformer.data.recording import Chunk
from neuroformer.data.tokens import vector_quantised_edges
from neuroformer.errors import UserError
from neuroformer.session import Events, Session

Record = Callable[..., Recording]
INTERVALS = np.array([[0.0, 20.0], [20.0, 41.3], [50.0, 60.0]])


def rows(chunk: Chunk) -> list[tuple[int, int, int]]:
    tokens = chunk.tokens
    return list(zip(tokens.bins.tolist(), tokens.units.tolist(), tokens.levels.tolist(), strict=True))


def test_a_chunk_is_a_slice_of_the_whole(record: Record, rng: np.random.Generator) -> None:
    recording = record(intervals=INTERVALS, amplitudes=True)
    edges = np.array([1.0, 2.0])
    for number, epoch in enumerate(recording.epochs):
        whole = recording.tokens(Span(epoch=number, start=0, stop=epoch.n_bins), edges)
        for _ in range(20):
            start, stop = sorted(rng.choice(epoch.n_bins + 1, 2, replace=False).tolist())
            history = int(rng.integers(0, 60))
            chunk = recording.chunk(Span(epoch=number, start=start, stop=stop), history, edges)
            inside = (whole.bins >= start - history) & (whole.bins < stop)
            expected = zip(
                (whole.bins[inside] - (start - history)).tolist(),
                whole.units[inside].tolist(),
                whole.levels[inside].tolist(),
                strict=True,
            )
            assert rows(chunk) == list(expected)
            assert (chunk.session_id, chunk.history, chunk.n_scored) == ("a", history, stop - start)
            assert chunk.time == pytest.approx(epoch.start + 0.1 * start)


def test_history_before_an_epoch_is_empty_even_if_another_epoch_ends_there(record: Record) -> None:
    recording = record(intervals=INTERVALS, rate=20.0)
    chunk = recording.chunk(Span(epoch=1, start=3, stop=30), 50)
    assert chunk.tokens.bins.min() >= 47  # the epoch begins 47 bins into the chunk
    assert chunk.tokens.bins.max() < 77


def test_a_chunk_reads_its_own_slice_however_long_the_recording(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[float | None, float | None]] = []
    events = Session.events

    def spy(self: Session, start: float | None = None, stop: float | None = None) -> Events:
        asked.append((start, stop))
        return events(self, start, stop)

    short, long = record("short", seconds=100.0), record("long", seconds=1000.0)
    monkeypatch.setattr(Session, "events", spy)
    for recording in (short, long):
        recording.chunk(Span(epoch=0, start=500, stop=515), 30)
    assert len(asked) == 2
    for start, stop in asked:
        assert start == pytest.approx(47.0, abs=0.001)
        assert stop == pytest.approx(51.5, abs=0.001)


def test_events_on_bin_edges_are_counted_once_wherever_it_is_cut(record: Record) -> None:
    frames = np.arange(600)
    events = Events(times=frames / 10.0, units=np.zeros(600, np.int32))
    recording = record(events=events, split=SplitConfig(blocks=2))
    pieces = [recording.counts(Span(epoch=0, start=k, stop=k + 7)) for k in range(0, 595, 7)]
    assert (np.concatenate(pieces)[:, 0] == 1).all()
    entry = recording.entry(1)
    assert entry.train_counts.tolist() == [entry.train_bins, 0, 0]


def test_counts_are_those_of_a_histogram(record: Record) -> None:
    recording = record(intervals=INTERVALS)
    events = Session(recording.session.path).load().events
    for number, epoch in enumerate(recording.epochs):
        edges = epoch.start + 0.1 * np.arange(epoch.n_bins + 1)
        expected = np.stack(
            [np.histogram(events.times[events.units == u], bins=edges)[0] for u in range(3)], axis=1
        )
        counts = recording.counts(Span(epoch=number, start=0, stop=epoch.n_bins))
        np.testing.assert_array_equal(counts, expected)


@given(
    n_bins=st.integers(60, 400), size=st.integers(1, 150), shift=st.integers(0, 150), blocks=st.integers(1, 3)
)
def test_tiles_cover_each_span_once_in_pieces_no_longer_than_asked(
    n_bins: int, size: int, shift: int, blocks: int
) -> None:
    recording = Recording.__new__(Recording)
    third = n_bins // 3
    spans = [Span(epoch=k, start=k, stop=k + third) for k in range(blocks)]
    recording.spans = {"train": spans, "val": [], "test": []}
    tiles = recording.tiles("train", size, shift=min(shift, size))
    assert [(t.epoch, b) for t in tiles for b in range(t.start, t.stop)] == [
        (s.epoch, b) for s in spans for b in range(s.start, s.stop)
    ]
    assert all(0 < len(tile) <= size for tile in tiles)


def test_shift_sets_the_length_of_the_first_piece(record: Record) -> None:
    tiles = record().tiles("train", 100, shift=30)
    assert [len(tile) for tile in tiles[:3]] == [30, 100, 100]


def test_vocabulary_entry_knows_the_training_part_alone(record: Record) -> None:
    split = SplitConfig(blocks=2)
    recording = record(amplitudes=True, split=split)
    entry = recording.entry(3)
    train = [recording.events(span) for span in recording.part("train")]
    amplitudes = np.concatenate([e.amplitudes for e in train if e.amplitudes is not None])
    np.testing.assert_array_equal(
        entry.train_counts, np.bincount(np.concatenate([e.units for e in train]), minlength=3)
    )
    assert entry.train_bins == sum(len(s) for s in recording.part("train"))
    assert entry.n_levels == 3
    assert entry.level_counts.sum() == entry.train_counts.sum() == len(amplitudes)
    for level, representative in enumerate(entry.level_amplitudes):
        members = amplitudes[np.searchsorted(entry.level_edges, amplitudes, side="right") == level]
        assert entry.level_counts[level] == len(members)
        assert representative == np.median(members)
    assert entry.unit_ids == ("0", "1", "2")

    # Other events outside the training spans leave it as it is.
    data = recording.session.load()
    kept = np.zeros(len(data.events), bool)
    for span in recording.part("train"):
        start = recording.epochs[span.epoch].time_of(span.start)
        stop = recording.epochs[span.epoch].time_of(span.stop)
        kept |= (data.events.times >= start) & (data.events.times < stop)
    assert data.events.amplitudes is not None
    changed = Events(
        times=data.events.times,
        units=data.events.units,
        amplitudes=np.where(kept, data.events.amplitudes, 99),
    )
    other = record("b", events=changed, split=split).entry(3)
    np.testing.assert_array_equal(other.level_edges, entry.level_edges)
    np.testing.assert_array_equal(other.train_counts, entry.train_counts)


def test_vector_quantised_levels(record: Record) -> None:
    recording = record(amplitudes=True)
    entry = recording.entry(3, "vector_quantised")
    train = [recording.events(span).amplitudes for span in recording.part("train")]
    amplitudes = np.concatenate([a for a in train if a is not None])
    np.testing.assert_array_equal(entry.level_edges, vector_quantised_edges(amplitudes, 3))
    assert not np.array_equal(entry.level_edges, recording.entry(3).level_edges)
    assert entry.level_counts.sum() == len(amplitudes)

    events = recording.session.load().events
    silent = Events(times=events.times, units=events.units, amplitudes=np.zeros(len(events), np.float32))
    with pytest.raises(UserError, match=r"amplitude 0.*data.level_code=quantile"):
        record("zero", events=silent).entry(3, "vector_quantised")


def test_amplitudes_are_left_aside_when_one_level_is_asked(record: Record) -> None:
    entry = record(amplitudes=True).entry(1)
    assert entry.n_levels == 1
    assert len(entry.level_counts) == 0


def test_long_training_spans_are_read_in_pieces(write: Callable[..., Path]) -> None:
    path = write(seconds=300.0, rate=1.0)
    recording = Recording(path, bin_s=0.001, split=SplitConfig(), context_bins=5)
    (span,) = recording.part("train")
    assert len(span) > 200_000
    entry = recording.entry(1)
    assert entry.train_counts.sum() == len(recording.tokens(span))


def test_every_part_is_there(record: Record) -> None:
    recording = record()
    assert all(recording.part(part) for part in PARTS)
    assert recording.session_id == "a"


@pytest.mark.parametrize("amplitudes", [False, True])
def test_kept_tokens_are_those_of_the_file_and_do_not_travel(
    record: Callable[..., Recording], amplitudes: bool, rng: np.random.Generator
) -> None:
    recording = record(amplitudes=amplitudes, intervals=np.array([[0.0, 21.3], [30.0, 60.0]]))
    edges = np.array([0.5, 2.0]) if amplitudes else None
    spans = []
    for _ in range(30):
        epoch = int(rng.integers(2))
        start, stop = np.sort(rng.integers(0, recording.epochs[epoch].n_bins + 1, 2))
        spans.append(Span(epoch=epoch, start=int(start), stop=int(stop)))
    read = [recording.tokens(span, edges) for span in spans]
    recording.keep_tokens = True
    for span, expected in zip(spans, read, strict=True):
        found = recording.tokens(span, edges)
        for name in ("bins", "units", "levels"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert len(pickle.dumps(recording)) < 20_000
    assert len(pickle.loads(pickle.dumps(recording)).tokens(spans[0], edges)) == len(read[0])
