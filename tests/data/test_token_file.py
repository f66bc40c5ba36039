"""Stored tokens are those of the session file, wherever a stretch begins and ends."""

import copy
import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from neuroformer.data import Recording, RecordingsModule, Span, Tokens, token_file
from neuroformer.data import module as data_module
from neuroformer.data import recording as data_recording
from neuroformer.data.token_file import TokenFile, has_room
from tests.data.test_module import make_module, same

INTERVALS = np.array([[0.0, 20.0], [20.0, 41.3], [50.0, 60.0]])


def equal(a: Tokens, b: Tokens) -> bool:
    pairs = ((a.bins, b.bins), (a.units, b.units), (a.levels, b.levels))
    return all(x.dtype == y.dtype and np.array_equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("n_units", [3, 70_000])
def test_any_stretch_of_stored_tokens_is_that_of_the_session_file(
    record: Callable[..., Recording], rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, n_units: int
) -> None:
    monkeypatch.setattr(
        token_file, "_STRIDE", 7
    )  # many entries in the index, and many equal bins around them
    monkeypatch.setattr(data_recording, "_PIECE", 50)
    rate = 120 / n_units
    plain = record(intervals=INTERVALS, amplitudes=True, n_units=n_units, rate=rate)
    stored = copy.deepcopy(plain)
    file, edges = TokenFile(), np.array([1.0, 2.0])
    file.add([], n_units=1)
    stored.store_tokens(file, edges)
    monkeypatch.setattr(stored, "events", None)  # nothing is read from the session file any more
    for number, epoch in enumerate(plain.epochs):
        spans = [(0, epoch.n_bins), (0, 0), (epoch.n_bins, epoch.n_bins)]
        spans += [tuple(sorted(rng.integers(0, epoch.n_bins + 1, 2).tolist())) for _ in range(60)]
        for start, stop in spans:
            span = Span(epoch=number, start=start, stop=stop)
            assert equal(stored.tokens(span, edges), plain.tokens(span, edges))
    assert plain.tokens(Span(epoch=0, start=0, stop=200), edges).units.max() > 2 * n_units // 3 - 1


def test_other_levels_than_the_stored_ones_are_read_from_the_session_file(
    record: Callable[..., Recording],
) -> None:
    plain = record(amplitudes=True)
    recording = copy.deepcopy(plain)
    recording.store_tokens(TokenFile(), np.array([1.0]))
    span = Span(epoch=0, start=5, stop=300)
    edges = np.array([0.5, 3.0])
    assert equal(recording.tokens(span, edges), plain.tokens(span, edges))
    assert recording.tokens(span).levels.max() == 0


def stored(data: RecordingsModule) -> list[bool]:
    return [bool(recording._stored) for recording in data.recordings]


def test_training_stores_the_tokens_of_long_recordings_and_sees_the_same_batches(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = [write("a", amplitudes=True), write("b", n_units=5, intervals=INTERVALS)]
    few = make_module(sessions)
    training = few.train_dataloader()
    monkeypatch.setattr(data_module, "_KEPT_EVENTS", 10)
    many = make_module(sessions)
    for a, b in zip(training, many.train_dataloader(), strict=True):
        assert same(a, b)
    assert (stored(few), stored(many)) == ([False] * 2, [True] * 2)
    for a, b in zip(few.val_dataloader(), many.val_dataloader(), strict=True):
        assert same(a, b)


def test_without_room_chunks_are_read_from_the_session_files(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = [write("a"), write("b")]
    expected = list(make_module(sessions).train_dataloader())
    monkeypatch.setattr(data_module, "_KEPT_EVENTS", 10)

    def read() -> RecordingsModule:
        data = make_module(sessions)
        assert all(same(a, b) for a, b in zip(data.train_dataloader(), expected, strict=True))
        return data

    with monkeypatch.context() as patch:
        patch.setattr(token_file, "MOST_BYTES", 100)
        assert stored(read()) == [False] * 2
    add, calls = TokenFile.add, []

    def full(self: TokenFile, *args: object, **settings: object) -> object:
        calls.append(args)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "no space left")
        return add(self, *args, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(TokenFile, "add", full)
    assert stored(read()) == [False] * 2
    assert len(calls) == 2


def test_room_is_half_of_what_is_free(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1000, 500, 500))  # type: ignore[attr-defined]
    assert has_room(250)
    assert not has_room(251)


def test_nothing_is_left_on_the_disk(
    record: Callable[..., Recording], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    monkeypatch.setattr(token_file, "_folder", lambda: folder)
    recording = record()
    recording.store_tokens(TokenFile())
    assert len(recording.tokens(Span(epoch=0, start=0, stop=100)))
    assert not list(folder.iterdir())


def test_many_sessions_are_closed_once_they_were_read(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = [write(name) for name in "abc"]
    expected = list(make_module(sessions).train_dataloader())
    monkeypatch.setattr("neuroformer.data.open_sessions.MOST", 2)
    data = make_module(sessions)
    assert [recording.session._handle for recording in data.recordings] == [None] * 3
    assert all(same(a, b) for a, b in zip(data.train_dataloader(), expected, strict=True))
