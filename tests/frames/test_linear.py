"""Ridge on the window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from neuroformer.frames.linear import WindowFeatures, fit_linear
from neuroformer.frames.reservoir import draw_reservoir, reservoir_features
from neuroformer.frames.session import FrameSession
from neuroformer.settings.backbones import BackboneConfig, BackbonesConfig


@pytest.mark.parametrize("centered", [False, True])
def test_ridge_is_the_closed_form_on_whole_windows(frames: FrameSession, centered: bool) -> None:
    size, after = 4, 3 if centered else 0
    fit = fit_linear(frames, WindowFeatures(frames, size, centered=centered), [0.1], skip=(3, after))
    (train,), (test,) = frames.parts["train"], frames.parts["test"]
    rows = [t for t in range(3, len(train) - after) if train.known[t, 0]]
    x = np.stack([train.x[t - 3 : t + after + 1].ravel() for t in rows]).astype(float)
    size_of_features = ((x - x.mean(0)) ** 2).sum() / len(x)
    theirs = Ridge(alpha=0.1 * size_of_features).fit(x, train.y[rows, 0])
    padded = np.concatenate([test.x, np.zeros((after, frames.n_units))])
    window = [padded[test.lead + t - 3 : test.lead + t + after + 1].ravel() for t in range(len(test))]
    np.testing.assert_allclose(fit.predict(test)[:, 0], theirs.predict(np.stack(window)), atol=1e-6)


def test_validation_chooses_the_penalty_of_each_target(frames: FrameSession) -> None:
    features = WindowFeatures(frames, 4, centered=False)
    each = {p: fit_linear(frames, features, [p], skip=(3, 0)) for p in (1e-3, 1e-1, 10.0)}
    fit = fit_linear(frames, features, list(each), skip=(3, 0))
    (val,) = frames.parts["val"]
    for d in range(frames.n_targets):
        known = val.known[:, d]
        losses = {p: ((f.predict(val) - val.y)[known, d] ** 2).mean() for p, f in each.items()}
        assert fit.penalty[d] == min(losses, key=losses.__getitem__)


def test_more_units_than_bins_change_nothing_but_memory(
    frames: FrameSession, rng: np.random.Generator
) -> None:
    (train,) = frames.parts["train"]
    mix = rng.normal(size=(frames.n_units, len(train) + 40)) / 10
    wide = replace(
        frames,
        parts={
            p: [replace(s, x=(s.x @ mix).astype(np.float32)) for s in parts]
            for p, parts in frames.parts.items()
        },
        regions=np.zeros(mix.shape[1], int),
    )
    (test,) = wide.parts["test"]
    turned = fit_linear(wide, WindowFeatures(wide, 2, centered=False), [0.1], skip=(1, 0))

    def plain(stretch):  # type: ignore[no-untyped-def]
        x = np.concatenate([np.zeros((1, mix.shape[1])), stretch.x])[stretch.lead :].astype(float)
        return np.concatenate([x[: len(stretch)], x[1 : len(stretch) + 1]], 1)

    np.testing.assert_allclose(
        turned.predict(test), fit_linear(wide, plain, [0.1], skip=(1, 0)).predict(test), atol=1e-5
    )


def test_a_reservoir_is_fixed_by_its_seed_and_looks_back_alone(frames: FrameSession) -> None:
    config = BackboneConfig(kind="reservoir", width=20)
    (test,) = frames.parts["test"]
    states = reservoir_features(*draw_reservoir(8, config, seed=1), size=5)(test)
    again = reservoir_features(*draw_reservoir(8, config, seed=1), size=5)(test)
    other = reservoir_features(*draw_reservoir(8, config, seed=2), size=5)(test)
    assert (states == again).all()
    assert not np.allclose(states, other)
    x = test.x.copy()
    x[test.lead + 10 :] += 1
    changed = reservoir_features(*draw_reservoir(8, config, seed=1), size=5)(replace(test, x=x))
    np.testing.assert_allclose(changed[:10], states[:10], atol=1e-6)
    assert not np.allclose(changed[10], states[10])
    fit = fit_linear(
        frames, lambda s: reservoir_features(*draw_reservoir(8, config, seed=1), size=5)(s), [1e-3]
    )
    assert fit.val_loss < 0.5


def test_settings_are_checked(settings: Callable[..., BackbonesConfig], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="targets is empty"):
        settings(targets=[])
    with pytest.raises(ValueError, match="unknown 'gpt'"):
        settings(backbones=["gpt"])
    with pytest.raises(ValueError, match="the name is taken"):
        settings(models={"lstm": BackboneConfig(path=str(tmp_path))})
    with pytest.raises(ValueError, match="path is empty"):
        BackboneConfig()
    with pytest.raises(ValueError, match="twice the heads"):
        BackboneConfig(kind="trunk", width=12, heads=4)
