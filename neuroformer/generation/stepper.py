"""The model bin by bin: log-intensities of the present bin from an incremental state of each stream.

`Neuroformer.forward` computes all bins of finished chunks at once; here the events of a bin are told after its
intensities are known, as sampling needs it. The numbers are the same to rounding (a test holds them side by side).

    log λ_j(t) = b_j + Σ_k (m_jk z_jk + v_jk z_jk² / 2) + Σ_f (M_fj x_f + V_fj x_f² / 2) + context_j(t)

z are the traces of the unit's own events, x the coupling's traces or latents and the trunk's slow state; m, M are
posterior means of weights and v, V their variances. Traces are sums over the last L bins of events, which are kept in
a ring: exact for any kernel.

Legend: B streams, N units (padded), L lags, K history functions, H heads, R rank, F features, S state.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from neuroformer.batch import Batch
from neuroformer.generation.trunk_state import TrunkState
from neuroformer.model import Neuroformer
from neuroformer.model.coupling import FullCoupling, LowRankCoupling, off_diagonal
from neuroformer.model.shrinkage import ShrunkWeight


class Stepper:
    """Incremental state of B streams.

    Args:
        model: in evaluation mode.
        batch: chunks; their events before `batch.first_scored` are the past, and the present bin is that one.
    """

    def __init__(self, model: Neuroformer, batch: Batch) -> None:
        """See the class."""
        assert not model.training
        self.model, self.session, self.bin = model, batch.session, batch.first_scored
        self.unit_row = batch.unit_row
        self.n_streams, self.n_units = batch.unit_row.shape
        self.low_rank = isinstance(model.coupling, LowRankCoupling)
        history, couplings = model.history.basis, model.coupling.kernels()
        self.n_history, self.n_lags = len(history), max(history.shape[1], couplings.shape[1])
        self.by_slot = _by_slot(history, self.n_lags)  # (L, K, L)
        self.coupling_by_slot = _by_slot(couplings, self.n_lags)  # (L, H, L)
        if not self.low_rank:
            self.by_slot = torch.cat([self.by_slot, self.coupling_by_slot], 1)
        self._load(batch)
        self.trunk = (
            None if model.trunk is None else TrunkState(model.trunk, batch, model.event_weight(batch))
        )
        self._set_weights()

    def _load(self, batch: Batch) -> None:
        """Fill the rings with the past."""
        first, n_lags = self.bin, self.n_lags
        past = replace(batch, event_mask=batch.event_mask & (batch.event_bin < first))
        weight = self.model.event_weight(batch)
        n_kept = min(first, n_lags)
        slots = torch.arange(first - n_kept, first, device=weight.device) % n_lags
        counts = past.counts(weight)[:, first - n_kept : first]
        self.ring = weight.new_zeros(n_lags, self.n_streams, self.n_units)
        self.ring[slots] = counts.transpose(0, 1)
        if self.low_rank:
            coupling = self.model.coupling
            assert isinstance(coupling, LowRankCoupling)
            carried = coupling.source[batch.unit_row.gather(1, batch.event_unit)] * weight.unsqueeze(-1)
            per_bin = past.sum_per_bin(carried)[:, first - n_kept : first]
            self.latent_ring = weight.new_zeros(n_lags, self.n_streams, coupling.source.shape[1])
            self.latent_ring[slots] = per_bin.transpose(0, 1)

    def _set_weights(self) -> None:
        """Weights of the streams as they are now; all of one session share them."""
        model = self.model
        sessions = self.session.unique().tolist()
        alone = len(sessions) == 1
        rows, session = (self.unit_row[:1], self.session[:1]) if alone else (self.unit_row, self.session)
        own = model.history.own
        mean = model.history.shared[session].unsqueeze(1) + own.mean[rows]  # (B or 1, N, K)
        self.history_mean = mean.permute(2, 0, 1).contiguous()  # (K, B or 1, N)
        self.history_half = 0.5 * own.variance[rows].permute(2, 0, 1).contiguous()
        self.bias = model.bias[rows]
        # Features → log-intensities, by session: the streams (None: all) and (F, N).
        self.readout: list[tuple[Tensor | None, Tensor]] = []
        for index in sessions:
            streams = None if alone else (self.session == index).nonzero().squeeze(1)
            weight = F.pad(self._readout(index), (0, self.n_units - len(model.rows(index))))
            self.readout.append((streams, weight))
        if model.n_levels > 1:
            self.level_logits = (
                model.level_bias[session].unsqueeze(1) + model.level_unit[rows]
            )  # (B or 1, N, Q)

    def _readout(self, session: int) -> Tensor:
        """(F, N): of the features, their squares, the state, its squares."""
        model, rows = self.model, self.model.rows(session)
        coupling = model.coupling
        if isinstance(coupling, FullCoupling):
            pairs = coupling.sessions[session]
            assert isinstance(pairs, ShrunkWeight)
            off = off_diagonal(len(rows), self.bias)
            parts = [
                (pairs.mean * off).flatten(0, 1),
                0.5 * (pairs.variance * off).flatten(0, 1),
            ]  # (H · N, N)
            n_pad = self.n_units - len(rows)
            if n_pad:
                parts = [
                    F.pad(part.unflatten(0, (-1, len(rows))), (0, 0, 0, n_pad)).flatten(0, 1)
                    for part in parts
                ]
        else:
            parts = [coupling.target.mean[rows].mT, 0.5 * coupling.target.variance[rows].mT]
        if model.trunk is not None:
            readout = model.trunk.readout
            parts += [readout.mean[rows].mT, 0.5 * readout.variance[rows].mT]
        return torch.cat(parts)

    def keep(self, streams: Tensor) -> None:
        """Go on with these streams (B',) alone; a stream may be named several times, for trials of one past."""
        self.session, self.unit_row = self.session[streams], self.unit_row[streams]
        self.n_streams = len(streams)
        self.ring = self.ring[:, streams]
        if self.low_rank:
            self.latent_ring = self.latent_ring[:, streams]
        if self.trunk is not None:
            self.trunk.keep(streams)
        self._set_weights()

    def log_intensity(self, context: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        """(B, N) log expected events of each unit in the present bin; padded units hold nonsense.

        Args:
            context: (B, N) part of the stimulus and behaviour, from `Neuroformer.exogenous`.
            shift: (B, S) what they add to the slow state.
        """
        slot = self.bin % self.n_lags
        traces = self.by_slot[slot] @ self.ring.view(self.n_lags, -1)
        traces = traces.view(-1, self.n_streams, self.n_units)
        own = traces[: self.n_history]
        found = (own * torch.addcmul(self.history_mean, own, self.history_half)).sum(0)
        found += self.bias
        features = self._features(traces, slot)
        self.state = None
        if self.trunk is not None:
            self.state = self.trunk.read(shift)
            features += [self.state, self.state.square()]
        x = torch.cat(features, 1)
        for streams, weight in self.readout:
            if streams is None:
                found.addmm_(x, weight)
            else:
                found.index_add_(0, streams, x[streams] @ weight)
        return found if context is None else found + context

    def _features(self, traces: Tensor, slot: int) -> list[Tensor]:
        """The coupling's features and their squares: (B, H · N), or (B, H · R) of low rank."""
        if self.low_rank:
            kernel = self.coupling_by_slot[slot]  # (H, L)
            latents = self.latent_ring.unflatten(2, (len(kernel), -1))
            x = torch.einsum("hl,lbhr->bhr", kernel, latents).flatten(1)
        else:
            x = traces[self.n_history :].transpose(0, 1).reshape(self.n_streams, -1)
        return [x, x.square()]

    def level_probability(self) -> Tensor:
        """(B or 1, N, Q) probability of each amplitude level, should the unit have an event in the present bin."""
        logits = self.level_logits
        if self.state is not None and self.model.level_state is not None:
            logits = logits + self.model.level_state(self.state).unsqueeze(1)
        return logits.softmax(-1)

    def push(self, stream: Tensor, unit: Tensor, level: Tensor) -> None:
        """End the present bin with these events, and go on to the next.

        Args:
            stream: (M,) stream of each event; events in order of (stream, unit, level).
            unit: (M,) its unit.
            level: (M,) its amplitude level.
        """
        slot = self.bin % self.n_lags
        there = self.ring[slot].zero_()
        if self.low_rank:
            self.latent_ring[slot].zero_()
        rows, weight = stream, self.bias.new_ones(len(stream))
        if len(stream):
            if self.model.n_levels > 1:
                weight = self.model.level_gain.exp()[level]
            cell = stream * self.n_units + unit
            there.view(-1).index_add_(0, cell, weight)
            rows = self.unit_row.view(-1)[cell]
            if self.low_rank:
                assert isinstance(self.model.coupling, LowRankCoupling)
                carried = self.model.coupling.source[rows] * weight.unsqueeze(1)
                self.latent_ring[slot].index_add_(0, stream, carried)
        if self.trunk is not None:
            self.trunk.push(stream, rows, weight)
        self.bin += 1


def _by_slot(kernels: Tensor, n_lags: int) -> Tensor:
    """(L, K, L): kernels (K, ≤ L) laid over a ring whose next slot is p, for each p: a lag of l stands at p − l."""
    padded = F.pad(kernels, (0, n_lags - kernels.shape[1]))
    slot = torch.arange(n_lags, device=kernels.device)
    lag = (slot[:, None] - slot - 1) % n_lags  # [p, s] index of the lag of slot s
    return padded[:, lag].transpose(0, 1).contiguous()
