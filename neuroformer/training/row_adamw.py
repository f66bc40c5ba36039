"""AdamW that leaves rows of absent sessions alone.

Tables have one row per unit, or per session, of all that a model knows; a batch shows some of them. Plain AdamW gives
the others the gradient 0: it moves them on by their old momentum and lets their moments fade, and so takes a time that
grows with the vocabulary. Here a row is touched in the steps whose batch shows its session, and only then; in between
its value and moments stay as they are. Once it is shown again, after k steps, its moments first fade as they would have
in k − 1 steps without a gradient, and its step is as long as the k steps that momentum would make of it: the sum of a
geometric series, Σ (β₁ / √β₂)^i for i < k, which the pause to come is taken to be as long for as the one before. So a
rarely shown row learns about as much a step of the run as with AdamW, which without this (SparseAdam, SparseLamb) it
would not: its steps would be as few as its batches. Where every batch shows every session, this is AdamW
(Loshchilov & Hutter 2019, arXiv 1711.05101).

A gradient may be dense or sparse, of a table or of this process's share of it: rows of the batch's sessions count,
whether their gradient is 0 or not.
"""

from __future__ import annotations

import math
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
        own: of each session, the parameters that it alone uses; a step that does not show it does not look at them, so
            that a thousand sessions cost no more than the few that are shown.
        fused: as of `torch.optim.AdamW`, for what is no table.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        *,
        betas: tuple[float, float],
        units: Sequence[int],
        unit_tables: Iterable[nn.Parameter] = (),
        session_tables: Iterable[nn.Parameter] = (),
        own: Sequence[Sequence[nn.Parameter]] = (),
        fused: bool | None = None,
    ) -> None:
        """See the class."""
        super().__init__(groups, betas=betas, fused=fused)
        rows = {id(p): True for p in unit_tables} | {id(p): False for p in session_tables}
        self._tables = [
            (number, p, rows[id(p)])
            for number, group in enumerate(self.param_groups)
            for p in group["params"]
            if id(p) in rows
        ]
        self._units = torch.tensor(units)
        self._sessions: Tensor | None = None
        owner = {id(p): session for session, parameters in enumerate(own) for p in parameters}
        self._shared = [[p for p in g["params"] if id(p) not in owner] for g in self.param_groups]
        self._own: list[list[tuple[int, nn.Parameter]]] = [[] for _ in own]
        for number, group in enumerate(self.param_groups):
            for p in group["params"]:
                if id(p) in owner:
                    self._own[owner[id(p)]].append((number, p))

    def show(self, sessions: Tensor) -> None:
        """Say which sessions the batch of the next step shows, over all processes; before any word, it is all.

        Args:
            sessions: (S,) their numbers, rising.
        """
        self._sessions = sessions

    def shown(self) -> list[list[nn.Parameter]]:
        """Parameters of each group that the batch of the next step, or of the last one, can have a gradient of."""
        if self._sessions is None or not self._own:
            return [group["params"] for group in self.param_groups]
        found = [list(parameters) for parameters in self._shared]
        for session in self._sessions.tolist():
            for number, p in self._own[session]:
                found[number].append(p)
        return found

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of the last step."""
        if not set_to_none:
            super().zero_grad(set_to_none=False)
            return
        for parameters in self.shown():
            for p in parameters:
                p.grad = None

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
        whole = [group["params"] for group in self.param_groups]
        try:
            for group, parameters in zip(self.param_groups, self.shown(), strict=True):
                group["params"] = parameters
            super().step()
        finally:
            for group, parameters in zip(self.param_groups, whole, strict=True):
                group["params"] = parameters
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
                state["now"] = state.get("now", step).cpu()
                state["step"] = step.repeat(len(self._units)) if step.ndim == 0 else step

    @torch.no_grad()
    def _update(self, group: dict[str, Any], table: nn.Parameter, shown: _Shown, *, per_unit: bool) -> None:
        state = self.state[table]
        if not state:
            state["step"] = torch.zeros(len(self._units), device=table.device)
            state["now"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(table), torch.zeros_like(table)
        assert table.grad is not None
        value, mean, square, gradient = (
            x.to_local() if isinstance(x, DTensor) else x
            for x in (table, state["exp_avg"], state["exp_avg_sq"], table.grad)
        )
        state["now"] += 1
        now, seen = int(state["now"]), state["step"]
        pause = (now - seen)[shown.owner if per_unit else shown.sessions].double()
        seen[shown.sessions] = now
        rows = shown.units if per_unit else shown.sessions
        if isinstance(table, DTensor):
            first = _first_row(table)
            own = (rows >= first) & (rows < first + len(value))
            rows, pause = rows[own] - first, pause[own]
        every = len(rows) == len(value)
        if gradient.is_sparse:
            gradient = _dense_rows(gradient, rows)
        elif not every:
            gradient = gradient.index_select(0, rows)
        if every:
            _adamw(value, mean, square, gradient, step=now, pause=pause, group=group)
            return
        own_value, own_mean, own_square = (x.index_select(0, rows) for x in (value, mean, square))
        _adamw(own_value, own_mean, own_square, gradient, step=now, pause=pause, group=group)
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
    value: Tensor,
    mean: Tensor,
    square: Tensor,
    gradient: Tensor,
    *,
    step: int,
    pause: Tensor,
    group: dict[str, Any],
) -> None:
    """One step of some rows in place.

    Args:
        value: (R, …).
        mean: of the gradients.
        square: mean of their squares.
        gradient: of this step.
        step: number of this step, from 1.
        pause: (R,) steps since each row was shown, this one included; 1 if it was in the step before.
        group: settings.
    """
    lr, (beta1, beta2) = group["lr"], group["betas"]
    shape = (-1,) + (1,) * (value.ndim - 1)
    fade1, fade2 = ((beta ** (pause - 1)).to(value.dtype).view(shape) for beta in (beta1, beta2))
    # What momentum brings in a pause: each step is this part of the one before.
    ratio = beta1 / math.sqrt(beta2)
    size = lr / (1 - beta1**step) * (1 - ratio**pause) / (1 - ratio)
    if group["weight_decay"]:
        value.mul_(((1 - lr * group["weight_decay"]) ** pause).to(value.dtype).view(shape))
    mean.mul_(fade1).lerp_(gradient, 1 - beta1)
    square.mul_(fade2 * beta2).addcmul_(gradient, gradient, value=1 - beta2)
    spread = (square.sqrt() / math.sqrt(1 - beta2**step)).add_(group["eps"])
    value.addcdiv_(mean * size.to(value.dtype).view(shape), spread, value=-1)


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
