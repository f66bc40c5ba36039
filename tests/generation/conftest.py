"""Tiny models with random weights that stay calm in free run, and their full forward pass. A bin lasts 1 s."""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from neuroformer.batch import Batch
from neuroformer.generation import Sampled
from neuroformer.model import Neuroformer


def _model_tests() -> ModuleType:
    path = Path(__file__).parents[1] / "model" / "conftest.py"
    spec = importlib.util.spec_from_file_location("model_conftest", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TINY = _model_tests()


def calm(
    *n_units: int, levels: Sequence[float] = (1.0,), weights: float = 0.12, **settings: Any
) -> Neuroformer:
    """A model of sessions with these units, whose activity does not run away."""
    shapes = [TINY.shape_of(n, levels) for n in n_units]
    model: Neuroformer = TINY.build(*shapes, n_levels=len(levels), weights=weights, **settings)
    with torch.no_grad():
        model.bias -= 1.0
        for name, parameter in model.named_parameters():
            if name.endswith("log_scale"):
                parameter -= 1.5
    return model


def pasts(
    model: Neuroformer,
    *rows: tuple[int, int],
    rng: np.random.Generator,
    n_bins: int,
    history: int | None = None,
) -> Batch:
    """A batch of (session, units) with random events in the history, `n_bins` scored bins and none in these."""
    history = model.context if history is None else history
    events = [
        (session, TINY.draw(rng, n_bins=history, n_units=n, n_levels=model.n_levels)) for session, n in rows
    ]
    batch: Batch = TINY.assemble(model, *events, n_bins=history + n_bins, history=history)
    return batch


def full_pass(model: Neuroformer, batch: Batch, row: int, found: Sampled, stream: int) -> np.ndarray:
    """(T, N) log-intensities of the finished stream by `Neuroformer.forward`."""
    first = batch.first_scored
    past = batch.event_mask[row] & (batch.event_bin[row] < first)
    mine = found.stream == stream
    own = np.stack([found.bin[mine] + first, found.unit[mine], found.level[mine]], 1)
    old = torch.stack([batch.event_bin[row], batch.event_unit[row], batch.event_level[row]], 1)[past]
    events = [tuple(int(x) for x in event) for event in [*old.tolist(), *own.tolist()]]
    alone = TINY.assemble(model, (int(batch.session[row]), events), n_bins=batch.n_bins, history=first)
    cut = slice(row, row + 1)
    alone = replace(
        alone,
        variables={
            name: replace(v, values=v.values[cut], known=v.known[cut]) for name, v in batch.variables.items()
        },
        frames={
            name: replace(v, values=v.values[cut], bins=v.bins[cut], known=v.known[cut])
            for name, v in batch.frames.items()
        },
    )
    with torch.no_grad():
        result: np.ndarray = model(alone)[0][0].numpy()
    return result


@pytest.fixture(scope="session")
def make_calm() -> Callable[..., Neuroformer]:
    return calm


@pytest.fixture(scope="session")
def make_pasts() -> Callable[..., Batch]:
    return pasts


@pytest.fixture(scope="session")
def full() -> Callable[..., np.ndarray]:
    return full_pass


@pytest.fixture(scope="session")
def shapes() -> Callable[..., Any]:
    return TINY.shapes_of


@pytest.fixture(scope="session")
def furnish() -> Callable[..., Batch]:
    return TINY.furnish


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
