"""Own history from single events and pairs of events.

With x_k(t) = Σ_e w_e φ_k(t − t_e) over a unit's own past events e, the expectation of its own history is

    Σ_k a_k x_k + ½ v_k x_k²  =  Σ_e [w_e A(t − t_e) + ½ w_e² D_0(t − t_e)]  +  Σ_{e < e'} w_e w_e' D_d(t − t_e'),

A = Σ_k a_k φ_k, and D_d(l) = Σ_k v_k φ_k(l) φ_k(l + d) for a pair of events d bins apart. Each event, and each pair
that lies within one φ_k, adds one kernel of L bins. Where units are silent most of the time, these are far fewer
numbers than the x_k of all units and bins.

Legend: I impulses (events and pairs), S series (a unit in a row), U units, K functions, L lags, D distances.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class Impulses:
    """The events of a batch, and the pairs among them.

    Attributes:
        series: (I,) where each belongs.
        time: (I,) bin of an event, or of the later one of a pair.
        kind: (I,) which kernel of its unit it adds: 0 is A + ½ D_0, or with weights 0 is A and 1 is ½ D_0; then come
            D_0, D_1 …
        weight: (I,) what its kernel is multiplied by; None for 1.
    """

    series: Tensor
    time: Tensor
    kind: Tensor
    weight: Tensor | None

    @classmethod
    def of(cls, series: Tensor, time: Tensor, weight: Tensor | None, *, n_distances: int) -> Impulses:
        """Find the pairs.

        Args:
            series: (E,) of each event.
            time: (E,) its bin, 0 or later.
            weight: (E,) what it counts; None for 1.
            n_distances: pairs count that are fewer bins apart than this.
        """
        longest = int(time.max()) + 1 if len(time) else 1
        key, order = (series * (longest + n_distances) + time).sort()  # no two series are near each other
        series, time = series[order], time[order]
        event = torch.arange(len(key), device=key.device)
        n_alone = 1 if weight is None else 2
        at, kinds = [event] * n_alone, [torch.full_like(event, kind) for kind in range(n_alone)]
        weights: list[Tensor] = []
        if weight is not None:
            weight = weight[order]
            weights = [weight, weight.square()]
        later, ago = event, 0
        while len(later):
            ago += 1
            later = later[later >= ago]
            distance = key[later] - key[later - ago]
            near = (distance < n_distances).nonzero().squeeze(1)  # whoever is not will not be further back
            later = later[near]
            at.append(later)
            kinds.append(n_alone + distance[near])
            if weight is not None:
                weights.append(weight[later] * weight[later - ago])
        found = torch.cat(at)
        return cls(
            series=series[found],
            time=time[found],
            kind=torch.cat(kinds),
            weight=torch.cat(weights) if weights else None,
        )

    def kernels(self, mean: Tensor, variance: Tensor, basis: Tensor, products: Tensor) -> Tensor:
        """(U, C, L) kernels of all kinds.

        Args:
            mean: (U, K) a.
            variance: (U, K) v.
            basis: (K, L) φ.
            products: (K, D, L), from `products_of`.
        """
        single = (mean @ basis).unsqueeze(1)
        pairs = (variance @ products.flatten(1)).unflatten(1, products.shape[1:])
        half = 0.5 * pairs[:, :1]
        return torch.cat([single + half, pairs] if self.weight is None else [single, half, pairs], 1)

    def add(self, kernels: Tensor, unit: Tensor, *, n_series: int, n_bins: int) -> Tensor:
        """(S, n_bins) what all impulses add up to.

        Args:
            kernels: (U, C, L), from `kernels`.
            unit: (S,) unit of each series.
            n_series: S.
            n_bins: bins of a series, from 0 on.
        """
        n_kinds, n_lags = kernels.shape[1:]
        values = kernels.flatten(0, 1).index_select(0, unit[self.series] * n_kinds + self.kind)
        if self.weight is not None:
            values = values * self.weight.unsqueeze(1)
        first = self.series * (n_bins + n_lags) + self.time + 1  # kernels begin one bin after the event
        cell = first.unsqueeze(1) + torch.arange(n_lags, device=first.device)
        found = values.new_zeros(n_series * (n_bins + n_lags)).index_add(0, cell.flatten(), values.flatten())
        return found.view(n_series, -1)[:, :n_bins]


def span_of(basis: Tensor) -> int:
    """D: distances of 0 … D − 1 bins lie within one of the functions (K, L)."""
    there = basis != 0
    return max(int(there.size(1) - f.flip(0).int().argmax() - f.int().argmax()) for f in there)


def products_of(basis: Tensor, span: int) -> Tensor:
    """(K, D, L) φ_k(l) φ_k(l + d), for the distances d = 0 … D − 1.

    Args:
        basis: (K, L).
        span: D, at most L.
    """
    n_lags = basis.shape[1]
    shifted = F.pad(basis, (0, span)).unfold(1, n_lags, 1)[:, :span]
    return basis.unsqueeze(1) * shifted
