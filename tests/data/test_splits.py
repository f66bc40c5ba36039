import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from neuroformer.data import PARTS, Epoch, SplitConfig
from neuroformer.data.splits import split_epochs
from neuroformer.errors import UserError

BIN_S = 0.1


def make_epochs(sizes: list[int]) -> list[Epoch]:
    return [Epoch(start=1000.0 * i, bin_s=BIN_S, n_bins=n) for i, n in enumerate(sizes)]


def part_of_each_bin(sizes: list[int], config: SplitConfig, context: int) -> list[np.ndarray]:
    """Per epoch the part of each bin: −1 in a gap, else 0 train, 1 val, 2 test."""
    spans = split_epochs(make_epochs(sizes), config, context_bins=context, name="a.h5")
    labels = [np.full(n, -1) for n in sizes]
    for number, part in enumerate(PARTS):
        assert spans[part] == sorted(spans[part], key=lambda s: (s.epoch, s.start))
        for span in spans[part]:
            assert 0 <= span.start < span.stop <= sizes[span.epoch]
            inside = labels[span.epoch][span.start : span.stop]
            assert (inside == -1).all()  # no bin is in two spans
            inside[:] = number
    return labels


def between_parts(labels: np.ndarray) -> list[int]:
    """Bins between neighbouring spans of different parts."""
    at = np.flatnonzero(labels >= 0)
    return [int(b - a - 1) for a, b in itertools.pairwise(at) if labels[a] != labels[b]]


fractions = st.sampled_from([0.05, 0.1, 0.25, 0.4])


@given(
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=6),
    val=fractions,
    test=fractions,
    blocks=st.integers(1, 4),
    context=st.integers(1, 20),
    further=st.none() | st.integers(0, 10),
)
def test_parts_in_time_keep_their_distance_and_the_rest_is_used(
    sizes: list[int], val: float, test: float, blocks: int, context: int, further: int | None
) -> None:
    gap_s = None if further is None else (context + further) * BIN_S
    gap = context if further is None else context + further
    try:
        labels = part_of_each_bin(sizes, SplitConfig(val=val, test=test, blocks=blocks, gap_s=gap_s), context)
    except UserError:
        assume(False)
    assert all(distance >= gap for epoch in labels for distance in between_parts(epoch))
    # What is left out is the gaps: one before each val and each test, one after each test but the last.
    boundaries = blocks * 2 + blocks - 1
    end_to_end = np.concatenate(labels)
    assert (end_to_end == -1).sum() <= gap * boundaries
    assert end_to_end[-1] == 2
    assert (end_to_end == 1).any()


def test_long_recording_is_cut_in_order_of_time_with_gaps_of_the_context() -> None:
    (labels,) = part_of_each_bin([1000], SplitConfig(val=0.1, test=0.2), context=30)
    expected = np.full(1000, -1)
    expected[:670], expected[700:770], expected[800:] = 0, 1, 2
    np.testing.assert_array_equal(labels, expected)


def test_blocks_spread_every_part_over_the_recording() -> None:
    (labels,) = part_of_each_bin([1000], SplitConfig(val=0.2, test=0.2, blocks=4), context=10)
    for quarter in labels.reshape(4, 250):
        assert set(quarter) == {-1, 0, 1, 2}
    assert between_parts(labels) == [10] * 11


def test_a_gap_may_be_longer_than_the_context_but_not_shorter() -> None:
    (labels,) = part_of_each_bin([1000], SplitConfig(gap_s=4.0), context=30)
    assert between_parts(labels) == [40, 40]
    with pytest.raises(UserError, match=r"data\.split\.gap_s=2\.9.*3 s back.*raise gap_s"):
        part_of_each_bin([1000], SplitConfig(gap_s=2.9), context=30)


@given(
    n_epochs=st.integers(3, 40),
    val=fractions,
    test=fractions,
    seed=st.integers(0, 9),
)
def test_epochs_drawn_as_wholes_are_never_cut(n_epochs: int, val: float, test: float, seed: int) -> None:
    sizes = list(range(1, n_epochs + 1))
    config = SplitConfig(kind="epochs", val=val, test=test, seed=seed)
    labels = part_of_each_bin(sizes, config, context=1000)
    assert all(len(set(epoch)) == 1 and epoch[0] >= 0 for epoch in labels)
    counts = np.bincount([epoch[0] for epoch in labels], minlength=3)
    assert counts[2] == max(1, round(test * n_epochs))
    assert counts[1] == max(1, round(val * n_epochs))
    again = part_of_each_bin(sizes, config, context=1000)
    assert all((a == b).all() for a, b in zip(labels, again, strict=True))


def test_seed_draws_other_epochs() -> None:
    drawn = {
        tuple(epoch[0] for epoch in part_of_each_bin([5] * 20, SplitConfig(kind="epochs", seed=s), 1))
        for s in range(5)
    }
    assert len(drawn) == 5


def test_recording_too_short_for_a_part_names_the_settings() -> None:
    with pytest.raises(
        UserError, match=r"^a\.h5: no bin is left for 'val' in 1 epoch.*data\.split.*context$"
    ):
        part_of_each_bin([100], SplitConfig(), context=50)
    with pytest.raises(UserError, match=r"no bin is left for 'train' in 2 epoch.*data\.split\.kind=time$"):
        part_of_each_bin([100, 100], SplitConfig(kind="epochs"), context=5)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"val": 0.5, "test": 0.5}, r"split\.val=0\.5 and split\.test=0\.5"),
        ({"test": 0.0}, r"split\.test=0"),
        ({"val": -0.1}, r"split\.val=-0\.1"),
        ({"val": 0.0}, r"split\.val=0 and"),
        ({"blocks": 0}, r"split\.blocks=0"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings: dict[str, float], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        SplitConfig(**settings)  # type: ignore[arg-type]
