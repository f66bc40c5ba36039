import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from neuroformer.connectivity.counts import BinnedCounts, bin_events
from neuroformer.errors import UserError
from neuroformer.session import Events, Session, SessionData, write_session


def binned(*pieces: np.ndarray) -> BinnedCounts:
    return BinnedCounts(
        path=Path("a.h5"), bin_s=0.01, intervals=tuple(sparse.csr_array(p.astype(float)) for p in pieces)
    )


def dense(counts: BinnedCounts) -> list[np.ndarray]:
    return [interval.toarray() for interval in counts.intervals]


@pytest.fixture
def recording(tmp_path):
    times = np.array([0.1, 0.1, 0.299, 0.3, 0.55, 1.0, 1.05])
    data = SessionData(
        session_id="a",
        subject_id="a",
        start=0.0,
        stop=2.0,
        n_units=3,
        events=Events(times=times, units=np.array([0, 2, 2, 0, 1, 2, 2], dtype=np.int32)),
        intervals=np.array([[0.0, 0.5], [1.0, 1.29]]),
    )
    return write_session(tmp_path / "a.h5", data), data


def test_events_are_counted_on_a_grid_of_each_valid_interval(recording, monkeypatch):
    path, _ = recording
    with Session(path) as session:
        counts = bin_events(session, bin_s=0.1)
        monkeypatch.setattr("neuroformer.connectivity.counts.BLOCK_ENTRIES", 6)
        in_blocks = bin_events(session, bin_s=0.1)
    assert (counts.n_units, counts.n_bins, counts.path) == (3, 7, path)
    first, second = dense(counts)
    assert first.tolist() == [[0, 0, 0], [1, 0, 1], [0, 0, 1], [1, 0, 0], [0, 0, 0]]
    assert second.tolist() == [[0, 0, 2], [0, 0, 0]]
    assert counts.totals.tolist() == [2, 0, 4]
    for one, two in zip(dense(counts), dense(in_blocks), strict=True):
        np.testing.assert_array_equal(one, two)


def test_bins_wider_than_every_interval_are_refused(recording, tmp_path):
    _, data = recording
    short = dataclasses.replace(data, intervals=np.array([[0.0, 0.3]]))
    with (
        Session(write_session(tmp_path / "b.h5", short)) as session,
        pytest.raises(UserError, match=r"as long as a bin of 0\.5 s"),
    ):
        bin_events(session, bin_s=0.5)


def test_shifting_turns_each_train_as_a_whole_and_far_from_the_others(rng):
    length, n_units, least = 120, 5, 20
    markers = (
        np.tile(np.arange(length) == 0, (n_units, 1)).T * 1 + np.tile(np.arange(length) == 7, (n_units, 1)).T
    )
    for _ in range(50):
        (piece,) = dense(binned(markers).shifted(rng, least_bins=least))
        starts = [
            next(b for b in np.flatnonzero(piece[:, j]) if piece[(b + 7) % length, j]) for j in range(n_units)
        ]
        apart = np.abs(np.subtract.outer(starts, starts))[~np.eye(n_units, dtype=bool)]
        assert np.minimum(apart, length - apart).min() >= least
        np.testing.assert_array_equal(piece.sum(axis=0), 2)


def test_offsets_are_uniform_over_the_circle(rng):
    piece = np.zeros((40, 3))
    piece[0] = 1
    total = sum(binned(piece).shifted(rng, least_bins=5).intervals[0].toarray() for _ in range(4000))
    assert np.abs(total / 100 - 1).max() < 0.5
    assert np.abs(total.mean(axis=0) - 100).max() < 1e-9


def test_an_interval_too_short_for_the_least_shift_is_still_shifted(rng):
    pieces = (np.eye(4), np.ones((1, 4)))
    one, two = dense(binned(*pieces).shifted(rng, least_bins=50))
    assert one.sum() == 4
    assert two.tolist() == [[1, 1, 1, 1]]


def test_jitter_keeps_the_count_of_every_window_and_unit(rng):
    pieces = [rng.poisson(0.3, size=(length, 4)) for length in (53, 20)]
    jittered = binned(*pieces).jittered(rng, window_bins=10)
    for before, after in zip(pieces, dense(jittered), strict=True):
        for first in range(0, len(before), 10):
            window = slice(first, first + 10)
            np.testing.assert_array_equal(before[window].sum(axis=0), after[window].sum(axis=0))
    assert not np.array_equal(pieces[0], dense(jittered)[0])


def test_jitter_is_uniform_in_the_window_and_moves_events_of_a_bin_apart(rng):
    piece = np.zeros((10, 1))
    piece[3] = 4000
    (after,) = dense(binned(piece).jittered(rng, window_bins=5))
    assert after[5:].sum() == 0
    assert np.abs(after[:5, 0] - 800).max() < 5 * np.sqrt(800)


@pytest.mark.parametrize("surrogate", ["shifted", "jittered"])
def test_surrogates_follow_from_the_generator_alone(surrogate):
    counts = binned(np.random.default_rng(0).poisson(0.2, size=(200, 3)))
    option = {"shifted": {"least_bins": 10}, "jittered": {"window_bins": 10}}[surrogate]
    one, two, other = (
        dense(getattr(counts, surrogate)(np.random.default_rng(seed), **option))[0] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)
