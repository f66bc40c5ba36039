"""The task of a batch that several processes share: drawn for the whole batch, and then each takes its rows."""

from __future__ import annotations

from dataclasses import replace

import torch

from neuroformer.batch import Batch, Variable
from neuroformer.model.encoders import VariableShape
from neuroformer.model.tasks import Task, draw_task
from neuroformer.settings.context import TaskConfig
from neuroformer.training.ranks import rank_and_world, sum_over_ranks


def draw_shared_task(batch: Batch, variables: dict[str, VariableShape], odds: TaskConfig) -> Task:
    """Draw a task as one process with all rows would, from PyTorch's generator, seeded alike in all processes.

    Args:
        batch: this process's rows: of W processes, process r has rows r, r + W, r + 2 W … of the whole batch.
        variables: what each variable is for.
        odds: of the tasks.
    """
    rank, world = rank_and_world()
    if world == 1:
        return draw_task(batch, variables, odds)
    n_rows = int(sum_over_ranks([len(batch.session)], batch.session.device)[0])
    whole = draw_task(_rows_only(n_rows, variables), variables, odds)
    hidden = {
        name: ~variable.known[rank::world, 0].to(batch.session.device)
        for name, variable in whole.seen.variables.items()
    }
    seen = replace(
        batch,
        variables={k: v.hide(hidden[k]) if k in hidden else v for k, v in batch.variables.items()},
        frames={k: v.hide(hidden[k]) if k in hidden else v for k, v in batch.frames.items()},
    )
    labels = {} if whole.labels is None else whole.labels.variables
    own = {k: batch.variables[k].hide(~hidden[k]) for k in labels if k in batch.variables}
    return Task(name=whole.name, seen=seen, labels=replace(batch, variables=own) if own else None)


def _rows_only(n_rows: int, variables: dict[str, VariableShape]) -> Batch:
    """A batch of which a task can be drawn: rows in which every variable is known, and nothing else."""
    none = torch.zeros(n_rows, 0, dtype=torch.long)
    known = torch.ones(n_rows, 1, dtype=torch.bool)
    return Batch(
        session=torch.zeros(n_rows, dtype=torch.long),
        unit_row=none,
        unit_mask=none.bool(),
        event_unit=none,
        event_bin=none,
        event_level=none,
        event_mask=none.bool(),
        scored=known,
        variables={name: Variable(values=torch.zeros(n_rows, 1), known=known) for name in variables},
    )
