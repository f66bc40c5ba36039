"""The task of a batch: what the model may see, and what its readouts are to find.

One model encodes and decodes because every batch draws a task (Neuroformer's autoregression, arXiv 2311.00136; the
masks of NEDS, arXiv 2504.08201). Randomness comes from PyTorch's generator, which every step seeds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from neuroformer.batch import Batch
from neuroformer.model.encoders import VariableShape
from neuroformer.settings.context import TaskConfig

TASKS = ("spikes", "encode", "decode", "joint")


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is done with a batch.

    Attributes:
        name: one of `TASKS`.
        seen: the batch with what the model may see.
        labels: the batch with the labels that the readouts are to find; None when there is nothing to decode.
    """

    name: str
    seen: Batch
    labels: Batch | None


def draw_task(batch: Batch, variables: dict[str, VariableShape], odds: TaskConfig) -> Task:
    """Draw a task by its odds, and apply it."""
    weights = torch.tensor([getattr(odds, name) for name in TASKS], dtype=torch.float32)
    name = TASKS[int(torch.multinomial(weights, 1))]
    return make_task(name, batch, variables, hide=odds.hide)


def make_task(name: str, batch: Batch, variables: dict[str, VariableShape], *, hide: float = 0.0) -> Task:
    """Apply a task.

    Args:
        name: one of `TASKS`.
        batch: with everything that is known.
        variables: what each variable is for.
        hide: chance that a row hides a variable that the task shows.

    A variable that is decoded in a row is never seen in that row.
    """
    n_rows, device = len(batch.session), batch.session.device
    hidden: dict[str, Tensor] = {}
    for variable, shape in variables.items():
        match name:
            case "spikes":
                rows = torch.ones(n_rows, dtype=torch.bool)
            case "encode":
                rows = torch.rand(n_rows) < hide
            case "decode":
                rows = torch.ones(n_rows, dtype=torch.bool) if shape.is_decoded else torch.rand(n_rows) < hide
            case _:
                rows = torch.rand(n_rows) < 0.5
        hidden[variable] = rows.to(device)
    seen = replace(
        batch,
        variables={k: v.hide(hidden[k]) if k in hidden else v for k, v in batch.variables.items()},
        frames={k: v.hide(hidden[k]) if k in hidden else v for k, v in batch.frames.items()},
    )
    if name in ("spikes", "encode"):
        return Task(name=name, seen=seen, labels=None)
    labels = {
        k: v.hide(~hidden[k])
        for k, v in batch.variables.items()
        if k in variables and variables[k].is_decoded
    }
    return Task(name=name, seen=seen, labels=replace(batch, variables=labels) if labels else None)
