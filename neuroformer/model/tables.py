"""Tables with one row per unit or session of the vocabulary: growing them, and training a few of their rows.

A step trains the units of the sessions in its batch, perhaps a thousandth of the rows. With the tables as they are, its
backward pass would fill a gradient as large as each table, and the optimiser would read it all. Within `rows_alone` the
model computes with the rows of the batch alone, and what the tables get is a sparse gradient that holds these rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from neuroformer.batch import Batch

Place = tuple[nn.Module, str]
"""A parameter or buffer by its module and its name there."""

_pending: ContextVar[dict[Place, list[Tensor]] | None] = ContextVar("pending", default=None)


def append_rows(module: nn.Module, name: str, rows: Tensor) -> None:
    """Append rows to a module's parameter or buffer, a parameter becoming a new one; within `growing` at its end."""
    pending = _pending.get()
    if pending is None:
        _append((module, name), [rows])
    else:
        pending.setdefault((module, name), []).append(rows)


@contextmanager
def growing() -> Iterator[None]:
    """Append at the end of the block all rows that it brings.

    One at a time, the sessions of a large vocabulary would each copy all tables.
    """
    pending: dict[Place, list[Tensor]] = {}
    token = _pending.set(pending)
    try:
        yield
    finally:
        _pending.reset(token)
    for place, rows in pending.items():
        _append(place, rows)


def _append(place: Place, rows: Sequence[Tensor]) -> None:
    module, name = place
    old = getattr(module, name)
    new = torch.cat([old.detach(), *(part.to(old.device) for part in rows)])
    setattr(module, name, nn.Parameter(new) if isinstance(old, nn.Parameter) else new)


@dataclass(frozen=True, kw_only=True)
class SessionRows:
    """The units of some sessions, each session once.

    Attributes:
        sessions: S of them, rising.
        sizes: units of each.
        rows: (R,) rows of all their units in the tables, in the order of the sessions.
        owner: (R,) which of the S each belongs to.
    """

    sessions: tuple[int, ...]
    sizes: tuple[int, ...]
    rows: Tensor
    owner: Tensor

    @classmethod
    def of(cls, sessions: Iterable[int], offsets: Tensor) -> SessionRows:
        """Look up.

        Args:
            sessions: may come in any order, and several times.
            offsets: (all sessions + 1,) first row of each session.
        """
        found = tuple(sorted(set(sessions)))
        places = offsets.tolist()
        starts, stops = [places[s] for s in found], [places[s + 1] for s in found]
        sizes = tuple(stop - start for start, stop in zip(starts, stops, strict=True))
        device = offsets.device
        rows = torch.cat([torch.arange(a, b, device=device) for a, b in zip(starts, stops, strict=True)])
        owner = torch.arange(len(found), device=device).repeat_interleave(
            offsets.new_tensor(sizes), output_size=len(rows)
        )
        return cls(sessions=found, sizes=sizes, rows=rows, owner=owner)

    def of_table(self, table: Tensor) -> Tensor:
        """(R, …) rows of a table; without a copy where they lie together, as those of a single session do."""
        if len(self.rows) == len(table):
            return table
        if len(self.sessions) == 1:
            return table.narrow(0, int(self.rows[0]), len(self.rows)) if len(self.rows) else table[:0]
        return table[self.rows]

    def sum(self, values: Tensor) -> Tensor:
        """Sum the values (R, …) of each session's units: (S, …)."""
        if len(self.sessions) == 1:
            return values.sum(0, keepdim=True)
        return values.new_zeros(len(self.sessions), *values.shape[1:]).index_add(0, self.owner, values)


@contextmanager
def rows_alone(tables: Sequence[Place], offsets: Place, batch: Batch) -> Iterator[Batch]:
    """While the block runs, tables hold the rows of the units of a batch's sessions alone.

    Numbers computed in the block, and the gradients of the tables, are those without it; but the gradients are sparse,
    with one entry for each row of these sessions.

    Args:
        tables: parameters with a row per unit of the vocabulary.
        offsets: buffer with the first row of each session and, last, the number of rows.
        batch: the chunks.

    Yields:
        The same batch, its `unit_row` counted in the tables as they are now.
    """
    old: Tensor = getattr(*offsets)
    there = SessionRows.of(batch.session.tolist(), old)
    sessions = torch.tensor(there.sessions, device=old.device)
    sizes = torch.zeros_like(old)
    sizes[sessions + 1] = old.new_tensor(there.sizes)
    new = sizes.cumsum(0)
    moved = (new - old)[batch.session].unsqueeze(1)
    whole = [(module, name, module._parameters[name]) for module, name in tables]
    holder, key = offsets
    try:
        for module, name, table in whole:
            assert table is not None
            # What stands in for the parameter is no parameter, so it cannot be set as an attribute.
            module._parameters[name] = _Rows.apply(table, there.rows)
        holder._buffers[key] = new
        yield replace(batch, unit_row=torch.where(batch.unit_mask, batch.unit_row + moved, 0))
    finally:
        for module, name, table in whole:
            module._parameters[name] = table
        holder._buffers[key] = old


class _Rows(torch.autograd.Function):
    """Rows of a table, each at most once and in rising order; the table's gradient is sparse and holds these rows."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor) -> Tensor:
        """(R, …)."""
        ctx.rows, ctx.size = (
            rows,
            table.shape,
        )  # not saved for one backward pass: parts of a batch make several
        return table.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Of the table, sparse."""
        # A copy: clipping writes into it, and the same tensor may be the gradient of something else.
        values = gradient.clone(memory_format=torch.contiguous_format)
        return torch.sparse_coo_tensor(
            ctx.rows.unsqueeze(0), values, ctx.size, check_invariants=False, is_coalesced=True
        ), None
