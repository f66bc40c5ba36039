"""What the data side hands to the model: chunks of several sessions, padded into one batch.

It stands between `neuroformer.data` and `neuroformer.model` so that neither needs to know the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A stimulus or behaviour variable in every bin."""

    values: Tensor
    """(B, T, D) float in the unit of the files, or (B, T) int64 labels; 0 where unknown."""
    known: Tensor
    """(B, T) bool."""

    def hide(self, rows: Tensor) -> Variable:
        """The same, unknown in the rows (B,) that are true."""
        return replace(self, known=self.known & ~rows.unsqueeze(1))


@dataclass(frozen=True, kw_only=True)
class FrameStack:
    """Frames of a stimulus at their own rate."""

    values: Tensor
    """(B, S, C, H, W) float."""
    bins: Tensor
    """(B, S) int64: bin in which each frame appears, below 0 if before the chunk."""
    known: Tensor
    """(B, S) bool: true for a real frame."""

    def hide(self, rows: Tensor) -> FrameStack:
        """The same, unknown in the rows (B,) that are true."""
        return replace(self, known=self.known & ~rows.unsqueeze(1))

    def shown(self, first: int, stop: int, horizon: int) -> Tensor:
        """(B, stop − first) bool: whether bins [first, stop) see a frame of the last `horizon` bins or their own."""
        time = torch.arange(first, stop, device=self.bins.device)
        lag = time.unsqueeze(-1) - self.bins.unsqueeze(1)
        return ((lag >= 0) & (lag <= horizon) & self.known.unsqueeze(1)).any(-1)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B chunks of T bins, each with up to N units and E events; sessions may differ from row to row.

    A bin before the start of its epoch holds no event and is not scored: what happened there is unknown and the
    model treats it as silent. Padding is marked in `unit_mask` and `event_mask`.
    """

    session: Tensor
    """(B,) int64: index of the session in the vocabulary."""
    unit_row: Tensor
    """(B, N) int64: vocabulary row of each unit; 0 where padded."""
    unit_mask: Tensor
    """(B, N) bool: true for a real unit."""
    event_unit: Tensor
    """(B, E) int64: unit of each event, as a column of `unit_row`; events in order of (bin, unit)."""
    event_bin: Tensor
    """(B, E) int64: bin of each event, 0 … T − 1."""
    event_level: Tensor
    """(B, E) int64: amplitude level of each event; 0 for spikes."""
    event_mask: Tensor
    """(B, E) bool: true for a real event."""
    scored: Tensor
    """(B, T) bool: true where the bin counts in the likelihood; the bins before are history."""
    variables: dict[str, Variable] = field(default_factory=dict)
    """Stimulus and behaviour by name; one that no session of the batch has may be missing."""
    frames: dict[str, FrameStack] = field(default_factory=dict)
    """Stimulus frames by name."""

    @property
    def n_bins(self) -> int:
        """T, history included."""
        return self.scored.shape[1]

    @cached_property  # reading it from a GPU waits for the GPU
    def first_scored(self) -> int:
        """The first bin that any row scores; nothing before it needs an intensity."""
        columns = self.scored.any(0)
        return int(columns.to(torch.int8).argmax()) if bool(columns.any()) else self.n_bins

    @cached_property
    def one_session(self) -> bool:
        """Whether all rows are of one session, with the same units in the same columns."""
        return bool((self.unit_row == self.unit_row[:1]).all())

    @property
    def scored_events(self) -> int:
        """Events in the bins that count."""
        return int((self.event_mask & self.scored.gather(1, self.event_bin)).sum())

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The same batch on another device."""
        return _each_tensor(self, lambda x: x.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory (called by the DataLoader)."""
        return _each_tensor(self, Tensor.pin_memory)

    def sum_per_bin(self, values: Tensor) -> Tensor:
        """Sum what the events of each bin carry: (B, E, C) → (B, T, C); padding counts nothing."""
        values = values * self.event_mask.unsqueeze(-1)
        total = values.new_zeros(values.shape[0], self.n_bins, values.shape[2])
        return total.scatter_add(1, self.event_bin.unsqueeze(-1).expand_as(values), values)

    def counts(self, weight: Tensor | None = None, *, scored_only: bool = False) -> Tensor:
        """Events of each unit in each bin, each event counting 1 or its `weight` (B, E): (B, T, N) float.

        In memory time runs fastest, as in the intensities, which come from filters over time.

        Args:
            weight: what an event counts.
            scored_only: return only the bins from `first_scored` on.
        """
        n_rows, n_units = self.unit_row.shape
        weight = self.event_mask.to(torch.get_default_dtype()) if weight is None else weight * self.event_mask
        counts = weight.new_zeros(n_rows, n_units * self.n_bins)
        cell = self.event_unit * self.n_bins + self.event_bin
        counts = counts.scatter_add(1, cell, weight).view(n_rows, n_units, self.n_bins).mT
        return counts[:, self.first_scored :] if scored_only else counts


def _each_tensor(part: Any, do: Callable[[Tensor], Tensor]) -> Any:
    """A copy with something done to every tensor, in mappings too."""
    changed: dict[str, Any] = {}
    for entry in fields(part):
        value = getattr(part, entry.name)
        changed[entry.name] = (
            {name: _each_tensor(item, do) for name, item in value.items()}
            if isinstance(value, dict)
            else do(value)
        )
    return type(part)(**changed)
