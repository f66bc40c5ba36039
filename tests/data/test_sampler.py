from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from neuroformer.data import Recording, SplitConfig
from neuroformer.data import sampler as module
from neuroformer.data.sampler import ChunkKey, PassSampler
from neuroformer.errors import UserError

CHUNK = 50


@pytest.fixture
def recordings(record: Callable[..., Recording]) -> list[Recording]:
    return [
        record("a", seconds=61.3, split=SplitConfig(blocks=2)),
        record("b", seconds=40.0, n_units=5),
        record("c", seconds=30.7),
    ]


def make_sampler(recordings: list[Recording], **changes: object) -> PassSampler:
    settings = {"chunk_bins": CHUNK, "batch_size": 4, "batches_per_epoch": 5, "seed": 3}
    return PassSampler(recordings=recordings, **settings | changes)


def training_bins(recordings: list[Recording]) -> set[tuple[int, int, int]]:
    return {
        (i, span.epoch, b)
        for i, recording in enumerate(recordings)
        for span in recording.part("train")
        for b in range(span.start, span.stop)
    }


def bins(key: ChunkKey) -> list[tuple[int, int, int]]:
    return [(key.recording, key.span.epoch, b) for b in range(key.span.start, key.span.stop)]


def test_batch_is_a_function_of_seed_and_number(recordings: list[Recording]) -> None:
    forward, backward = make_sampler(recordings), make_sampler(recordings)
    expected = [forward.batch(k) for k in range(40)]
    for k in reversed(range(40)):
        assert backward.batch(k) == expected[k]
    assert make_sampler(recordings).batch(33) == expected[33]
    assert make_sampler(recordings, seed=4).batch(0) != expected[0]
    assert all(len(batch) == 4 for batch in expected)


@pytest.mark.parametrize("batch_size", [1, 4, 1000])
def test_each_pass_visits_every_training_bin_once(recordings: list[Recording], batch_size: int) -> None:
    sampler = make_sampler(recordings, batch_size=batch_size)
    wanted = training_bins(recordings)
    cuts: list[set[ChunkKey]] = []
    seen: Counter[tuple[int, int, int]] = Counter()
    keys: set[ChunkKey] = set()
    number = 0
    while len(cuts) < 3:
        for key in sampler.batch(number):
            assert 0 < len(key.span) <= CHUNK
            seen.update(bins(key))
            keys.add(key)
            if len(seen) == len(wanted):
                assert set(seen) == wanted
                assert set(seen.values()) == {1}
                cuts.append(keys)
                seen, keys = Counter(), set()
        number += 1
    assert cuts[0] != cuts[1]  # other passes, other cuts


def test_every_chunk_lies_in_one_training_span(recordings: list[Recording]) -> None:
    sampler = make_sampler(recordings)
    for k in range(20):
        for key in sampler.batch(k):
            assert any(
                span.epoch == key.span.epoch and span.start <= key.span.start < key.span.stop <= span.stop
                for span in recordings[key.recording].part("train")
            )


def test_batches_mix_sessions_and_order_differs_from_that_of_time(recordings: list[Recording]) -> None:
    sampler = make_sampler(recordings)
    keys = [sampler.batch(k) for k in range(10)]
    assert sum(len({key.recording for key in batch}) > 1 for batch in keys) >= 8
    flat = [(key.recording, key.span.epoch, key.span.start) for batch in keys for key in batch]
    assert flat != sorted(flat)


def test_an_epoch_is_the_next_stretch_of_batches(recordings: list[Recording]) -> None:
    sampler = make_sampler(recordings)
    assert len(sampler) == 5
    assert list(sampler) == [sampler.batch(k) for k in range(5)]
    sampler.set_epoch(3)
    assert list(sampler) == [sampler.batch(k) for k in range(15, 20)]


def stand_in_for_rank(monkeypatch: pytest.MonkeyPatch, rank: int, world: int) -> None:
    distributed = SimpleNamespace(
        is_initialized=lambda: True, get_rank=lambda: rank, get_world_size=lambda: world
    )
    monkeypatch.setattr(module, "dist", distributed)


@pytest.mark.parametrize("world", [2, 3, 4])
def test_ranks_share_out_each_batch(
    recordings: list[Recording], monkeypatch: pytest.MonkeyPatch, world: int
) -> None:
    sampler = make_sampler(recordings)
    shares = []
    for rank in range(world):
        stand_in_for_rank(monkeypatch, rank, world)
        shares.append(list(sampler))
    for k in range(5):
        together = [key for share in shares for key in share[k]]
        assert Counter(together) == Counter(sampler.batch(k))
        assert all(share[k] for share in shares)


def test_fewer_chunks_than_ranks_are_refused(
    recordings: list[Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in_for_rank(monkeypatch, 0, 5)
    with pytest.raises(UserError, match=r"data\.batch_size=4.* 5 processes"):
        next(iter(make_sampler(recordings)))


@pytest.mark.parametrize("world", [2, 3, 4])
def test_processes_share_every_batch_without_overlap(
    recordings: list[Recording], monkeypatch: pytest.MonkeyPatch, world: int
) -> None:
    whole = list(make_sampler(recordings))
    shares = []
    for rank in range(world):
        monkeypatch.setattr(
            module,
            "dist",
            SimpleNamespace(
                is_initialized=lambda: True, get_rank=lambda rank=rank: rank, get_world_size=lambda: world
            ),
        )
        shares.append(list(make_sampler(recordings)))
    for k, batch in enumerate(whole):
        own = [set(share[k]) for share in shares]
        assert set.union(*own) == set(batch)
        assert sum(map(len, own)) == len(batch)
        assert all(own)


@pytest.mark.parametrize(("epoch", "seen"), [(0, 2), (2, 0), (2, 4)])
def test_an_interrupted_epoch_goes_on_where_it_was(
    recordings: list[Recording], epoch: int, seen: int
) -> None:
    whole, rest = make_sampler(recordings), make_sampler(recordings)
    rest.done = (epoch, seen)
    for sampler in (whole, rest):
        sampler.set_epoch(epoch)
    assert list(rest) == list(whole)[seen:]
    for sampler in (whole, rest):
        sampler.set_epoch(epoch + 1)
    assert list(rest) == list(whole)


def test_a_resumed_sampler_goes_on_even_before_it_is_told_the_epoch(recordings: list[Recording]) -> None:
    # Workers ask for their first batches when a loader is made, and that is before Lightning calls `set_epoch`.
    resumed = make_sampler(recordings, done=(1, 2))
    whole = make_sampler(recordings)
    whole.set_epoch(1)
    assert list(resumed) == list(whole)[2:]
