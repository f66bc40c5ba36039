"""AdamW that leaves rows of absent sessions alone.

Tables have one row per unit, or per session, of all that a model knows; a batch shows some of them. Plain AdamW would
move the others by their old momentum and let their moments fade: its time grows with the vocabulary, and what becomes
of a session depends on how many others there are. Here a row is touched in the steps whose batch shows its session, and
only then: value, moments and the count of steps, by which the moments' bias is corrected, stay as they are in between
(as POYO's SparseLamb and PyTorch's SparseAdam do; AdamW: Loshchilov & Hutter 2019, arXiv 1711.05101). Where every batch
shows every session, this is AdamW.

A gradient may be dense or sparse, of a table or of this process's share of it: rows of the batch's sessions count,
whether their gradient is 0 or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor


class RowAdamW(torch.optim.AdamW):
    """AdamW with tables of which rows are trained.

    Args:
        groups: as of `torch.optim.AdamW`.
        betas: likewise.
        units: units of each session.
        unit_tables: parameters with one row per unit.
        session_tables: parameters with one row per session.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        *,
        betas: tuple[float, float],
        units: Sequence[int],
        unit_tables: Iterable[nn.Parameter] = (),
        session_tables: Iterable[nn.Parameter] = (),
    ) -> None:
        """See the class."""
        super().__init__(groups, betas=betas)
        rows = {id(p): True for p in unit_tables} | {id(p): False for p in session_tables}
        self._tables = [
            (number, p, rows[id(p)])
            for number, group in enumerate(self.param_groups)
            for p in group["params"]
            if id(p) in rows
        ]
        self._units = torch.tensor(units)
        self._sessions: Tensor | None = None

    def show(self, sessions: Tensor) -> None:
        """Say which sessions the batch of the next step shows, over all processes; before any word, it is all.

        Args:
            sessions: (S,) their numbers, rising.
        """
        self._sessions = sessions

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; see the class."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        held = []
        shown = _Shown.of(self._sessions, self._units)
        for number, table, per_unit in self._tables:
            if table.grad is not None:
                shown = shown.to(table.device)
                self._update(self.param_groups[number], table, shown, per_unit=per_unit)
                held.append((table, table.grad))
                table.grad = None
        super().step()
        for table, gradient in held:
            table.grad = gradient
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load; the state of plain AdamW too, which counted the same steps for all rows of a table."""
        super().load_state_dict(state_dict)
        for _, table, _ in self._tables:
            state = self.state.get(table, {})
            if "step" in state:
                step = state["step"].to(table.device)
                state["step"] = step.repeat(len(self._units)) if step.ndim == 0 else step

    @torch.no_grad()
    def _update(self, group: dict[str, Any], table: nn.Parameter, shown: _Shown, *, per_unit: bool) -> None:
        state = self.state[table]
        if not state:
            state["step"] = torch.zeros(len(self._units), device=table.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(table), torch.zeros_like(table)
        assert table.grad is not None
        value, mean, square, gradient = (
            x.to_local() if isinstance(x, DTensor) else x
            for x in (table, state["exp_avg"], state["exp_avg_sq"], table.grad)
        )
        state["step"][shown.sessions] += 1
        step = state["step"][shown.owner if per_unit else shown.sessions]
        rows = shown.units if per_unit else shown.sessions
        if isinstance(table, DTensor):
            first = _first_row(table)
            own = (rows >= first) & (rows < first + len(value))
            rows, step = rows[own] - first, step[own]
        every = len(rows) == len(value)
        if gradient.is_sparse:
            gradient = _dense_rows(gradient, rows)
        elif not every:
            gradient = gradient.index_select(0, rows)
        if every:
            _adamw(value, mean, square, gradient, step=step, group=group)
            return
        own_value, own_mean, own_square = (x.index_select(0, rows) for x in (value, mean, square))
        _adamw(own_value, own_mean, own_square, gradient, step=step, group=group)
        for whole, part in ((value, own_value), (mean, own_mean), (square, own_square)):
            whole.index_copy_(0, rows, part)


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """What a batch shows."""

    sessions: Tensor
    """(S,) numbers of sessions, rising."""
    units: Tensor
    """(R,) rows of their units."""
    owner: Tensor
    """(R,) session of each."""

    @classmethod
    def of(cls, sessions: Tensor | None, sizes: Tensor) -> _Shown:
        """Of sessions (None for all) when these have so many units."""
        if sessions is None:
            sessions = torch.arange(len(sizes))
        sizes = sizes.to(sessions.device)
        first, own = sizes.cumsum(0) - sizes, sizes[sessions]
        shift = (first[sessions] - (own.cumsum(0) - own)).repeat_interleave(own)
        units = torch.arange(len(shift), device=shift.device) + shift
        return cls(sessions=sessions, units=units, owner=sessions.repeat_interleave(own))

    def to(self, device: torch.device) -> _Shown:
        """On a device."""
        if self.sessions.device == device:
            return self
        return _Shown(
            sessions=self.sessions.to(device), units=self.units.to(device), owner=self.owner.to(device)
        )


def clip_gradients(parameters: Sequence[nn.Parameter], most: float) -> Tensor:
    """`torch.nn.utils.clip_grad_norm_`, for sparse gradients too; returns the norm before."""
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
    values = [p.grad.values() if p.grad.is_sparse else p.grad for p in parameters if p.grad is not None]
    if len(values) == 0 or not any(p.grad is not None and p.grad.is_sparse for p in parameters):
        return torch.nn.utils.clip_grad_norm_(parameters, most)
    norm = torch.nn.utils.get_total_norm(values)
    factor = (most / (norm + 1e-6)).clamp(max=1.0)
    with torch.no_grad():
        for value in values:
            value.mul_(factor)
    return norm


def _adamw(
    value: Tensor, mean: Tensor, square: Tensor, gradient: Tensor, *, step: Tensor, group: dict[str, Any]
) -> None:
    """One step of some rows in place, in the order of operations of `torch.optim.AdamW`; `step` (R,) counts from 1."""
    lr, (beta1, beta2) = group["lr"], group["betas"]
    shape = (-1,) + (1,) * (value.ndim - 1)
    size = (lr / (1 - beta1 ** step.double())).to(value.dtype).view(shape)
    correction = (1 - beta2 ** step.double()).sqrt().to(value.dtype).view(shape)
    if group["weight_decay"]:
        value.mul_(1 - lr * group["weight_decay"])
    mean.lerp_(gradient, 1 - beta1)
    square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    value.addcdiv_(mean * size, (square.sqrt() / correction).add_(group["eps"]), value=-1)


def _dense_rows(gradient: Tensor, rows: Tensor) -> Tensor:
    """The given rows, rising, of a sparse gradient that holds none but these."""
    gradient = gradient.coalesce()
    found, values = gradient.indices()[0], gradient.values()
    if torch.equal(found, rows):
        return values
    whole = values.new_zeros(len(rows), *values.shape[1:])
    return whole.index_copy_(0, torch.searchsorted(rows, found), values)


def _first_row(table: DTensor) -> int:
    """First row of this process's share of a table that is cut into rows."""
    size = table.device_mesh.size(0)
    share = -(-table.shape[0] // size)
    return min(table.shape[0], share * table.device_mesh.get_local_rank(0))
