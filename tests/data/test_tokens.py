from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroformer.data import Epoch, Tokens, detokenize, tokenize
from neuroformer.data.tokens import level_edges
from neuroformer.session import Events

EDGES = np.array([1.0, 2.0, 4.0])
AMPLITUDES = np.array([0.5, 1.0, 3.0, 9.0])  # one for each level

epochs = st.builds(
    lambda start, bin_s, n_bins: Epoch(start=start, bin_s=bin_s, n_bins=n_bins),
    start=st.floats(-100, 10_000),
    bin_s=st.floats(0.001, 2),
    n_bins=st.integers(1, 40),
)


def sorted_tokens(rows: list[tuple[int, int, int]]) -> Tokens:
    bins, units, levels = np.array(sorted(rows), np.int64).reshape(-1, 3).T
    return Tokens(bins=bins, units=units.astype(np.int32), levels=levels.astype(np.int16))


def rows(tokens: Tokens) -> list[tuple[int, int, int]]:
    return list(zip(tokens.bins.tolist(), tokens.units.tolist(), tokens.levels.tolist(), strict=True))


@given(epoch=epochs, data=st.data())
def test_tokens_survive_the_way_to_events_and_back(epoch: Epoch, data: st.DataObject) -> None:
    # Few bins and units, so that a unit often has several events in a bin; the empty list is silence.
    token = st.tuples(st.integers(0, epoch.n_bins - 1), st.integers(0, 3), st.integers(0, 3))
    tokens = sorted_tokens(data.draw(st.lists(token, max_size=60)))
    events = detokenize(tokens, epoch, AMPLITUDES)
    assert (np.diff(events.times) >= 0).all()
    assert rows(tokenize(events, epoch, EDGES)) == rows(tokens)


@given(epoch=epochs, data=st.data())
def test_each_event_is_one_token_within_a_bin_of_its_time(epoch: Epoch, data: st.DataObject) -> None:
    event = st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 3))
    drawn = sorted(data.draw(st.lists(event, max_size=60)))
    times = epoch.start + np.array([t for t, _ in drawn]) * epoch.bin_s * epoch.n_bins * (1 - 1e-5)
    events = Events(times=times, units=np.array([u for _, u in drawn], np.int32))
    tokens = tokenize(events, epoch)
    assert Counter(tokens.units.tolist()) == Counter(events.units.tolist())
    assert rows(tokens) == sorted(rows(tokens))
    back = detokenize(tokens, epoch)
    assert back.amplitudes is None
    for unit in range(4):
        moved = back.times[back.units == unit] - times[events.units == unit]
        assert (np.abs(moved) <= epoch.bin_s * (1 + 1e-5)).all()


@pytest.mark.parametrize("rate", [29.97, 30.0, 1000 / 3])
def test_events_on_the_edges_of_bins_are_one_a_bin(rate: float) -> None:
    frames = np.arange(5000)
    epoch = Epoch(start=0.0, bin_s=1 / rate, n_bins=5000)
    tokens = tokenize(Events(times=frames / rate, units=np.zeros(5000, np.int32)), epoch)
    np.testing.assert_array_equal(tokens.bins, frames)
    assert (tokens.gaps()[1:] == 1).all()


def test_tokens_of_a_bin_are_in_order_of_unit_then_level() -> None:
    epoch = Epoch(start=0.0, bin_s=1.0, n_bins=3)
    events = Events(
        times=np.array([0.1, 0.2, 0.3, 0.4, 2.0]),
        units=np.array([5, 2, 5, 0, 1], np.int32),
        amplitudes=np.array([9.0, 1.0, 0.1, 2.0, 4.0], np.float32),
    )
    tokens = tokenize(events, epoch, EDGES)
    assert rows(tokens) == [(0, 0, 2), (0, 2, 1), (0, 5, 0), (0, 5, 3), (2, 1, 3)]
    assert tokens.bins.dtype == np.int64


def test_events_outside_the_whole_bins_are_left_out() -> None:
    epoch = Epoch(start=1.0, bin_s=0.5, n_bins=2)
    times = np.array([0.0, 0.999, 1.0, 1.99, 2.0, 5.0])
    tokens = tokenize(Events(times=times, units=np.arange(6, dtype=np.int32)), epoch)
    assert rows(tokens) == [(0, 2, 0), (1, 3, 0)]


def test_gaps_count_bins_since_the_token_before_and_add_up_to_the_bins() -> None:
    tokens = sorted_tokens([(2, 0, 0), (2, 1, 0), (2, 1, 0), (7, 0, 0)])
    np.testing.assert_array_equal(tokens.gaps(), [2, 0, 0, 5])
    np.testing.assert_array_equal(tokens.gaps().cumsum(), tokens.bins)
    assert len(sorted_tokens([]).gaps()) == 0


@pytest.mark.parametrize("edges", [None, np.zeros(0), EDGES])
def test_spikes_have_one_level(edges: np.ndarray | None) -> None:
    epoch = Epoch(start=0.0, bin_s=1.0, n_bins=3)
    tokens = tokenize(Events(times=np.array([0.0, 1.0]), units=np.zeros(2, np.int32)), epoch, edges)
    assert (tokens.levels == 0).all()


@given(
    amplitudes=st.lists(
        st.floats(0, 100, width=32) | st.sampled_from([0.0, 1.0, 2.0]), min_size=1, max_size=50
    ),
    n_levels=st.integers(1, 6),
)
def test_levels_are_at_most_as_many_as_asked_and_none_is_empty(
    amplitudes: list[float], n_levels: int
) -> None:
    values = np.array(amplitudes, np.float32)
    edges = level_edges(values, n_levels)
    assert (np.diff(edges) > 0).all()
    assert len(edges) < n_levels
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    assert counts.min() > 0


def test_distinct_amplitudes_are_cut_into_equally_frequent_levels(rng: np.random.Generator) -> None:
    values = rng.random(1000)
    counts = np.bincount(np.searchsorted(level_edges(values, 4), values, side="right"))
    assert counts.tolist() == pytest.approx([250] * 4, abs=1)


@pytest.mark.parametrize("amplitudes", [np.zeros(0), np.full(9, 3.0)])
def test_equal_or_no_amplitudes_make_one_level(amplitudes: np.ndarray) -> None:
    assert len(level_edges(amplitudes, 4)) == 0
