"""What each task shows and asks for: a variable is never both in one row."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from neuroformer.batch import Batch
from neuroformer.model import Neuroformer
from neuroformer.model.encoders import VariableShape
from neuroformer.model.tasks import TASKS, draw_task, make_task
from neuroformer.settings.context import TaskConfig

T, ROWS = 12, 12


@pytest.fixture
def shapes(make_shapes: Callable[..., list[VariableShape]]) -> dict[str, VariableShape]:
    return {shape.name: shape for shape in make_shapes()}


@pytest.fixture
def model(
    make_model: Callable[..., Neuroformer], make_shape: Any, shapes: dict[str, VariableShape]
) -> Neuroformer:
    return make_model(make_shape(3), variables=list(shapes.values()))


@pytest.fixture
def batch(
    model: Neuroformer,
    make_batch: Callable[..., Batch],
    draw_events: Any,
    add_variables: Callable[..., Batch],
    shapes: dict[str, VariableShape],
    rng: np.random.Generator,
) -> Batch:
    rows = [(0, draw_events(rng, n_bins=T, n_units=3)) for _ in range(ROWS)]
    return add_variables(make_batch(model, *rows, n_bins=T, history=3), list(shapes.values()), rng)


def seen_rows(batch: Batch) -> dict[str, torch.Tensor]:
    """(B,) by variable: whether anything is known."""
    return {k: v.known.any(1) for k, v in (batch.variables | batch.frames).items()}


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("hide", [0.0, 0.5])
def test_what_each_task_shows_and_asks_for(
    batch: Batch, shapes: dict[str, VariableShape], name: str, hide: float
) -> None:
    torch.manual_seed(0)
    task = make_task(name, batch, shapes, hide=hide)
    seen = seen_rows(task.seen)
    asked = {} if task.labels is None else seen_rows(replace(task.labels, frames={}))
    decoded = {k for k, s in shapes.items() if s.is_decoded}
    assert asked.keys() == (decoded if name in ("decode", "joint") else set())
    for key, shape in shapes.items():
        if key in asked:
            assert not (seen[key] & asked[key]).any()  # never both
            assert (seen[key] | asked[key]).all()  # and never lost
        if name == "spikes":
            assert not seen[key].any()
        elif name == "decode" and shape.is_decoded:
            assert asked[key].all()
        elif name == "joint" or hide:
            assert 0 < int(seen[key].sum()) < ROWS
        else:
            assert seen[key].all()
    for key, variable in task.seen.variables.items():
        rows = seen[key]
        assert torch.equal(variable.known[rows], batch.variables[key].known[rows])
        assert variable.values is batch.variables[key].values
    assert task.seen.event_mask is batch.event_mask


@pytest.mark.parametrize("name", TASKS)
def test_what_is_asked_for_moves_no_prediction(
    model: Neuroformer,
    batch: Batch,
    shapes: dict[str, VariableShape],
    draw_values: Callable[..., torch.Tensor],
    rng: np.random.Generator,
    name: str,
) -> None:
    """Every variable that the task hides, in every role: other values, and not a bit of any output moves."""

    def run(batch: Batch) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
        torch.manual_seed(1)
        task = make_task(name, batch, shapes, hide=0.3)
        with torch.no_grad():
            outputs = [model(task.seen)[0], *model.readout_outputs(task.seen).values()]
            return outputs, seen_rows(task.seen)

    reference, seen = run(batch)
    for key, shape in shapes.items():
        hidden = ~seen[key]
        if not hidden.any():
            continue
        if shape.kind == "frames":
            stack = batch.frames[key]
            values = torch.where(hidden[:, None, None, None, None], stack.values + 1, stack.values)
            other = replace(batch, frames={key: replace(stack, values=values)})
        else:
            variable = batch.variables[key]
            fresh = draw_values(rng, shape, ROWS, T)
            rows = hidden.view(-1, *[1] * (fresh.ndim - 1))
            moved = replace(variable, values=torch.where(rows, fresh, variable.values))
            other = replace(batch, variables=batch.variables | {key: moved})
        found, _ = run(other)
        assert all(torch.equal(a, b) for a, b in zip(found, reference, strict=True)), key


def test_tasks_are_drawn_by_their_odds(batch: Batch, shapes: dict[str, VariableShape]) -> None:
    torch.manual_seed(0)
    odds = TaskConfig(spikes=1, encode=0, decode=2, joint=1)
    found = Counter(draw_task(batch, shapes, odds).name for _ in range(400))
    assert found["encode"] == 0
    assert abs(found["decode"] - 200) < 45
    assert abs(found["spikes"] - 100) < 40
    torch.manual_seed(5)
    first = [draw_task(batch, shapes, odds).name for _ in range(20)]
    torch.manual_seed(5)
    assert [draw_task(batch, shapes, odds).name for _ in range(20)] == first


def test_without_decoded_variables_nothing_is_asked(batch: Batch, shapes: dict[str, VariableShape]) -> None:
    given = {k: s for k, s in shapes.items() if not s.is_decoded}
    for name in TASKS:
        assert make_task(name, batch, given).labels is None


@pytest.mark.parametrize("odds", [{"spikes": -1.0}, dict.fromkeys(TASKS, 0.0), {"hide": 1.0}])
def test_odds_that_make_no_sense_are_refused(odds: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        TaskConfig(**odds)
