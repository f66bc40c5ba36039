"""What stimulus and behaviour may move: never the past, never from beyond the horizon, and nothing where unknown."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from neuroformer.batch import Batch, FrameStack, Variable
from neuroformer.model import Neuroformer
from neuroformer.model.encoders import VariableShape

T, N, HISTORY = 24, 4, 6

Shapes = Callable[..., list[VariableShape]]
Values = Callable[..., Tensor]


@pytest.fixture(params=["conv", "patches"])
def shapes(request: pytest.FixtureRequest, make_shapes: Shapes) -> list[VariableShape]:
    return make_shapes(request.param)


@pytest.fixture
def model(
    make_model: Callable[..., Neuroformer], make_shape: Any, shapes: list[VariableShape]
) -> Neuroformer:
    return make_model(make_shape(N), make_shape(2), variables=shapes)


@pytest.fixture
def batch(
    model: Neuroformer,
    make_batch: Callable[..., Batch],
    draw_events: Any,
    add_variables: Callable[..., Batch],
    shapes: list[VariableShape],
    rng: np.random.Generator,
) -> Batch:
    rows = [(s, draw_events(rng, n_bins=T, n_units=n)) for s, n in ((0, N), (1, 2))]
    return add_variables(make_batch(model, *rows, n_bins=T, history=HISTORY), shapes, rng)


def changed(batch: Batch, name: str, values: Tensor) -> Batch:
    return replace(batch, variables=batch.variables | {name: replace(batch.variables[name], values=values)})


def known_where(batch: Batch, mask: Tensor) -> Batch:
    """Variables known where `mask` (T,) says so too, frames where they appear there."""
    variables = {k: replace(v, known=v.known & mask) for k, v in batch.variables.items()}
    frames = {
        k: replace(v, known=v.known & torch.where(v.bins >= 0, mask[v.bins.clamp(min=0)], mask[0]))
        for k, v in batch.frames.items()
    }
    return replace(batch, variables=variables, frames=frames)


@torch.no_grad()
def everything(model: Neuroformer, batch: Batch) -> list[Tensor]:
    """Intensities, levels and the raw outputs of all readouts: (B, T', …) each."""
    return [model(batch)[0], *model.readout_outputs(batch).values()]


def same(a: list[Tensor], b: list[Tensor], stop: int | None = None) -> None:
    for x, y in zip(a, b, strict=True):
        assert torch.equal(x[:, :stop], y[:, :stop])


def test_values_that_are_not_known_move_nothing(
    model: Neuroformer,
    batch: Batch,
    shapes: list[VariableShape],
    draw_values: Values,
    rng: np.random.Generator,
) -> None:
    batch = known_where(batch, torch.from_numpy(rng.random(T) < 0.7))
    reference = everything(model, batch)
    other = batch
    for shape in shapes:
        if shape.kind == "frames":
            stack = batch.frames[shape.name]
            noise = torch.from_numpy(rng.normal(size=stack.values.shape))
            values = torch.where(stack.known[:, :, None, None, None], stack.values, noise)
            other = replace(other, frames={shape.name: replace(stack, values=values)})
            continue
        variable = batch.variables[shape.name]
        fresh = draw_values(rng, shape, *variable.known.shape)
        known = variable.known if shape.kind == "categorical" else variable.known.unsqueeze(-1)
        other = changed(other, shape.name, torch.where(known, variable.values, fresh))
    same(everything(model, other), reference)
    losses = [model.loss(b, labels=b) for b in (batch, other)]
    assert losses[0].keys() == losses[1].keys()
    assert all(torch.equal(losses[0][k], losses[1][k]) for k in losses[0])
    assert "decode_nll" in losses[0]


@pytest.mark.parametrize("t", [HISTORY, 13, T - 2])
def test_what_comes_later_moves_nothing_up_to_a_bin(
    model: Neuroformer,
    batch: Batch,
    shapes: list[VariableShape],
    draw_values: Values,
    rng: np.random.Generator,
    t: int,
) -> None:
    reference = everything(model, batch)
    after = torch.arange(T) > t
    later = known_where(batch, ~after)
    same(everything(model, later), reference, t + 1 - HISTORY)
    for shape in shapes:
        if shape.kind == "frames":
            stack = batch.frames[shape.name]
            noise = torch.from_numpy(rng.normal(size=stack.values.shape))
            future = (stack.bins > t)[:, :, None, None, None]
            moved = replace(stack, values=torch.where(future, noise, stack.values))
            other = replace(batch, frames={shape.name: moved})
        else:
            values = batch.variables[shape.name].values
            fresh = draw_values(rng, shape, *values.shape[:2])
            mask = after if shape.kind == "categorical" else after[:, None]
            other = changed(batch, shape.name, torch.where(mask, fresh, values))
        found = everything(model, other)
        same(found, reference, t + 1 - HISTORY)
        if shape.is_input and t == 13:
            assert not torch.equal(found[0], reference[0]), shape.name  # the test can fail


def test_events_of_a_bin_move_its_readout_and_not_its_intensity(model: Neuroformer, batch: Batch) -> None:
    t = 17
    before = replace(batch, event_mask=batch.event_mask & (batch.event_bin < t))
    upto = replace(batch, event_mask=batch.event_mask & (batch.event_bin <= t))
    assert (batch.event_mask & (batch.event_bin == t)).any(1).all()
    (rate, *_), reference = everything(model, upto), everything(model, batch)
    k = t - HISTORY
    same(everything(model, before), reference, k)
    assert torch.equal(rate[:, : k + 1], reference[0][:, : k + 1])
    same(everything(model, upto), reference, k + 1)
    for now, with_events in zip(everything(model, before)[1:], reference[1:], strict=True):
        assert (now[:, k] - with_events[:, k]).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["place", "heading", "mode", "goal", "side"])
