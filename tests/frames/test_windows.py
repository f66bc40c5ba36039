"""Windows over stretches."""

from __future__ import annotations

import numpy as np
import pytest

from neuroformer.frames.session import Stretch
from neuroformer.frames.windows import draw_windows, led_frames, predict_stretch


def stretch(n: int, lead: int, rng: np.random.Generator) -> Stretch:
    return Stretch(
        x=rng.normal(size=(lead + n, 2)).astype(np.float32), seen=np.ones(lead + n, bool),
        y=rng.normal(size=(n, 1)).astype(np.float32), known=np.ones((n, 1), bool), lead=lead,
    )  # fmt: skip


def causal_sum(x: np.ndarray, seen: np.ndarray) -> np.ndarray:
    return np.cumsum(x[..., :1], axis=1)


@pytest.mark.parametrize("lead", [0, 3, 9])
@pytest.mark.parametrize("last", [False, True])
def test_predictions_of_overlapping_windows_are_averaged(
    lead: int, last: bool, rng: np.random.Generator
) -> None:
    size, n = 4, 11
    given = stretch(n, lead, rng)
    found = predict_stretch(causal_sum, given, size, last=last, batch=3)[:, 0]
    padded = np.concatenate([np.zeros((20, 2)), given.x])
    for t in range(n):
        at = 20 + lead + t
        said = []
        for start in range(at - size + 1, at + 1):
            if start + size <= len(padded):  # no window reaches behind the stretch
                said.append(padded[start : at + 1, 0].sum())
        window = padded[at - size + 1 : at + 1, 0].sum()
        assert found[t] == pytest.approx(window if last else np.mean(said), abs=1e-5)


def test_with_a_stride_every_bin_is_predicted(rng: np.random.Generator) -> None:
    given = stretch(14, 5, rng)
    for stride in (1, 2, 3, 6):
        found = predict_stretch(lambda x, seen: np.ones((*seen.shape, 1)), given, 6, stride=stride)
        assert (found == 1).all()


def test_frames_outside_are_unseen(rng: np.random.Generator) -> None:
    x, seen = led_frames(stretch(3, 1, rng), 2, after=2)
    assert seen.tolist() == [False, True, True, True, True, False, False]
    assert (x[~seen] == 0).all()


def test_drawn_windows_are_contiguous_and_hold_their_targets(rng: np.random.Generator) -> None:
    parts = [stretch(9, 0, rng), stretch(3, 0, rng)]
    seen_starts = set()
    windows = draw_windows(parts, 5, 4, np.random.default_rng(0))
    for _ in range(4):
        x, seen, y, known = next(windows)
        assert x.shape == (4, 5, 2)
        for k in range(4):
            if seen[k].all():
                s = int(np.flatnonzero((parts[0].x == x[k, 0]).all(1))[0])
                assert (x[k] == parts[0].x[s : s + 5]).all()
                assert (y[k] == parts[0].y[s : s + 5]).all()
                seen_starts.add(s)
            else:  # the short stretch, unseen frames before it
                assert seen[k].tolist() == [False, False, True, True, True]
                assert not known[k, :2].any()
                assert (y[k, 2:] == parts[1].y).all()
    assert seen_starts == set(range(5))
