"""Filtered past events as the features of a Poisson regression, block of time by block of time.

T bins, N units, K coupling functions, H own-history functions. Targets are rows, so that some of them are quickly taken
out; `pairs` are always (K, N, N), [function, source, target].
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from neuroformer.data import Recording, Span
from neuroformer.data.splits import Part
from neuroformer.model.filters import causal_filter

_BLOCK_BINS = 2048
_KEPT_BYTES = 1 << 31  # features beyond this are filtered anew at each pass


class EventFeatures:
    """Features and events of one part of a recording.

    Args:
        recording: the session.
        part: whose bins are the observations; events before a span count as history where the epoch reaches back.
        kernels: (K, L) coupling functions over the lags 1 … L.
        basis: (H, L') own-history functions.
        dtype: of the features; sums over time are float64 in any case.

    Attributes:
        events: (N,) float64 number of events.
        events_history: (N, H) float64, Σ_t s_j(t) (φ * s_j)(t).
        events_pairs: (K, N, N) float64, Σ_t s_j(t) (κ_k * s_i)(t).
        n_bins: T.
    """

    def __init__(
        self,
        recording: Recording,
        part: Part,
        *,
        kernels: Tensor,
        basis: Tensor,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """See the class."""
        self.kernels, self.basis = kernels.to(dtype), basis.to(dtype)
        self.n_units, self.margin = recording.session.n_units, max(kernels.shape[1], basis.shape[1])
        tiles = recording.tiles(part, _BLOCK_BINS, shift=_BLOCK_BINS)
        self._past = [self._read(recording, span) for span in tiles]
        self.n_bins = sum(map(len, tiles))
        width = self.n_units * (len(kernels) + len(basis))
        fits = self.n_bins * width * self.basis.element_size() <= _KEPT_BYTES
        self._kept = list(map(self._filter, self._past)) if fits else None
        counts = torch.cat([past[self.margin :] for past in self._past]).T  # (N, T)
        self.events = counts.sum(1, dtype=torch.float64)
        self.events_history, self.events_pairs = self.moments(counts.to(dtype), torch.arange(self.n_units))

    def linear(self, history: Tensor, pairs: Tensor, targets: Tensor) -> Tensor:
        """(targets, T) log-gain of own history (targets, H) and couplings (K, N, targets)."""
        weight = pairs.flatten(0, 1).T.to(self.basis.dtype)
        own_weight = history.to(self.basis.dtype).unsqueeze(1)
        found = self.basis.new_empty(len(targets), self.n_bins)
        for at, own, features in self._blocks():
            part = weight @ features.T
            found[:, at] = part.add_((own_weight @ self._rows(own, targets)).squeeze(1))
        return found

    def moments(self, intensity: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Σ_t λ_j(t) times own-history (targets, H) and coupling features (K, N, targets), for λ (targets, T)."""
        own_sum = torch.zeros(len(intensity), len(self.basis), dtype=torch.float64)
        sums = torch.zeros(len(intensity), len(self.kernels) * self.n_units, dtype=torch.float64)
        for at, own, features in self._blocks():
            own_sum += (self._rows(own, targets) * intensity[:, None, at]).sum(2)
            sums += intensity[:, at] @ features
        return own_sum, self._as_pairs(sums)

    def own_second_moments(self, intensity: Tensor, targets: Tensor) -> Tensor:
        """Σ_t λ_j(t) φ φᵀ of own-history features, (targets, H, H)."""
        found = torch.zeros(len(intensity), len(self.basis), len(self.basis), dtype=torch.float64)
        for at, own, _ in self._blocks():
            chosen = self._rows(own, targets)
            found += (chosen * intensity[:, None, at]) @ chosen.mT
        return found

    def pair_second_moments(self, intensity: Tensor) -> Tensor:
        """Σ_t λ_j(t) times the squares of coupling features, (K, N, M) for λ (M, T)."""
        sums = torch.zeros(len(intensity), len(self.kernels) * self.n_units, dtype=torch.float64)
        for at, _, features in self._blocks():
            sums += intensity[:, at] @ features.square()
        return self._as_pairs(sums)

    @cached_property
    def variance(self) -> Tensor:
        """(K, N) float64 variance of the coupling features over time."""
        return self._covariance.diagonal().double().view(len(self.kernels), -1)

    @cached_property
    def correlation(self) -> Tensor:
        """(K·N, K·N) correlation of the coupling features over time."""
        scale = self._covariance.diagonal().clamp(min=1e-12).sqrt()  # a silent source correlates with nothing
        return self._covariance / scale[:, None] / scale

    @cached_property
    def largest_eigenvalue(self) -> float:
        """That of `correlation`."""
        return float(torch.linalg.eigvalsh(self.correlation)[-1])

    @cached_property
    def _covariance(self) -> Tensor:
        width = len(self.kernels) * self.n_units
        gram, mean = self.basis.new_zeros(width, width), self.basis.new_zeros(width)
        for _, _, features in self._blocks():
            gram += features.T @ features
            mean += features.sum(0)
        mean /= self.n_bins
        return gram / self.n_bins - mean[:, None] * mean

    def _rows(self, own: Tensor, targets: Tensor) -> Tensor:
        return own if len(targets) == self.n_units else own[targets]

    def _as_pairs(self, sums: Tensor) -> Tensor:
        return sums.T.reshape(len(self.kernels), self.n_units, -1).contiguous()

    def _read(self, recording: Recording, span: Span) -> Tensor:
        """(margin + T, N) int16 events of a span and of the bins before it."""
        first = max(0, span.start - self.margin)
        counts = torch.from_numpy(recording.counts(Span(epoch=span.epoch, start=first, stop=span.stop)))
        missing = counts.new_zeros(self.margin + len(span) - len(counts), self.n_units)
        return torch.cat([missing, counts])

    def _filter(self, past: Tensor) -> tuple[Tensor, Tensor]:
        """Own-history features (N, H, T) and coupling features (T, K·N) of a block."""
        counts = past.to(self.basis.dtype).unsqueeze(0)
        own = causal_filter(counts, self.basis, self.margin)[0].permute(1, 2, 0).contiguous()
        return own, causal_filter(counts, self.kernels, self.margin)[0].transpose(1, 2).flatten(
            1
        ).contiguous()

    def _blocks(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        start = 0
        for own, features in self._kept if self._kept is not None else map(self._filter, self._past):
            yield slice(start, start + len(features)), own, features
            start += len(features)
