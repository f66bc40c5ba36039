"""Causal filters over bins: every output looks at strictly earlier bins (lag ≥ 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_STRETCH = 64  # bins at most that one product over time covers


def causal_filter(x: Tensor, kernels: Tensor, first: int = 0) -> Tensor:
    """y[b, t, c, k] = Σ_{lag = 1…L} kernels[k, lag − 1] · x[b, t − lag, c], with x = 0 before the first bin.

    Args:
        x: (B, T, C).
        kernels: (K, L), entry l for a lag of l + 1 bins.
        first: outputs before this bin are not computed.

    Returns:
        (B, T − first, C, K).

    >>> event = torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0])
    >>> causal_filter(event.view(1, 5, 1), torch.tensor([[3.0, 2.0]])).flatten()
    tensor([0., 0., 3., 2., 0.])
    """
    return channel_filter(x, kernels, first).movedim(3, 1)


def channel_filter(x: Tensor, kernels: Tensor, first: int = 0) -> Tensor:
    """As `causal_filter`, with time last: (B, C, K, T − first), which lies in memory as (K, B, C, T − first).

    As products with banded matrices over stretches of time: on a CPU as fast as a convolution forward and several times
    as fast backward.
    """
    n_rows, n_bins, n_channels = x.shape
    n_kernels, n_lags = kernels.shape
    n_out = n_bins - first
    size = max(1, -(-n_out // max(1, -(-n_out // _STRETCH))))
    parts = _stretches(x.mT, n_lags, first, size)
    over_time = banded(kernels, n_lags + size, n_lags)  # (K, size, L + size)
    found = parts.flatten(0, 2) @ over_time.mT  # (K, B · C · parts, size)
    return found.view(n_kernels, n_rows, n_channels, -1)[..., :n_out].movedim(0, 2)


@dataclass(frozen=True, kw_only=True)
class UnitTraces:
    """Filtered events unit by unit, their cells in the order that one product a unit leaves: bin, row, stretch.

    Attributes:
        values: (N, K, cells).
        size: bins of a stretch.
        n_rows: rows B.
        n_out: bins T'; the last stretch may be longer.
    """

    values: Tensor
    size: int
    n_rows: int
    n_out: int

    def in_order(self, x: Tensor) -> Tensor:
        """(N, cells) → (N, B, T')."""
        found = x.view(len(x), self.size, self.n_rows, -1).permute(0, 2, 3, 1).flatten(2)
        return found[..., : self.n_out]


def unit_filter(x: Tensor, kernels: Tensor, first: int = 0) -> UnitTraces:
    """As `causal_filter`, of x (N, B, T)."""
    n_units, n_rows, n_bins = x.shape
    n_kernels, n_lags = kernels.shape
    n_out = n_bins - first
    size = max(1, min(n_lags, _STRETCH, n_out))
    # Overlapping stretches would be multiplied one unit after the other.
    parts = _stretches(x, n_lags, first, size).flatten(1, 2).contiguous()  # (N, B · parts, L + size)
    over_time = banded(kernels, n_lags + size, n_lags).flatten(0, 1)  # (K · size, L + size)
    found = over_time.expand(n_units, -1, -1) @ parts.mT
    return UnitTraces(values=found.view(n_units, n_kernels, -1), size=size, n_rows=n_rows, n_out=n_out)


def _stretches(x: Tensor, n_lags: int, first: int, size: int) -> Tensor:
    """(…, T) → (…, parts, L + size): stretches of `size` bins from `first` on, each with the L bins before it.

    Zeros stand before the first bin, and behind the last where the stretches reach further.
    """
    n_out = x.shape[-1] - first
    n_parts = max(1, -(-n_out // size))
    begin = max(0, first - n_lags)
    padded = F.pad(x[..., begin:], (max(0, n_lags - first), n_parts * size - n_out))
    return padded.unfold(-1, n_lags + size, size)


def exponential_filters(x: Tensor, time_constants: Sequence[float], n_lags: int, first: int = 0) -> Tensor:
    """y_k[b, t] = Σ_{lag = 1…n_lags} exp(−lag / τ_k) · x[b, t − lag] / √τ_k, side by side for all time constants.

    As one banded matrix product over time, which is faster than a convolution where the kernels are long.

    Args:
        x: (B, T, C).
        time_constants: K of them, in bins.
        n_lags: where the kernels are cut.
        first: outputs before this bin are not computed.

    Returns:
        (B, T − first, K · C).
    """
    over_time = banded(exponential_kernels(time_constants, n_lags, x), x.shape[1], first)  # (K, T − first, T)
    found = over_time.transpose(0, 1).flatten(0, 1) @ x  # (B, (T − first) · K, C)
    return found.view(len(x), x.shape[1] - first, -1)


def exponential_kernels(time_constants: Sequence[float], n_lags: int, like: Tensor) -> Tensor:
    """(K, n_lags) exp(−lag / τ_k) / √τ_k for lags of 1 … n_lags bins."""
    lag = torch.arange(1, n_lags + 1, device=like.device, dtype=like.dtype)
    tau = lag.new_tensor(time_constants)[:, None]
    return torch.exp(-lag / tau) / tau.sqrt()


def banded(kernels: Tensor, n_bins: int, first: int = 0) -> Tensor:
    """Kernels as matrices over time: M[k, t, s] = kernels[k, t − s − 1] for lags t − s of 1 … L, else 0.

    Args:
        kernels: (K, L), entry l for a lag of l + 1 bins.
        n_bins: number of bins T.
        first: rows before this bin are left out.

    Returns:
        (K, T − first, T).
    """
    time = torch.arange(n_bins, device=kernels.device)
    lag = time[first:, None] - time
    n_lags = kernels.shape[1]
    return kernels[:, (lag - 1).clamp(0, n_lags - 1)] * ((lag >= 1) & (lag <= n_lags))


def log_basis(n_lags: int, n_functions: int) -> Tensor:
    """Raised-cosine basis on a logarithmic lag axis, from single bins to wide bumps.

    After Pillow et al. 2008 (Nature 454:995), with centres at least one bin apart.

    Args:
        n_lags: number of lags, 1 … n_lags bins.
        n_functions: number of functions, at most `n_lags` are returned.

    Returns:
        (K, n_lags); the functions sum to 1 at every lag, and with enough functions the first lags have a function each.

    >>> log_basis(n_lags=6, n_functions=3).round(decimals=2)
    tensor([[1.0000, 0.1200, 0.0000, 0.0000, 0.0000, 0.0000],
            [0.0000, 0.8800, 0.8800, 0.4300, 0.1000, 0.0000],
            [0.0000, 0.0000, 0.1200, 0.5700, 0.9000, 1.0000]])
    """
    n_functions = min(n_functions, n_lags)
    if n_functions == n_lags:
        return torch.eye(n_lags)
    lags = torch.arange(1, n_lags + 1, dtype=torch.float64)
    # Centres at least one bin apart, otherwise evenly spaced in the logarithm.
    centres = [1.0]
    for k in range(1, n_functions):
        ratio = (n_lags / centres[-1]) ** (1 / (n_functions - k))
        centres.append(max(centres[-1] + 1, centres[-1] * ratio))
    knots = torch.tensor(centres, dtype=torch.float64)
    position = torch.zeros(n_lags, dtype=torch.float64)  # of each lag on the axis where centre k lies at k
    for i, lag in enumerate(lags):
        k = int(torch.searchsorted(knots, lag, right=True)) - 1
        if k >= n_functions - 1:
            position[i] = n_functions - 1
        else:
            position[i] = k + torch.log(lag / knots[k]) / torch.log(knots[k + 1] / knots[k])
    distance = (position[None] - torch.arange(n_functions)[:, None]).abs().clamp(max=1)
    return (0.5 * (1 + torch.cos(math.pi * distance))).to(torch.get_default_dtype())
