"""The trunk: a GPT over event tokens that is read slowly.

Event tokens pass through causal transformer blocks; their outputs are pooled in time by exponential filters of tens to
hundreds of milliseconds and mixed into one state per bin. What is fast and pairwise cannot pass the filters and is left
to the coupling; what is slow and shared (drives, brain state) is explained here instead of by spurious couplings.
With no block, or before a block has learned anything, the state is a low-passed sum of unit embeddings.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neuroformer.batch import Batch
from neuroformer.model.attention import Block, Rotation, rotary_angles
from neuroformer.model.backends import make_attend
from neuroformer.model.dropout import Dropout
from neuroformer.model.filters import banded, exponential_filters, exponential_kernels
from neuroformer.model.packing import Packed
from neuroformer.model.shrinkage import ShrunkWeight
from neuroformer.model.tables import SessionRows, append_rows


class Trunk(nn.Module):
    """Slow shared state and each unit's reading of it, u_j · f(h(t)).

    Args:
        width: width of a token.
        layers: transformer blocks.
        heads: attention heads.
        window: bins that a token attends back.
        state: width of the state.
        time_constants: of the filters, in bins.
        n_lags: where the filters are cut, in bins.
        dropout: on the state and in the blocks, in training.
        attention: backend of the attention, one of `neuroformer.model.backends`.
    """

    def __init__(
        self,
        *,
        width: int,
        layers: int,
        heads: int,
        window: int,
        state: int,
        time_constants: list[float],
        n_lags: int,
        dropout: float,
        attention: str = "sdpa",
    ) -> None:
        """See the class."""
        super().__init__()
        self.window, self.attention = window, attention
        self.time_constants = time_constants
        self.n_lags = n_lags
        self.n_pairs = width // heads // 2
        self.unit = nn.Parameter(torch.zeros(0, width))
        self.session = nn.Parameter(torch.zeros(0, width))
        self.blocks = nn.ModuleList(Block(width=width, heads=heads, dropout=dropout) for _ in range(layers))
        self.pool = nn.ModuleList(nn.Linear(width, state, bias=False) for _ in time_constants)
        self.bias = nn.Parameter(torch.zeros(state))
        self.dropout = Dropout(dropout)
        self.readout = ShrunkWeight(0, state)
        self.register_buffer("events_per_bin", torch.zeros(0))
        self.events_per_bin: Tensor

    def add_session(self, n_units: int, events_per_bin: float) -> None:
        """Make room for a session; `events_per_bin` is the mean over its training bins, all units together."""
        device = self.unit.device
        width = self.unit.shape[1]
        append_rows(self, "unit", 0.1 * torch.randn(n_units, width, device=device))
        append_rows(self, "session", torch.zeros(1, width))
        self.readout.grow(n_units)
        append_rows(self, "events_per_bin", torch.tensor([events_per_bin]))

    def embed(self, batch: Batch) -> Tensor:
        """(B, E, D) event tokens before the blocks."""
        rows = batch.unit_row.gather(1, batch.event_unit)
        return self.unit[rows] + self.session[batch.session].unsqueeze(1)

    def angles(self, batch: Batch) -> Tensor:
        """Rotary angles of the tokens."""
        return rotary_angles(batch.event_bin, self.n_pairs, 4 * self.window)

    def mask(self, batch: Batch) -> Tensor:
        """(B, 1, E, E): a token looks at itself and the tokens before it, at most `window` bins back.

        No token looks at padding.
        """
        n = batch.event_bin.shape[1]
        at = torch.where(batch.event_mask, batch.event_bin, batch.n_bins)  # rising: padding stands at the end
        oldest = torch.searchsorted(at, at - self.window).to(
            torch.int32
        )  # (B, E) first token within the window
        token = torch.arange(n, device=at.device, dtype=torch.int32)
        mask = (token >= oldest.unsqueeze(-1)) & (token <= token.unsqueeze(-1))
        return mask.unsqueeze(1)

    def contextual(self, batch: Batch) -> Tensor:
        """(B, E, D) event tokens after the blocks; padding is 0 where there are blocks."""
        if not self.blocks:
            return self.embed(batch)
        packed = self._pack(batch)
        x = self._through_blocks(batch, packed)[packed.place]
        full = x.new_zeros(batch.event_mask.numel(), x.shape[1]).index_copy(0, packed.token, x)
        return full.view(*batch.event_mask.shape, -1)

    def _pack(self, batch: Batch) -> Packed:
        return Packed.of(batch, self.window, aligned=not self.training)

    def _through_blocks(self, batch: Batch, packed: Packed) -> Tensor:
        """(M, D) event tokens after the blocks, in their places."""
        unit = batch.unit_row[packed.row, batch.event_unit.flatten()[packed.token]]
        x = packed.spread(self.unit[unit] + self.session[batch.session[packed.row]])
        angles = rotary_angles(packed.time.unsqueeze(0), self.n_pairs, 4 * self.window)[0, 0]
        rotation = Rotation.of(angles, x.dtype)
        attend = make_attend(self.attention, packed, x, training=self.training)
        for block in self.blocks:
            assert isinstance(block, Block)
            x = block.packed(x, rotation, attend)
        return x

    def state(
        self, batch: Batch, weight: Tensor, *, tokens: Tensor | None = None, shift: Tensor | None = None
    ) -> Tensor:
        """(B, T − first, S) state f(h(t)) of the bins from `batch.first_scored` on.

        Args:
            batch: the chunks.
            weight: (B, E) what each event counts.
            tokens: (B, E, D) to pool, by default `contextual`.
            shift: (B, T − first, S) added before the nonlinearity.
        """
        first = batch.first_scored
        if tokens is None and self.blocks:
            packed = self._pack(batch)
            x = self._through_blocks(batch, packed)
            cell = packed.row * batch.n_bins + packed.time[packed.place]
            counted = weight.flatten()[packed.token].unsqueeze(-1)
            x = x if len(x) == len(counted) else x[packed.place]
            per_bin = x.new_zeros(batch.scored.numel(), x.shape[1]).index_add(0, cell, x * counted)
            per_bin = per_bin.view(*batch.scored.shape, -1)
        else:
            x = self.embed(batch) if tokens is None else tokens
            per_bin = batch.sum_per_bin(x * weight.unsqueeze(-1))
        # Everything here is linear: filtering the sums of the tokens, which are narrow, comes to the same as filtering
        # what each filter's pool makes of them.
        level = self.events_per_bin[batch.session].clamp(min=0.1).rsqrt()[:, None, None]
        slow = exponential_filters(per_bin * level, self.time_constants, self.n_lags, first)
        pre = F.linear(slow, self._pool(), self.bias)
        if shift is not None:
            pre = pre + shift
        return self.dropout(torch.tanh(pre))

    def _pool(self) -> Tensor:
        """(S, K · D)."""
        return torch.cat([layer.weight for layer in self.pool if isinstance(layer, nn.Linear)], 1)

    def state_of_counts(
        self, counts: Tensor, session: Tensor, unit_row: Tensor, first: int, *, shift: Tensor | None = None
    ) -> Tensor:
        """As `state`, without blocks, from counts; in memory (G, S, R, T − first).

        Args:
            counts: (G, N, R, T) events, each counting its weight; G groups of R rows with the same units.
            session: (G,) index of each group's session.
            unit_row: (G, N) vocabulary rows of its units.
            first: first bin whose state is wanted.
            shift: (G · R, T − first, S) added before the nonlinearity.
        """
        n_groups, _, n_rows, n_bins = counts.shape
        level = self.events_per_bin[session].clamp(min=0.1).rsqrt()[:, None, None]
        token = (self.unit[unit_row] + self.session[session].unsqueeze(1)) * level  # (G, N, D)
        per_bin = (token.mT @ counts.flatten(2)).view(-1, n_bins)  # (G · D · R, T)
        over_time = banded(exponential_kernels(self.time_constants, self.n_lags, counts), n_bins, first)
        slow = (per_bin @ over_time.mT).view(
            len(over_time), n_groups, token.shape[2], -1
        )  # (K, G, D, R · T')
        pool = self._pool()
        pre = torch.baddbmm(
            self.bias.unsqueeze(1), pool.expand(n_groups, -1, -1), slow.transpose(0, 1).flatten(1, 2)
        ).view(n_groups, len(pool), n_rows, -1)
        if shift is not None:
            pre = pre + shift.unflatten(0, (n_groups, n_rows)).movedim(3, 1)
        found: Tensor = self.dropout(torch.tanh(pre)).movedim(1, 3).flatten(0, 1)
        return found

    def forward(self, state: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean and variance of u_j · state, two (B, T − first, N)."""
        mean = self.readout.mean[batch.unit_row] @ state.mT
        variance = self.readout.variance_of(batch.unit_row) @ state.square().mT
        return mean.mT, variance.mT

    def kl(self, there: SessionRows) -> Tensor:
        """(S,) KL of each session's readout, nats."""
        return self.readout.kl_by_session(there)
