"""Random counts of a bin: Poisson given the intensities, from uniform numbers that belong to the stream."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_BLOCK = 128  # bins whose numbers are drawn at once; part of what a seed means


def stream_seed(seed: int, *names: int | str) -> int:
    """A seed for one stream, from that of the call and what the stream is (session, place, trial)."""
    words = [zlib.crc32(name.encode()) if isinstance(name, str) else name for name in names]
    return int(np.random.SeedSequence([seed, *words]).generate_state(1, np.uint64)[0] >> np.uint64(1))


class Uniforms:
    """One uniform number per stream, bin, unit and level; each stream has a generator of its own.

    So a stream's numbers do not depend on which other streams are drawn beside it.

    Args:
        seeds: of the streams.
        n_units: (B,) own units of each stream.
        n_padded: units of the widest.
        n_levels: amplitude levels.
        device: where the numbers are wanted; they are drawn on the CPU, so that a seed means the same everywhere.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        *,
        n_units: Sequence[int],
        n_padded: int,
        n_levels: int,
        device: torch.device | str = "cpu",
    ) -> None:
        """See the class."""
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.n_cells = [n * n_levels for n in n_units]
        self.n_padded, self.device = n_padded * n_levels, device
        self.place = _BLOCK
        self.held = torch.empty(0)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these streams alone."""
        self.generators = [self.generators[i] for i in rows]
        self.n_cells = [self.n_cells[i] for i in rows]
        self.held = self.held[:, list(rows)] if self.place < _BLOCK else self.held

    def next(self) -> Tensor:
        """(B, N · Q) float64 of the next bin; 1 where padded, which is never below a probability."""
        if self.place == _BLOCK:
            held = torch.ones(_BLOCK, len(self.generators), self.n_padded, dtype=torch.float64)
            for row, (generator, n) in enumerate(zip(self.generators, self.n_cells, strict=True)):
                held[:, row, :n] = torch.rand(_BLOCK, n, generator=generator, dtype=torch.float64)
            self.held, self.place = held.to(self.device), 0
        self.place += 1
        return self.held[self.place - 1]


def draw_counts(intensity: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Invert the Poisson distribution: cells (indices into the flattened arrays, rising) with an event, and counts.

    A count is at least n where the uniform number is below P(K ≥ n); so a cell of intensity 0 never has an event.

    Args:
        intensity: expected events, float64.
        uniform: of the same shape, in [0, 1).

    >>> draw_counts(torch.tensor([0.0, 1.0, 2.0, 0.1]), torch.tensor([0.0, 0.3, 0.0001, 0.2]))
    (tensor([1, 2]), tensor([1, 9]))
    """
    cells = (uniform < -torch.expm1(-intensity)).view(-1).nonzero().squeeze(1)
    expected, chance = intensity.reshape(-1)[cells], uniform.reshape(-1)[cells]
    counts = torch.ones_like(cells)
    # P(K ≥ 2) ≤ λ² / 2: mostly this says at once that no cell has a second event.
    if not bool((chance < 0.5 * expected.square()).any()):
        return cells, counts
    mass = torch.exp(-expected)
    tail, n = -torch.expm1(-expected), 1
    while True:
        mass = mass * expected / n  # P(K = n)
        tail = tail - mass  # P(K ≥ n + 1)
        more = chance < tail
        # Past the bulk the tail is a difference of equal numbers; it falls below every number that is drawn.
        if not bool(more.any()):
            return cells, counts
        counts, n = counts + more, n + 1


def sharpen(
    intensity: Tensor, *, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Tensor:
    """Redistribute a bin's expected events over units; their total stays.

    With Λ = Σ_j λ_j and q_j = λ_j^{1/T} / Σ_i λ_i^{1/T}: of q only the `top_k` largest are kept, and of these the
    smallest set of largest ones that holds `top_p` of their sum; the rest is 0. The result is Λ q_j / Σ_kept q.

    Args:
        intensity: (B, N) expected events; 0 where a unit cannot fire.
        temperature: T; below 1 the likelier units gain, above 1 the unlikelier. 1 changes nothing.
        top_k: how many units may fire in the bin.
        top_p: which share of the expected events may, by the likeliest units.

    >>> sharpen(torch.tensor([[0.1, 0.2, 0.3]]), top_k=2)
    tensor([[0.0000, 0.2400, 0.3600]])
    """
    if temperature == 1 and top_k is None and top_p is None:
        return intensity
    total = intensity.sum(-1, keepdim=True)
    q = torch.softmax(intensity.log() / temperature, -1)
    q = torch.where(total > 0, q, torch.zeros_like(q))  # nothing can fire
    if top_k is not None or top_p is not None:
        ranked, order = q.sort(dim=-1, descending=True, stable=True)
        if top_k is not None:
            ranked[..., top_k:] = 0
        if top_p is not None:
            before = ranked.cumsum(-1) - ranked
            ranked = ranked * (before < top_p * ranked.sum(-1, keepdim=True))
        q = torch.zeros_like(q).scatter(-1, order, ranked)
        q = q / q.sum(-1, keepdim=True).clamp(min=torch.finfo(q.dtype).tiny)
    return total * q
