"""Tiny models with random weights in double precision, and batches of given events. A bin lasts 1 s."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from neuroformer.batch import Batch, FrameStack, Variable
from neuroformer.model import (
    CouplingConfig,
    HistoryConfig,
    ModelConfig,
    Neuroformer,
    SessionShape,
    TrunkConfig,
)
from neuroformer.model.encoders import VariableShape
from neuroformer.settings.context import ContextConfig, ReadoutConfig

Event = tuple[int, int, int]
"""Bin, unit, level."""


def shape_of(n_units: int, levels: Sequence[float] = (1.0,)) -> SessionShape:
    rate = 0.2 + 0.1 * torch.arange(n_units, dtype=torch.float64)
    return SessionShape(rate=rate, train_bins=100, level_frequency=torch.tensor(levels))


def build(
    *sessions: SessionShape,
    rank: int = 0,
    layers: int = 1,
    state: int = 4,
    n_levels: int = 1,
    weights: float = 0.4,
    seed: int = 0,
    variables: Sequence[VariableShape] = (),
    window: float = 4.0,
) -> Neuroformer:
    """A model whose every weight is random, of size `weights`; posterior scales are around 0.2."""
    config = ModelConfig(
        coupling=CouplingConfig(heads=2, window_s=4.0, rank=rank),
        history=HistoryConfig(window_s=5.0, functions=3),
        trunk=TrunkConfig(
            width=8, layers=layers, heads=2, window_s=6.0, state=state, time_constants_s=[1.5, 2.0]
        ),
        context=ContextConfig(width=8, features=5, heads=2),
        readout=ReadoutConfig(width=8, heads=2, time_constants_s=[1.0, 2.0], window_s=window),
    )
    model = Neuroformer(
        config=config,
        bin_s=1.0,
        sessions=list(sessions) or [shape_of(3)],
        n_levels=n_levels,
        variables=variables,
    ).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            if name.endswith("log_scale"):
                parameter.copy_(-1.6 + 0.3 * noise)
            elif name == "bias" or "norm" in name:
                parameter.add_(0.2 * noise)
            elif name == "level_bias":
                parameter.add_(torch.where(parameter > -20, 0.3, 0.0) * noise)  # absent levels stay absent
            else:
                parameter.copy_(weights * noise)
    return model.eval()


def assemble(
    model: Neuroformer,
    *rows: tuple[int, Sequence[Event]],
    n_bins: int,
    history: int = 0,
    n_scored: Sequence[int] | None = None,
    further_events: int = 0,
) -> Batch:
    """A batch of rows (session, events), padded as by hand; row k scores `n_scored[k]` bins after the history."""
    n_scored = [n_bins - history] * len(rows) if n_scored is None else n_scored
    n_units = max(len(model.rows(session)) for session, _ in rows)
    n_events = max(1, *(len(events) for _, events in rows)) + further_events
    n_rows = len(rows)
    unit_row = torch.zeros(n_rows, n_units, dtype=torch.long)
    unit_mask = torch.zeros(n_rows, n_units, dtype=torch.bool)
    events = torch.zeros(n_rows, n_events, 3, dtype=torch.long)
    event_mask = torch.zeros(n_rows, n_events, dtype=torch.bool)
    scored = torch.zeros(n_rows, n_bins, dtype=torch.bool)
    for k, (session, happened) in enumerate(rows):
        own = model.rows(session)
        unit_row[k, : len(own)], unit_mask[k, : len(own)] = own, True
        if happened:
            events[k, : len(happened)] = torch.tensor(sorted(happened))
            event_mask[k, : len(happened)] = True
        scored[k, history : history + n_scored[k]] = True
    return Batch(
        session=torch.tensor([session for session, _ in rows]),
        unit_row=unit_row,
        unit_mask=unit_mask,
        event_unit=events[..., 1],
        event_bin=events[..., 0],
        event_level=events[..., 2],
        event_mask=event_mask,
        scored=scored,
    )


def shapes_of(encoder: str = "conv") -> list[VariableShape]:
    """One variable of every kind and role."""
    given, target = {"is_decoded": False}, {"is_input": False}
    plane = {"mean": (0.0, 1.0), "scale": (1.0, 2.0), "lower": (-2.0, -3.0), "upper": (2.0, 5.0)}
    line = {"lower": (-2.0,), "upper": (2.0,)}
    return [
        VariableShape(name="place", kind="continuous", shape=(2,), functions=5, **plane),
        VariableShape(name="heading", kind="continuous", shape=(1,), period=360.0, functions=4),
        VariableShape(name="mode", kind="categorical", n_labels=3),
        VariableShape(name="goal", kind="continuous", shape=(1,), **line, **target),
        VariableShape(name="side", kind="categorical", n_labels=2, **target),
        VariableShape(name="speed", kind="continuous", shape=(1,), functions=4, horizon=4, **line, **given),
        VariableShape(name="cue", kind="categorical", n_labels=4, **given),
        VariableShape(
            name="film", kind="frames", shape=(2, 5, 3), horizon=5, encoder=encoder, stays=3, **given
        ),
    ]


def random_values(rng: np.random.Generator, shape: VariableShape, n_rows: int, n_bins: int) -> torch.Tensor:
    """(B, T, D) values or (B, T) labels."""
    if shape.kind == "categorical":
        return torch.from_numpy(rng.integers(0, shape.n_labels, (n_rows, n_bins)))
    size = (n_rows, n_bins, *shape.shape)
    return torch.from_numpy(rng.uniform(0, 360, size) if shape.period else rng.uniform(-2, 2, size))


def furnish(
    batch: Batch, shapes: Sequence[VariableShape], rng: np.random.Generator, known: float = 0.8
) -> Batch:
    """The batch with random values of all variables, unknown in single bins and in a stretch."""
    n_rows, n_bins = batch.scored.shape
    variables, frames = {}, {}
    for shape in shapes:
        if shape.kind == "frames":
            bins = torch.from_numpy(
                np.sort([rng.permutation(np.arange(-3, n_bins))[:9] for _ in range(n_rows)])
            )
            values = torch.from_numpy(rng.normal(size=(n_rows, 9, *shape.shape)))
            frames[shape.name] = FrameStack(
                values=values, bins=bins, known=torch.ones(n_rows, 9, dtype=torch.bool)
            )
            continue
        there = torch.from_numpy(rng.random((n_rows, n_bins)) < known)
        there[:, 5:8] = False
        variables[shape.name] = Variable(values=random_values(rng, shape, n_rows, n_bins), known=there)
    return replace(batch, variables=variables, frames=frames)


def draw(
    rng: np.random.Generator, *, n_bins: int, n_units: int, rate: float = 0.3, n_levels: int = 1
) -> list[Event]:
    """Random events, several of a unit in some bins, none in others."""
    counts = rng.poisson(rate, (n_bins, n_units))
    counts[rng.random(n_bins) < 0.2] = 0
    return sorted(
        (t, j, int(rng.integers(n_levels)))
        for t in range(n_bins)
        for j in range(n_units)
        for _ in range(counts[t, j])
    )


@pytest.fixture(scope="session")
def make_shape() -> Callable[..., SessionShape]:
    return shape_of


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Neuroformer]:
    return build


@pytest.fixture(scope="session")
def make_batch() -> Callable[..., Batch]:
    return assemble


@pytest.fixture(scope="session")
def draw_events() -> Callable[..., list[Event]]:
    return draw


@pytest.fixture(scope="session")
def make_shapes() -> Callable[..., list[VariableShape]]:
    return shapes_of


@pytest.fixture(scope="session")
def add_variables() -> Callable[..., Batch]:
    return furnish


@pytest.fixture(scope="session")
def draw_values() -> Callable[..., torch.Tensor]:
    return random_values
