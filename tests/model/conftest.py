"""Tiny models with random weights in double precision, and batches of given events. A bin lasts 1 s."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from neuroformer.batch import Batch
from neuroformer.model import (
    CouplingConfig,
    HistoryConfig,
    ModelConfig,
    Neuroformer,
    SessionShape,
    TrunkConfig,
)

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
) -> Neuroformer:
    """A model whose every weight is random, of size `weights`; posterior scales are around 0.2."""
    config = ModelConfig(
        coupling=CouplingConfig(heads=2, window_s=4.0, rank=rank),
        history=HistoryConfig(window_s=5.0, functions=3),
        trunk=TrunkConfig(
            width=8, layers=layers, heads=2, window_s=6.0, state=state, time_constants_s=[1.5, 2.0]
        ),
    )
    model = Neuroformer(
        config=config, bin_s=1.0, sessions=list(sessions) or [shape_of(3)], n_levels=n_levels
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
