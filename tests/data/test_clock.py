from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroformer.data.clock import Epoch, epochs_of
from neuroformer.errors import UserError
from neuroformer.session import Session


@given(
    rate=st.sampled_from([7.5, 29.97, 30.0, 100.0, 1000 / 3]),
    frames_per_bin=st.integers(1, 7),
    first=st.integers(0, 100_000),
    frames=st.lists(st.integers(0, 1_000_000), min_size=1),
)
def test_time_written_as_frame_over_rate_falls_into_its_own_bin(
    rate: float, frames_per_bin: int, first: int, frames: list[int]
) -> None:
    epoch = Epoch(start=first / rate, bin_s=frames_per_bin / rate, n_bins=2_000_000)
    times = (first + np.array(frames)) / rate
    np.testing.assert_array_equal(epoch.bin_of(times), np.array(frames) // frames_per_bin)


def test_left_edge_belongs_to_the_bin_and_right_edge_to_the_next() -> None:
    epoch = Epoch(start=1.0, bin_s=0.25, n_bins=4)
    np.testing.assert_array_equal(epoch.bin_of(np.array([0.99, 1.0, 1.24, 1.25, 2.0])), [-1, 0, 0, 1, 4])
    np.testing.assert_array_equal(epoch.time_of(np.arange(4)), [1.0, 1.25, 1.5, 1.75])


def test_epochs_hold_whole_bins_only_and_those_without_one_are_left_out(write: Callable[..., Path]) -> None:
    intervals = np.array([[0.0, 1.0], [2.0, 2.05], [3.0, 3.27], [5.0, 5.1]])
    epochs = epochs_of(Session(write(intervals=intervals)), 0.1)
    assert [(e.start, e.n_bins) for e in epochs] == [(0.0, 10), (3.0, 2), (5.0, 1)]
    assert all(e.bin_s == 0.1 for e in epochs)


def test_length_that_is_a_whole_number_of_bins_up_to_rounding_loses_none(write: Callable[..., Path]) -> None:
    assert 0.7 / 0.1 < 7  # the pitfall
    (epoch,) = epochs_of(Session(write(intervals=np.array([[0.0, 0.7]]))), 0.1)
    assert epoch.n_bins == 7


def test_session_without_a_whole_bin_is_refused(write: Callable[..., Path]) -> None:
    path = write(intervals=np.array([[0.0, 0.5], [1.0, 1.8]]))
    with pytest.raises(UserError, match=r"a\.h5.*bin of 1 s.*longest lasts 0\.8 s.*data\.bin_s"):
        epochs_of(Session(path), 1.0)