def test_a_decoded_variable_moves_no_readout(
    model: Neuroformer,
    batch: Batch,
    shapes: list[VariableShape],
    draw_values: Values,
    rng: np.random.Generator,
    name: str,
) -> None:
    shape = next(s for s in shapes if s.name == name)
    reference = everything(model, batch)
    variable = batch.variables[name]
    others = [
        changed(batch, name, draw_values(rng, shape, *variable.known.shape)),
        replace(batch, variables=batch.variables | {name: replace(variable, known=~variable.known)}),
        replace(batch, variables={k: v for k, v in batch.variables.items() if k != name}),
    ]
    for other in others:
        found = everything(model, other)
        same(found[1:], reference[1:])
        assert torch.equal(found[0], reference[0]) == (not shape.is_input)


@pytest.mark.parametrize(("name", "horizon"), [("speed", 4), ("film", 5), ("place", 0), ("cue", 0)])
def test_nothing_older_than_the_horizon_moves_anything(
    model: Neuroformer,
    batch: Batch,
    shapes: list[VariableShape],
    draw_values: Values,
    rng: np.random.Generator,
    name: str,
    horizon: int,
) -> None:
    shape = next(s for s in shapes if s.name == name)
    reference = everything(model, batch)
    t = 9
    if shape.kind == "frames":
        stack = batch.frames[name]
        noise = torch.from_numpy(rng.normal(size=stack.values.shape))
        old = stack.bins <= t
        other = replace(
            batch,
            frames={
                name: replace(stack, values=torch.where(old[:, :, None, None, None], noise, stack.values))
            },
        )
        # A convolution sees two frames before each, as far as they are 3 bins apart at the most.
        first = t + horizon + 1 + (2 * 3 if shape.encoder == "conv" else 0)
    else:
        values = batch.variables[name].values
        fresh = draw_values(rng, shape, *values.shape[:2])
        old = torch.arange(T) <= t
        other = changed(
            batch, name, torch.where(old if shape.kind == "categorical" else old[:, None], fresh, values)
        )
        first = t + horizon + 1
    found = everything(model, other)
    for a, b in zip(found, reference, strict=True):
        assert torch.equal(a[:, first - HISTORY :], b[:, first - HISTORY :])
    k = t - HISTORY
    assert not torch.equal(found[0][:, : k + 1], reference[0][:, : k + 1])


def test_without_knowledge_of_any_variable_there_are_events_alone(
    model: Neuroformer, batch: Batch, shapes: list[VariableShape]
) -> None:
    alone = replace(batch, variables={}, frames={})
    nothing = known_where(batch, torch.zeros(T, dtype=torch.bool))
    with torch.no_grad():
        mean, variance, _ = model.without_context(alone)
    spikes = mean + 0.5 * variance
    for other in (alone, nothing):
        found = everything(model, other)
        torch.testing.assert_close(found[0], spikes, rtol=0, atol=0)
        same(found, everything(model, alone))


def test_a_row_without_a_variable_is_as_in_a_batch_that_has_none(
    model: Neuroformer, batch: Batch, make_batch: Callable[..., Batch]
) -> None:
    """Sessions with and without a variable in one batch."""
    lacking = torch.tensor([False, True])
    for name in batch.variables:
        mixed = replace(batch, variables=batch.variables | {name: batch.variables[name].hide(lacking)})
        without = replace(batch, variables={k: v for k, v in batch.variables.items() if k != name})
        there, gone, both = everything(model, batch), everything(model, without), everything(model, mixed)
        for a, b, c in zip(there, gone, both, strict=True):
            torch.testing.assert_close(c[0], a[0], rtol=0, atol=1e-12)
            torch.testing.assert_close(c[1], b[1], rtol=0, atol=1e-12)
    mixed = replace(batch, frames={k: v.hide(lacking) for k, v in batch.frames.items()})
    there, gone, both = (everything(model, b) for b in (batch, replace(batch, frames={}), mixed))
    for a, b, c in zip(there, gone, both, strict=True):
        torch.testing.assert_close(c[0], a[0], rtol=0, atol=1e-12)
        torch.testing.assert_close(c[1], b[1], rtol=0, atol=1e-12)


def test_intensities_do_not_depend_on_how_far_back_a_chunk_begins(model: Neuroformer, batch: Batch) -> None:
    """With `context` bins before it, what a bin says is exact."""
    cut = 3
    later = replace(
        batch,
        scored=batch.scored[:, cut:] & (torch.arange(cut, T) >= 20),
        event_bin=batch.event_bin - cut,
        event_mask=batch.event_mask & (batch.event_bin >= cut),
        variables={
            k: Variable(values=v.values[:, cut:], known=v.known[:, cut:]) for k, v in batch.variables.items()
        },
        frames={
            k: FrameStack(values=v.values, bins=v.bins - cut, known=v.known) for k, v in batch.frames.items()
        },
    )
    later = replace(later, event_bin=later.event_bin.clamp(min=0))

    def said(batch: Batch) -> list[Tensor]:
        assert model.context_path is not None
        with torch.no_grad():
            return [model.context_path.features(batch), *model.readout_outputs(batch).values()]

    for part, whole in zip(said(later), said(batch), strict=True):
        torch.testing.assert_close(part, whole[:, 20 - HISTORY :], rtol=0, atol=1e-5)


def test_the_context_reaches_as_far_as_the_longest_horizon(
    make_model: Callable[..., Neuroformer], make_shape: Any, make_shapes: Shapes
) -> None:
    far = [replace(s, horizon=40) if s.name == "speed" else s for s in make_shapes()]
    assert make_model(make_shape(N), variables=far).context == 40
    assert make_model(make_shape(N), variables=[replace(far[3])]).context >= 8  # the readout's filters
