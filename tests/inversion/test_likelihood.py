"""The inversion against the model itself: set the behaviour to each cell's value and ask for the likelihood."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from neuroformer.batch import Batch, FrameStack, Variable
from neuroformer.data import Vocabulary
from neuroformer.data.grid import Grid, make_grid
from neuroformer.data.variables import VariableEntry
from neuroformer.inversion.likelihood import cell_features, grid_log_likelihood
from neuroformer.model import (
    CouplingConfig,
    HistoryConfig,
    ModelConfig,
    Neuroformer,
    SessionShape,
    TrunkConfig,
)
from neuroformer.settings.context import ContextConfig, ReadoutConfig
from neuroformer.settings.variables import VariableConfig
from neuroformer.training.build import variable_shape

T, HISTORY, N = 14, 5, 3


def entries() -> list[VariableEntry]:
    def settings(role: Any = "both", **more: Any) -> VariableConfig:
        return VariableConfig(role=role, functions=4, **more)

    return [
        VariableEntry(name="place", settings=settings(grid=2), kind="continuous", shape=(2,), lower=(0.0, -1.0),
                      upper=(2.0, 1.0), mean=(1.0, 0.0), scale=(0.5, 0.5)),
        VariableEntry(name="heading", settings=settings(grid=3), kind="continuous", shape=(1,), period=360.0,
                      upper=(360.0,)),
        VariableEntry(name="mode", settings=settings(), kind="categorical", shape=(), labels=("a", "b")),
        VariableEntry(name="pace", settings=settings(grid=0), kind="continuous", shape=(1,)),
        VariableEntry(name="goal", settings=settings("target"), kind="continuous", shape=(1,)),
        VariableEntry(name="speed", settings=settings("context", horizon_s=3.0), kind="continuous", shape=(1,)),
        VariableEntry(name="cue", settings=settings("context"), kind="categorical", shape=(), labels=("x", "y")),
        VariableEntry(name="film", settings=settings("context"), kind="frames", shape=(1, 4, 4), interval_s=2.0),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    vocabulary = Vocabulary(bin_s=1.0)
    vocabulary.variables = {entry.name: entry for entry in entries()}
    return vocabulary


@pytest.fixture(scope="module")
def grid(vocabulary: Vocabulary) -> Grid:
    grid = make_grid(vocabulary)
    assert grid is not None
    return grid


@pytest.fixture(scope="module")
def model(vocabulary: Vocabulary) -> Neuroformer:
    config = ModelConfig(
        coupling=CouplingConfig(window_s=3.0),
        history=HistoryConfig(window_s=3.0, functions=2),
        trunk=TrunkConfig(width=8, heads=2, window_s=3.0, state=4, time_constants_s=[1.0]),
        context=ContextConfig(width=8, features=5, heads=2),
        readout=ReadoutConfig(width=8, heads=2),
    )
    session = SessionShape(rate=torch.full((N,), 0.3), train_bins=100, level_frequency=torch.ones(1))
    shapes = [variable_shape(entry, 1.0) for entry in vocabulary.variables.values()]
    model = Neuroformer(config=config, bin_s=1.0, sessions=[session] * 2, variables=shapes).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(0.3 * noise - (1.5 if name.endswith("log_scale") else 0))
    return model.eval()


@pytest.fixture
def batch(rng: np.random.Generator) -> Batch:
    """Two rows of which the second has two units, with events; nothing else is known."""
    counts = torch.from_numpy(rng.poisson(0.7, (2, T, N)))
    counts[1, :, 2] = 0
    events = [torch.cat([row.nonzero().repeat_interleave(row[row > 0], 0)]) for row in counts]
    size = max(map(len, events))
    event = torch.zeros(2, size, 2, dtype=torch.long)
    mask = torch.zeros(2, size, dtype=torch.bool)
    for k, found in enumerate(events):
        event[k, : len(found)], mask[k, : len(found)] = found, True
    scored = torch.zeros(2, T, dtype=torch.bool)
    scored[:, HISTORY:] = True
    return Batch(
        session=torch.tensor([0, 1]),
        unit_row=torch.tensor([[0, 1, 2], [3, 4, 0]]),
        unit_mask=torch.tensor([[True] * 3, [True, True, False]]),
        event_unit=event[..., 1],
        event_bin=event[..., 0],
        event_level=torch.zeros_like(event[..., 0]),
        event_mask=mask,
        scored=scored,
    )


def with_context(batch: Batch, rng: np.random.Generator) -> Batch:
    """Speed, cue and film are known here and there."""
    known = torch.from_numpy(rng.random((2, T)) < 0.6)
    return replace(
        batch,
        variables={
            "speed": Variable(values=torch.from_numpy(rng.random((2, T, 1))), known=known),
            "cue": Variable(values=torch.from_numpy(rng.integers(0, 2, (2, T))), known=known.flip(0)),
        },
        frames={
            "film": FrameStack(
                values=torch.from_numpy(rng.normal(size=(2, 3, 1, 4, 4))),
                bins=torch.tensor([[2, 6, 8], [1, 4, 13]]),
                known=torch.tensor([[True, True, True], [True, False, True]]),
            )
        },
    )


@torch.no_grad()
def brute(model: Neuroformer, batch: Batch, grid: Grid, unknown: bool) -> Tensor:
    """(B, T', G [+ 1]): the likelihood of each bin given each cell's values."""
    columns = []
    everywhere = torch.ones(2, T, dtype=torch.bool)
    for cell in range(len(grid)):
        variables = dict(batch.variables)
        for name in grid.names:
            value = torch.from_numpy(np.asarray(grid.values(name)[cell])).expand(
                2, T, *grid.values(name).shape[1:]
            )
            variables[name] = Variable(values=value, known=everywhere)
        columns.append(model.likelihood(replace(batch, variables=variables)).cells.sum(-1))
    if unknown:
        columns.append(model.likelihood(batch).cells.sum(-1))
    return torch.stack(columns, -1)


def alike(found: Tensor, expected: Tensor) -> None:
    """But for a constant per bin."""
    assert found.shape == expected.shape
    assert float(expected.std(-1).min()) > 1e-3
    torch.testing.assert_close(found - found[..., :1], expected - expected[..., :1], rtol=0, atol=1e-8)


@pytest.mark.parametrize("unknown", [False, True])
@pytest.mark.parametrize("context", [False, True])
def test_every_cell_has_the_likelihood_of_the_encoder(
    model: Neuroformer, batch: Batch, grid: Grid, rng: np.random.Generator, context: bool, unknown: bool
) -> None:
    assert grid.shape == (2, 2, 3, 2)
    batch = with_context(batch, rng) if context else batch
    found = grid_log_likelihood(model, batch, grid, unknown=unknown, at_mean=False)
    alike(found, brute(model, batch, grid, unknown))


@pytest.mark.parametrize("context", [False, True])
def test_pieces_of_the_grid_make_no_difference(
    model: Neuroformer,
    batch: Batch,
    grid: Grid,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    context: bool,
) -> None:
    batch = with_context(batch, rng) if context else batch
    whole = grid_log_likelihood(model, batch, grid)
    monkeypatch.setattr("neuroformer.inversion.likelihood._AT_ONCE", 500)
    torch.testing.assert_close(grid_log_likelihood(model, batch, grid), whole)


@pytest.mark.parametrize("context", [False, True])
def test_values_of_decoded_variables_do_not_move_it(
    model: Neuroformer,
    batch: Batch,
    grid: Grid,
    vocabulary: Vocabulary,
    rng: np.random.Generator,
    context: bool,
) -> None:
    batch = with_context(batch, rng) if context else batch
    reference = grid_log_likelihood(model, batch, grid, unknown=True)
    for name in ("place", "heading", "mode", "pace", "goal"):
        entry = vocabulary.variables[name]
        values = (
            torch.from_numpy(rng.integers(0, 2, (2, T)))
            if entry.kind == "categorical"
            else torch.from_numpy(rng.random((2, T, *entry.shape)))
        )
        known = torch.from_numpy(rng.random((2, T)) < 0.8)
        shown = replace(batch, variables=batch.variables | {name: Variable(values=values, known=known)})
        assert torch.equal(grid_log_likelihood(model, shown, grid, unknown=True), reference), name


def test_later_events_move_no_earlier_bin(model: Neuroformer, batch: Batch, grid: Grid) -> None:
    t = 9
    cut = replace(batch, event_mask=batch.event_mask & (batch.event_bin <= t))
    a, b = (grid_log_likelihood(model, x, grid)[:, : t + 1 - HISTORY] for x in (cut, batch))
    assert torch.equal(a, b)


def test_features_of_cells_are_those_of_their_values(model: Neuroformer, batch: Batch, grid: Grid) -> None:
    found = cell_features(model, grid)
    assert model.context_path is not None
    for cell in (0, 17, len(grid) - 1):
        variables = {
            name: Variable(
                values=torch.from_numpy(np.asarray(grid.values(name)[cell])).expand(
                    2, T, *grid.values(name).shape[1:]
                ),
                known=torch.ones(2, T, dtype=torch.bool),
            )
            for name in grid.names
        }
        expected = model.context_path.features(replace(batch, variables=variables))
        torch.testing.assert_close(expected, found[cell].expand_as(expected))
