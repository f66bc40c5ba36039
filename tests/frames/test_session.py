"""Sessions as frames and targets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from neuroformer.errors import UserError
from neuroformer.frames.session import FrameSession, in_units, open_recording, read_session
from neuroformer.settings.backbones import BackbonesConfig

Settings = Callable[..., BackbonesConfig]


def test_standardised_on_the_training_part(frames: FrameSession) -> None:
    (train,) = frames.parts["train"]
    speaking = slice(0, frames.n_units - 1)
    x = train.x[train.seen][:, speaking]
    np.testing.assert_allclose(x.std(0), 1, atol=0.02)  # one missing value is 0
    assert np.abs(x.mean(0)).max() < 0.01
    assert (train.x[:, -1] == 0).all()  # a unit that never changes says nothing
    for d in range(frames.n_targets):
        y = train.y[train.known[:, d], d]
        assert abs(y.mean()) < 1e-5
        assert y.std() == pytest.approx(1, abs=1e-5)
    assert frames.columns == {"speed": slice(0, 1), "turn": slice(1, 3)}


def test_missing_is_masked_and_never_filled_in(frames: FrameSession) -> None:
    (train,) = frames.parts["train"]
    assert not train.known[50:60, 0].any()
    assert train.known[50:60, 1:].all()
    assert not train.seen[100:103].any()
    assert train.seen[200]  # one unit is missing, the frame is not
    assert train.x[200, 1] == 0


def test_the_lead_in_belongs_to_no_part(frames: FrameSession, animal: Path, settings: Settings) -> None:
    recording = open_recording(str(animal), settings())
    train, val, test = (recording.part(p)[0] for p in ("train", "val", "test"))
    assert val.start - frames.parts["val"][0].lead >= train.stop
    assert test.start - frames.parts["test"][0].lead >= val.stop
    assert frames.parts["test"][0].lead == 5
    assert frames.parts["train"][0].lead == 0
    stored = recording.session.behavior("turn", 0, 1e9).values[test.start : test.stop]
    assert np.allclose(in_units(frames, [frames.parts["test"][0].y])[0][:, 1:], stored, atol=1e-5)


def test_events_are_frames_too(animal: Path, settings: Settings) -> None:
    config = settings(input="events")
    recording = open_recording(str(animal), config)
    found = read_session(recording, config).parts["train"][0]
    counts = recording.counts(recording.part("train")[0]).astype(float)
    np.testing.assert_allclose(found.x, (counts - counts.mean(0)) / counts.std(0), atol=1e-5)
    assert found.seen.all()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"targets": ["sped"]}, "has no behaviour 'sped'; it has"),
        ({"targets": ["heading"]}, "'heading' is circular"),
    ],
)
def test_what_cannot_be_decoded_is_refused(animal: Path, settings: Settings, more: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        open_recording(str(animal), settings(**more))
