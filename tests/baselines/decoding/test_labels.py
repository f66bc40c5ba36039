import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroformer.baselines.decoding import labelled_subset
from neuroformer.errors import UserError

MASKS = st.lists(st.lists(st.booleans(), max_size=30), min_size=1, max_size=4).filter(
    lambda masks: any(map(any, masks))
)


@given(masks=MASKS, fraction=st.floats(0.01, 1), seed=st.none() | st.integers(0, 100))
def test_a_run_of_the_labelled_bins_is_kept(masks: list, fraction: float, seed: int | None) -> None:
    known = [np.array(mask, dtype=bool) for mask in masks]
    found = labelled_subset(known, bin_s=0.1, fraction=fraction, seed=seed)
    assert [mask.shape for mask in found] == [mask.shape for mask in known]
    flat_known, flat = np.concatenate(known), np.concatenate(found)
    assert not (flat & ~flat_known).any()
    kept = np.flatnonzero(flat[flat_known])
    assert len(kept) == max(1, np.ceil(fraction * flat_known.sum() - 1e-6))
    assert (np.diff(kept) == 1).all()
    if seed is None:
        assert kept[0] == 0
    again = labelled_subset(known, bin_s=0.1, fraction=fraction, seed=seed)
    np.testing.assert_array_equal(np.concatenate(again), flat)


@given(masks=MASKS, bins=st.integers(1, 200))
def test_minutes_are_labelled_minutes(masks: list, bins: int) -> None:
    known = [np.array(mask, dtype=bool) for mask in masks]
    total = sum(mask.sum() for mask in known)
    if bins > total:
        with pytest.raises(UserError, match="labelled minutes"):
            labelled_subset(known, bin_s=0.6, minutes=bins * 0.6 / 60)
        return
    found = labelled_subset(known, bin_s=0.6, minutes=bins * 0.6 / 60)
    assert sum(mask.sum() for mask in found) == bins


def test_more_labels_hold_the_fewer_and_seeds_begin_elsewhere() -> None:
    known = [np.ones(500, dtype=bool), np.ones(300, dtype=bool)]
    few, many = (np.concatenate(labelled_subset(known, bin_s=0.1, fraction=f)) for f in (0.1, 0.3))
    assert (many | few).sum() == many.sum()
    starts = {
        int(np.concatenate(labelled_subset(known, bin_s=0.1, fraction=0.1, seed=s)).argmax())
        for s in range(20)
    }
    assert len(starts) > 10


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "one of them"),
        ({"minutes": 1.0, "fraction": 0.5}, "one of them"),
        ({"fraction": 0.0}, "fraction=0"),
        ({"fraction": 1.5}, "at most 1"),
        ({"minutes": -1.0}, "above 0"),
    ],
)
def test_what_cannot_be_is_refused(asked: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        labelled_subset([np.ones(10, dtype=bool)], bin_s=0.1, **asked)


def test_no_label_is_refused() -> None:
    with pytest.raises(UserError, match="no labelled bin"):
        labelled_subset([np.zeros(10, dtype=bool)], bin_s=0.1, fraction=0.5)
