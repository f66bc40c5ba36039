"""Event tokens of all rows one behind the other, without padding, and how they look back.

A token looks at itself and at the tokens of its own row before it, at most a window of bins back: a run of tokens that
ends with itself. So rows that stand in a row cannot cross, times restart with each row, and attention costs what the
windows hold and not what the longest row squared holds: queries go in blocks, and a block sees the tokens from the
oldest that its first query looks at to its own last.

Legend: B rows, E padded tokens of a row, M places in the sequence, G blocks of Q queries, K keys of a block, H heads,
C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from neuroformer.batch import Batch

_QUERIES = 64  # of a block; on a CPU the fastest of 32, 64, 128 and 256 for heads of 16 and 32 channels


@dataclass(frozen=True, kw_only=True)
class Packed:
    """R tokens in order of (row, bin, unit), on M places, a multiple of Q; places that stay free hold no token.

    Attributes:
        token: (R,) where each token stands among the (B · E) padded ones.
        place: (R,) its place in the sequence.
        row: (R,) its row of the batch.
        time: (M,) bin within its row; 0 on a free place.
        oldest: (M,) first place that each looks at, the last is its own; a free one looks at itself.
    """

    token: Tensor
    place: Tensor
    row: Tensor
    time: Tensor
    oldest: Tensor

    @classmethod
    def of(cls, batch: Batch, window: int, *, aligned: bool = False) -> Packed:
        """The real tokens of a batch; each looks `window` bins back.

        Args:
            batch: the chunks.
            window: in bins.
            aligned: every row starts a block of its own. It costs some room, and makes what is found for a token the
                same to the last bit whatever comes later and whatever the other rows hold.
        """
        n_events = batch.event_mask.shape[1]
        token = batch.event_mask.flatten().nonzero().squeeze(1)
        row = token.div(n_events, rounding_mode="floor")
        bins = batch.event_bin.flatten()[token]
        # One clock for all rows, with a pause between them that no window bridges.
        clock = row * (batch.n_bins + window + 1) + bins
        first = torch.searchsorted(clock, clock - window)  # in numbers of tokens
        place = torch.arange(len(token), device=token.device)
        if aligned:
            size = batch.event_mask.sum(1)
            room = -(-size // _QUERIES) * _QUERIES
            place = place + ((room.cumsum(0) - room) - (size.cumsum(0) - size))[row]
        n = -(-(int(place[-1]) + 1) // _QUERIES) * _QUERIES if len(place) else 0
        return cls(
            token=token,
            place=place,
            row=row,
            time=bins.new_zeros(n).index_copy(0, place, bins),
            oldest=torch.arange(n, device=token.device).index_copy(0, place, place[first]),
        )

    def spread(self, x: Tensor) -> Tensor:
        """(R, D) of the tokens → (M, D), 0 on free places."""
        if len(self.time) == len(x):
            return x
        return x.new_zeros(len(self.time), x.shape[1]).index_copy(0, self.place, x)

    @cached_property
    def blocks(self) -> Blocks:
        """The places in blocks."""
        return Blocks.of(self.oldest)

    def mask(self) -> Tensor:
        """(M, M) bool, true where a query (row) may look at a key (column)."""
        place = torch.arange(len(self.time), device=self.oldest.device)
        return (place >= self.oldest[:, None]) & (place <= place[:, None])


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """G blocks of Q queries, each with K = look + Q keys: those before it and its own.

    Attributes:
        look: keys before a block.
        bias: (G, 1, Q, K), 0 where a query may look and −inf elsewhere.
    """

    look: int
    bias: Tensor

    @classmethod
    def of(cls, oldest: Tensor) -> Blocks:
        """Blocks of queries that look from the place `oldest` (M,) to their own."""
        device = oldest.device
        oldest = oldest.view(-1, _QUERIES)
        place = torch.arange(oldest.numel(), device=device).view(-1, _QUERIES)
        look = int((place[:, 0] - oldest[:, 0]).max()) if len(oldest) else 0
        # In numbers of a block's keys, which floats hold exactly; integers and bools take three times as long.
        key = torch.arange(look + _QUERIES, device=device, dtype=torch.float32)
        first = (oldest - place[:, :1] + look).to(key.dtype)  # (G, Q)
        last = key[look:].unsqueeze(1)  # (Q, 1): its own
        bias = key - first.unsqueeze(2)
        bias = torch.minimum(bias, last - key, out=bias).ge_(0).log_()  # log 1 and log 0
        return cls(look=look, bias=bias.unsqueeze(1))

    def queries(self, x: Tensor) -> Tensor:
        """(M, H, C) → (G, H, Q, C)."""
        return x.unflatten(0, (-1, _QUERIES)).transpose(1, 2)

    def keys(self, x: Tensor) -> Tensor:
        """(M, H, C) → (G, H, K, C): every block's own, behind the `look` before them."""
        found: Tensor = _Overlapping.apply(x, self.look)
        return found.transpose(1, 2)

    def tokens(self, y: Tensor) -> Tensor:
        """(G, H, Q, C) → (M, H · C)."""
        return y.transpose(1, 2).flatten(2).flatten(0, 1)


class _Overlapping(torch.autograd.Function):
    """(M, H, C) → (G, K, H, C): views of one array, where copies would cost as much as the attention."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, look: int) -> Tensor:
        ctx.look = look
        padded = x.new_empty(look + len(x), *x.shape[1:])
        padded[:look] = 0
        padded[look:] = x
        step, *rest = padded.stride()
        size = (len(x) // _QUERIES, look + _QUERIES, *x.shape[1:])
        return padded.as_strided(size, (_QUERIES * step, step, *rest))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (grad,) = grads
        n_blocks, n_keys = grad.shape[:2]
        n = n_blocks * _QUERIES
        # The first Q keys of all blocks fill what the others are added to, but for the last places.
        total = grad.new_empty(ctx.look + _QUERIES + n, *grad.shape[2:])
        total[n:] = 0
        total[:n].unflatten(0, (n_blocks, _QUERIES)).copy_(grad[:, :_QUERIES])
        for start in range(_QUERIES, n_keys, _QUERIES):
            stop = min(start + _QUERIES, n_keys)
            part = total[start : start + n].unflatten(0, (n_blocks, _QUERIES))
            part[:, : stop - start] += grad[:, start:stop]
        return total[ctx.look : ctx.look + n], None
