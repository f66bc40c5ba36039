"""The likelihood from drawn units: unbiased over all draws, exact where all are drawn."""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch

from neuroformer.batch import Batch
from neuroformer.model import Neuroformer, SessionShape
from neuroformer.model import neuroformer as module
from neuroformer.model.encoders import VariableShape
from neuroformer.model.event_cells import EventCells
from neuroformer.model.sampled import Drawn, draw_by, draw_units, part_of, sampled_log_likelihood

N, T, HISTORY = 5, 30, 8


@pytest.fixture(params=["events", "levels", "variables"])
def model(
    request: pytest.FixtureRequest,
    make_model: Callable[..., Neuroformer],
    make_shape: Callable[..., SessionShape],
    make_shapes: Callable[..., list[VariableShape]],
) -> Neuroformer:
    variables = make_shapes() if request.param == "variables" else ()
    n_levels = 3 if request.param == "levels" else 1
    return make_model(
        make_shape(N), make_shape(N), rank=2, n_levels=n_levels, variables=variables, weights=0.3
    )


@pytest.fixture
def batch(
    model: Neuroformer,
    make_batch: Callable[..., Batch],
    draw_events: Any,
    add_variables: Callable[..., Batch],
    rng: np.random.Generator,
) -> Batch:
    rows = [(s, draw_events(rng, n_bins=T, n_units=N, rate=0.6, n_levels=model.n_levels)) for s in (0, 1)]
    batch = make_batch(model, *rows, n_bins=T, history=HISTORY, n_scored=[T - HISTORY, 10])
    shapes = [*model.variables.values()]
    return add_variables(batch, shapes, rng) if shapes else batch


def estimate(model: Neuroformer, batch: Batch, columns: list[int], weight: float) -> torch.Tensor:
    """As if these units had been drawn in every row."""
    index = torch.tensor(columns).expand(len(batch.session), -1)
    drawn = Drawn(columns=index, weight=torch.full(index.shape, weight, dtype=torch.float64))
    return sampled_log_likelihood(model, batch, model.past(batch), drawn)


def test_with_all_units_it_is_the_likelihood(model: Neuroformer, batch: Batch) -> None:
    found = estimate(model, batch, [3, 0, 4, 1, 2], 1.0)
    torch.testing.assert_close(found, model.likelihood(batch).cells.sum(), rtol=1e-10, atol=1e-9)


def test_the_mean_over_all_draws_is_the_likelihood_and_so_is_its_gradient(
    model: Neuroformer, batch: Batch
) -> None:
    parameters = [p for p in model.parameters() if p.requires_grad]
    draws = list(combinations(range(N), 2))
    totals = [estimate(model, batch, list(pair), N / 2) for pair in draws]
    mean = torch.stack(totals).mean()  # type: ignore[call-overload]
    exact = model.likelihood(batch).cells.sum()
    torch.testing.assert_close(mean, exact, rtol=1e-10, atol=1e-9)
    assert torch.stack(totals).std() > 1e-2  # type: ignore[call-overload]
    found, expected = (torch.autograd.grad(x, parameters, allow_unused=True) for x in (mean, exact))
    compared = 0
    for a, b in zip(found, expected, strict=True):
        if b is not None and bool((b != 0).any()):
            assert a is not None
            torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)
            compared += 1
    assert compared > 15


def test_units_are_drawn_with_the_chances_that_they_are_given(rng: np.random.Generator) -> None:
    chance = torch.from_numpy(rng.uniform(0, 0.7, (2, 12)))
    chance[:, 3], chance[:, 7] = 1.0, 0.0
    order = torch.stack([torch.randperm(12, generator=torch.Generator().manual_seed(k)) for k in range(2)])
    starts, counted = 2000, torch.zeros(2, 12, dtype=torch.float64)
    for k in range(starts):
        drawn = draw_by(chance, order, torch.full((2, 1), (k + 0.5) / starts))
        there = drawn.weight > 0
        torch.testing.assert_close(drawn.weight[there], 1 / chance.gather(1, drawn.columns)[there])
        assert all(len(set(row.tolist())) == len(row) for row in drawn.columns)
        sizes = there.sum(1)
        assert ((sizes - chance.sum(1)).abs() < 1).all()
        counted.scatter_add_(1, drawn.columns, there.double())
    torch.testing.assert_close(counted / starts, chance, rtol=0, atol=2e-3)


def test_training_draws_and_evaluation_does_not(
    model: Neuroformer, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    monkeypatch.setattr(module, "draw_units", lambda *a: sizes.append(a[2]) or draw_units(*a))
    model.config = replace(model.config, sampled_units=3)
    exact = model.loss(batch)["nll"]
    assert sizes == []
    model.train()
    for part in model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    torch.manual_seed(0)
    found = torch.stack([model.loss(batch)["nll"] for _ in range(200)])
    assert sizes == [3] * 200
    error = found.std() / len(found) ** 0.5
    assert abs(found.mean() - exact) < 4 * error
    model.config = replace(model.config, sampled_units=0)
    torch.testing.assert_close(model.loss(batch)["nll"], exact)
    # More units than there are, or full matrices: all of them.
    model.config = replace(model.config, sampled_units=N)
    torch.testing.assert_close(model.loss(batch)["nll"], exact)


def test_blocks_of_units_are_the_whole(
    model: Neuroformer, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = model.likelihood(batch)
    monkeypatch.setattr(module, "_BLOCK", 2)
    parts = list(model.likelihoods(batch))
    assert [p.unit_row.shape[1] for p, _ in parts] == [2, 2, 1]
    for name in ("cells", "counts", "log_intensity"):
        found = torch.cat([getattr(part, name) for _, part in parts], 2)
        torch.testing.assert_close(found, getattr(whole, name), rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(sum(part.levels.sum() for _, part in parts), whole.levels.sum())
    assert torch.equal(torch.cat([p.unit_row for p, _ in parts], 1), batch.unit_row)


def test_some_units_keep_their_events_in_order(model: Neuroformer, batch: Batch) -> None:
    part = part_of(batch, torch.tensor([[4, 1], [0, 2]]))
    counts, whole = part.counts(), batch.counts()
    assert torch.equal(counts[0], whole[0][:, [4, 1]])
    assert torch.equal(counts[1], whole[1][:, [0, 2]])
    at = torch.where(part.event_mask, part.event_bin, T)
    assert (at.diff(dim=1) >= 0).all()


def test_cells_of_events_by_hand(
    make_model: Callable[..., Neuroformer], make_batch: Callable[..., Batch]
) -> None:
    model = make_model()
    batch = make_batch(model, (0, [(1, 0, 0), (1, 2, 0), (2, 0, 0), (2, 0, 0), (9, 0, 0)]), n_bins=12)
    cells = EventCells.of(batch)
    assert cells.time.tolist() == [1, 2, 2, 9, 1]
    assert cells.rank().tolist() == [1, 1, 2, 1, 1]
    kernel = torch.tensor([[10.0, 20.0, 30.0]])
    traces = cells.own_traces(kernel, torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert traces.flatten().tolist() == [
        0,
        10,
        10,
        0,
        0,
    ]  # of the event before; that of bin 9 is out of reach
