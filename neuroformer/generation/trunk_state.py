"""The trunk, bin by bin: keys and values of past event tokens, and running sums of its exponential filters.

What `Trunk.state` computes for a whole chunk, computed for one bin after the other at a cost that does not grow with
the length of the recording. A token's keys and values never change once it is there, as tokens look back only; tokens
that have left the attention window are overwritten.

Legend: B streams, M tokens of a bin, D width, H heads, C = D / H, K tokens kept, S state, P = filters · S.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neuroformer.batch import Batch
from neuroformer.model.attention import Block, rotary_angles
from neuroformer.model.trunk import Trunk

_ANGLES = 256  # bins whose rotary angles are computed at once
_LONG_AGO = -(2**40)
_WORTH_A_CALL = 100_000  # products of a stream's scores above which it is attended to by itself


class TrunkState:
    """State of the trunk in B streams.

    Args:
        trunk: in evaluation mode.
        batch: chunks; their events before `batch.first_scored` are the past.
        weight: (B, E) what each event counts.
    """

    def __init__(self, trunk: Trunk, batch: Batch, weight: Tensor) -> None:
        """See the class."""
        self.trunk, self.bin = trunk, batch.first_scored
        self.window, self.n_lags = trunk.window, trunk.n_lags
        tau = trunk.unit.new_tensor(trunk.time_constants)
        n_filters = len(trunk.time_constants)
        self.n_state = trunk.bias.shape[0]
        pools = [pool.weight for pool in trunk.pool if isinstance(pool, nn.Linear)]
        self.pool = torch.cat([w / t.sqrt() for w, t in zip(pools, tau, strict=True)])  # (P, D)
        self.decay = torch.exp(-1 / tau).repeat_interleave(self.n_state)  # (P,)
        self.tail = self.decay**self.n_lags
        self.bias = trunk.bias
        self.level = trunk.events_per_bin[batch.session].clamp(min=0.1).rsqrt()[:, None]  # (B, 1)
        self.session = trunk.session[batch.session]  # (B, D)
        self.layers = [_Layer(block) for block in trunk.blocks if isinstance(block, Block)]
        self._angles_from = -1
        # Of the tokens kept: bin and running number, (B, K); of the streams: tokens so far, (B,).
        self.at = self.number = self.n_tokens = torch.empty(0, dtype=torch.long)
        past = replace(batch, event_mask=batch.event_mask & (batch.event_bin < self.bin))
        pooled = self._prefill(past) @ self.pool.mT * weight.unsqueeze(-1)
        per_bin = past.sum_per_bin(pooled)[:, max(0, self.bin - self.n_lags) : self.bin]  # (B, ≤ n_lags, P)
        lag = torch.arange(per_bin.shape[1], 0, -1).to(per_bin)
        self.sum = torch.einsum("blp,lp->bp", per_bin, self.decay ** lag[:, None])
        self.ring = per_bin.new_zeros(self.n_lags, len(per_bin), n_filters * self.n_state)
        slots = torch.arange(self.bin - per_bin.shape[1], self.bin) % self.n_lags
        self.ring[slots] = per_bin.transpose(0, 1)
        self.filled = (self.ring != 0).flatten(1).any(1).tolist()

    def keep(self, rows: Tensor) -> None:
        """Go on with these streams (B',) alone; a stream may be named several times."""
        self.level, self.session, self.sum = self.level[rows], self.session[rows], self.sum[rows]
        self.ring = self.ring[:, rows]
        if self.layers:
            self.at, self.number, self.n_tokens = self.at[rows], self.number[rows], self.n_tokens[rows]
            for layer in self.layers:
                layer.keys, layer.values = layer.keys[rows], layer.values[rows]

    def read(self, shift: Tensor | None) -> Tensor:
        """(B, S) the state of the present bin; `shift` (B, S) is added before the nonlinearity."""
        total = self.sum.unflatten(1, (-1, self.n_state)).sum(1)
        pre = torch.addcmul(self.bias, self.level, total)
        return torch.tanh(pre if shift is None else pre + shift)

    def push(self, stream: Tensor, rows: Tensor, weight: Tensor) -> None:
        """End the present bin with these events, and go on to the next.

        Args:
            stream: (M,) stream of each event, rising; within a stream in order of unit.
            rows: (M,) vocabulary row of its unit.
            weight: (M,) what it counts.
        """
        slot = self.bin % self.n_lags
        there = self.ring[slot]
        if self.filled[slot]:
            self.sum.addcmul_(there, self.tail, value=-1)
            there.zero_()
        self.filled[slot] = len(stream) > 0
        if len(stream):
            x = self.trunk.unit[rows] + self.session[stream]  # (M, D)
            if self.layers:
                x = self._through_blocks(x, stream)
            there.index_add_(0, stream, F.linear(x, self.pool) * weight.unsqueeze(-1))
            self.sum.add_(there)
        self.sum.mul_(self.decay)
        self.bin += 1

    # ------------------------------------------------------------------ tokens

    def _prefill(self, past: Batch) -> Tensor:
        """(B, E, D) tokens of the past after the blocks; their keys and values are kept."""
        x = self.trunk.embed(past)
        if not self.layers:
            return x
        n_rows = len(x)
        angles, mask = self.trunk.angles(past), self.trunk.mask(past)
        recent = past.event_mask & (past.event_bin >= self.bin - self.window)
        count = recent.sum(1)
        place = (recent.cumsum(1) - 1)[recent]  # of each recent token among those of its row
        row = recent.nonzero()[:, 0]
        capacity = _capacity(int(count.max()))
        self.at = torch.full((n_rows, capacity), _LONG_AGO, device=x.device)
        self.at[row, place] = past.event_bin[recent]
        self.number = torch.full((n_rows, capacity), -1, device=x.device)
        self.number[row, place] = place
        self.n_tokens = count
        for block, layer in zip(self.trunk.blocks, self.layers, strict=True):
            assert isinstance(block, Block)
            x, keys, values = block.with_keys(x, angles, mask)
            layer.keys = x.new_zeros(n_rows, keys.shape[1], capacity, keys.shape[3])
            layer.values = torch.zeros_like(layer.keys)
            layer.keys[row, :, place] = keys.transpose(1, 2)[recent]
            layer.values[row, :, place] = values.transpose(1, 2)[recent]
        return x

    def _through_blocks(self, x: Tensor, stream: Tensor) -> Tensor:
        """(M, D) new tokens after the blocks."""
        n_streams = len(self.n_tokens)
        count = torch.bincount(stream, minlength=n_streams)
        most = int(count.max())
        rank = torch.arange(len(stream), device=x.device) - (count.cumsum(0) - count)[stream]
        number = self.n_tokens[stream] + rank
        self._make_room(stream, number)
        capacity = self.at.shape[1]
        slot = number % capacity
        self.at[stream, slot] = self.bin
        self.number[stream, slot] = number
        asked = self.n_tokens[:, None] + torch.arange(most, device=x.device)  # (B, most) number of each query
        seen = (self.at >= self.bin - self.window).unsqueeze(1) & (
            self.number.unsqueeze(1) <= asked.unsqueeze(2)
        )
        mask = x.new_zeros(seen.shape).masked_fill_(~seen, -torch.inf).unsqueeze(1)  # (B, 1, most, K)
        self.n_tokens = self.n_tokens + count
        queries = _Queries.of(count, rank, stream, mask, width=x.shape[1])
        cos, sin = self._rotation()
        # One row of the flattened caches (B · H · K, C) per token and head.
        n_heads = self.layers[0].heads
        head = torch.arange(n_heads, device=x.device)
        cell = ((stream[:, None] * n_heads + head) * capacity + slot[:, None]).flatten()  # (M · H,)
        for layer in self.layers:
            x = layer(x, cos, sin, cell=cell, queries=queries)
        return x

    def _rotation(self) -> tuple[Tensor, Tensor]:
        """Cosines and sines (C / 2,) of the present bin."""
        first = self.bin - self.bin % _ANGLES
        if first != self._angles_from:
            time = torch.arange(first, first + _ANGLES, device=self.bias.device).unsqueeze(0)
            angles = rotary_angles(time, self.trunk.n_pairs, 4 * self.window)[0, 0].to(self.bias.dtype)
            self._cos, self._sin, self._angles_from = angles.cos(), angles.sin(), first
        return self._cos[self.bin - first], self._sin[self.bin - first]

    def _make_room(self, stream: Tensor, number: Tensor) -> None:
        """Enlarge the caches until no token within the window, nor another new one, is overwritten."""
        capacity = self.at.shape[1]
        fresh = int((number - self.n_tokens[stream]).max()) + 1
        if fresh <= capacity and not bool(
            (self.at[stream, number % capacity] >= self.bin - self.window).any()
        ):
            return
        larger = _capacity(capacity + fresh)
        row, old = (self.at > _LONG_AGO).nonzero(as_tuple=True)
        new = self.number[row, old] % larger
        self.at, self.number = (
            x.new_full((len(x), larger), fill).index_put((row, new), x[row, old])
            for x, fill in ((self.at, _LONG_AGO), (self.number, -1))
        )
        for layer in self.layers:
            for name in ("keys", "values"):
                held = getattr(layer, name)
                room = held.new_zeros(*held.shape[:2], larger, held.shape[3])
                room[row, :, new] = held[row, :, old]
                setattr(layer, name, room)
        self._make_room(stream, number)


@dataclass(frozen=True, kw_only=True)
class _Queries:
    """The tokens of a bin as queries of their streams' keys.

    Attributes:
        mask: (B, 1, Q, K) added to the scores; streams with fewer than Q tokens are padded.
        place: (M,) of each token among the (B · Q); None where `runs` is given.
        runs: stream, its first token, the one behind its last, and its part of the mask: each stream by itself.
    """

    mask: Tensor
    place: Tensor | None = None
    runs: tuple[tuple[int, int, int, Tensor], ...] = ()

    @classmethod
    def of(cls, count: Tensor, rank: Tensor, stream: Tensor, mask: Tensor, *, width: int) -> _Queries:
        """All streams in one call, or one by one: padding costs more than calls where there is much to do.

        Args:
            count: (B,) tokens of each stream.
            rank: (M,) of each token in its stream.
            stream: (M,) of each token.
            mask: (B, 1, Q, K).
            width: of a token.
        """
        n_streams, _, most, n_keys = mask.shape
        worth = mask.device.type == "cpu" and most * n_keys * width > _WORTH_A_CALL
        if n_streams > 1 and not worth:
            return cls(mask=mask, place=stream * most + rank)
        sizes = count.tolist()
        runs = zip(sizes, accumulate(sizes), strict=True)
        return cls(
            mask=mask,
            runs=tuple((k, end - n, end, mask[k : k + 1, :, :n]) for k, (n, end) in enumerate(runs) if n),
        )

    def attend(self, q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """(M, H · C) of q (M, H, C), keys and values (B, H, K, C)."""
        if self.place is None:
            found = [
                F.scaled_dot_product_attention(
                    q[begin:end].transpose(0, 1).unsqueeze(0),
                    keys[k : k + 1],
                    values[k : k + 1],
                    attn_mask=mask,
                )[0].transpose(0, 1)
                for k, begin, end, mask in self.runs
            ]
            return torch.cat(found).flatten(1)
        n_streams, _, most, _ = self.mask.shape
        n_heads, channels = q.shape[1:]
        padded = q.new_zeros(n_streams * most, n_heads * channels).index_copy_(0, self.place, q.flatten(1))
        padded = padded.view(n_streams, most, n_heads, channels).transpose(1, 2)
        y = F.scaled_dot_product_attention(padded, keys, values, attn_mask=self.mask)
        return y.transpose(1, 2).reshape(n_streams * most, n_heads * channels).index_select(0, self.place)


class _Layer:
    """A transformer block for the tokens of one bin: `Block.forward`, with the caches of all that came before."""

    keys: Tensor
    """(B, H, K, C), rotated."""
    values: Tensor
    """(B, H, K, C)."""

    def __init__(self, block: Block) -> None:
        self.heads = block.heads
        up, _, down = block.mlp
        assert isinstance(up, nn.Linear)
        assert isinstance(down, nn.Linear)
        # The gains of the norms go into the weights behind them.
        self.qkv = block.qkv.weight * block.norm_attention.weight
        self.out = block.out.weight
        self.up, self.up_bias = up.weight * block.norm_mlp.weight, up.bias
        self.down, self.down_bias = down.weight, down.bias

    def __call__(self, x: Tensor, cos: Tensor, sin: Tensor, *, cell: Tensor, queries: _Queries) -> Tensor:
        """(M, D) → (M, D).

        Args:
            x: new tokens.
            cos: (C / 2,) of the rotary angles of the bin.
            sin: likewise.
            cell: (M · H,) where keys and values go in the flattened caches.
            queries: the new tokens by stream.
        """
        n = len(x)
        z = F.linear(_normed(x), self.qkv).view(n, 3, self.heads, -1)
        a, b = z[:, :2].chunk(2, dim=-1)  # of queries and keys, (M, 2, H, C / 2)
        rotated = torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)
        channels = rotated.shape[-1]
        self.keys.view(-1, channels).index_copy_(0, cell, rotated[:, 1].reshape(-1, channels))
        self.values.view(-1, channels).index_copy_(0, cell, z[:, 2].reshape(-1, channels))
        y = queries.attend(rotated[:, 0], self.keys, self.values)
        x = x + F.linear(y, self.out)
        z = F.gelu(F.linear(_normed(x), self.up, self.up_bias))
        return x + F.linear(z, self.down, self.down_bias)


def _normed(x: Tensor) -> Tensor:
    """`nn.RMSNorm` without its gain; on a CPU several times as fast as that for few tokens."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + torch.finfo(x.dtype).eps)


def _capacity(n_tokens: int) -> int:
    """Tokens to make room for: a twentieth more, in steps of 16. Attention passes over all of it, growing is rare."""
    return 16 * math.ceil((1.05 * n_tokens + 4) / 16)
