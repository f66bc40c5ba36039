"""Packed tokens against the padded reference."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from neuroformer.batch import Batch
from neuroformer.model import Neuroformer
from neuroformer.model.packing import Packed
from neuroformer.model.trunk import Trunk


@pytest.fixture(params=[(3, 9), (40, 200, 5)], ids=["short rows", "long rows"])
def batch(
    request: pytest.FixtureRequest,
    make_model: Callable[..., Neuroformer],
    make_batch: Callable[..., Batch],
    draw_events: Any,
    rng: np.random.Generator,
) -> Batch:
    """Rows of different length, one of them silent."""
    lengths = request.param
    rows = [(0, draw_events(rng, n_bins=n, n_units=3, rate=0.5)) for n in lengths] + [(0, [])]
    return make_batch(make_model(), *rows, n_bins=max(lengths), further_events=2)


def reference(trunk: Trunk, batch: Batch) -> Tensor:
    """The blocks over padded rows, with one mask over all pairs."""
    x, angles, mask = trunk.embed(batch), trunk.angles(batch), trunk.mask(batch)
    for block in trunk.blocks:
        x = block(x, angles, mask)
    return x


@pytest.mark.parametrize("aligned", [False, True])
def test_masks_are_those_of_the_rows_and_no_row_crosses(
    make_model: Callable[..., Neuroformer], batch: Batch, aligned: bool
) -> None:
    trunk = make_model().trunk
    assert trunk is not None
    packed = Packed.of(batch, trunk.window, aligned=aligned)
    found, padded = packed.mask(), trunk.mask(batch)[:, 0]
    n_events = batch.event_mask.shape[1]
    expected = torch.zeros_like(found)
    for i, a in zip(packed.place.tolist(), packed.token.tolist(), strict=True):
        for j, b in zip(packed.place.tolist(), packed.token.tolist(), strict=True):
            if a // n_events == b // n_events:
                expected[i, j] = padded[a // n_events, a % n_events, b % n_events]
    real = torch.zeros(len(found), dtype=torch.bool)
    real[packed.place] = True
    assert torch.equal(found[real], expected[real])
    assert torch.equal(found[~real], torch.eye(len(found), dtype=torch.bool)[~real])
    blocks = packed.blocks
    assert int((blocks.bias == 0).sum()) == int(found.sum())  # no pair lies outside the blocks


@pytest.mark.parametrize("training", [False, True])
def test_tokens_and_gradients_equal_those_of_padded_rows(
    make_model: Callable[..., Neuroformer], batch: Batch, training: bool
) -> None:
    trunk = make_model(layers=2).trunk
    assert trunk is not None
    trunk.train(training)
    for module in trunk.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    real = batch.event_mask
    upstream = torch.randn(*real.shape, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    results = []
    for make in (trunk.contextual, lambda b: reference(trunk, b)):
        trunk.zero_grad()
        tokens = make(batch)
        (tokens * upstream * real.unsqueeze(-1)).sum().backward()
        results.append(
            [tokens[real].detach(), *(p.grad.clone() for p in trunk.parameters() if p.grad is not None)]
        )
    assert len(results[0]) == len(results[1]) > 10
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


def test_a_state_is_pooled_from_packed_tokens_as_from_padded_ones(
    make_model: Callable[..., Neuroformer], batch: Batch, rng: np.random.Generator
) -> None:
    trunk = make_model(layers=2).trunk
    assert trunk is not None
    weight = torch.from_numpy(rng.uniform(0.5, 2, batch.event_mask.shape))
    with torch.no_grad():
        for training in (False, True):
            trunk.train(training)
            trunk.dropout.p = 0.0
            for block in trunk.blocks:
                block.dropout.p = 0.0  # type: ignore[union-attr]
            found = trunk.state(batch, weight)
            torch.testing.assert_close(found, trunk.state(batch, weight, tokens=reference(trunk, batch)))


def test_without_any_event_there_is_a_state(
    make_model: Callable[..., Neuroformer], make_batch: Callable[..., Batch]
) -> None:
    model = make_model()
    silent = make_batch(model, (0, []), n_bins=12)
    for training in (False, True):
        model.train(training)
        assert torch.isfinite(model.likelihood(silent).cells).all()
        loss = model.loss(replace(silent))["loss"]
        loss.backward()
        assert torch.isfinite(loss)
