"""What the classical methods share: trains in one array, products by lag, and the peak over lags.

S = T = N = units, L = lags.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from neuroformer.connectivity.counts import BinnedCounts
from neuroformer.connectivity.cross_correlation import LaggedMoments
from neuroformer.errors import UserError


@dataclass(frozen=True, kw_only=True, eq=False)
class JoinedTrains:
    """All intervals one after the other with `gap` empty bins after each, so that no lag up to `gap` joins two.

    Attributes:
        values: (bins, N) counts.
        valid: (bins,) bool, False in the gaps.
        first: (K,) the bin at which each interval begins.
        gap: Empty bins after each interval.
    """

    values: sparse.csr_array
    valid: np.ndarray
    first: np.ndarray
    gap: int

    def binary(self) -> sparse.csr_array:
        """(bins, N), 1 where a unit has any event in the bin."""
        return with_ones(self.values)

    def dilated(self, lags: range) -> sparse.csr_array:
        """(bins, N), 1 in valid bins t where a unit has an event in t − lag for any of `lags`, |lag| ≤ gap."""
        events = self.values.tocoo()
        bins = (events.row[:, None] + np.array(lags)).ravel()
        units = np.repeat(events.col, len(lags))
        inside = (bins >= 0) & (bins < len(self.valid))
        inside[inside] = self.valid[bins[inside]]
        tiles = sparse.coo_array(
            (np.ones(np.count_nonzero(inside)), (bins[inside], units[inside])), shape=self.values.shape
        )
        return with_ones(tiles.tocsr())


def with_ones(values: sparse.csr_array) -> sparse.csr_array:
    """The same array with every stored entry replaced by 1."""
    return sparse.csr_array((np.ones(values.nnz), values.indices, values.indptr), shape=values.shape)


def join(counts: BinnedCounts, *, gap: int) -> JoinedTrains:
    """Join the intervals of a session, `gap` empty bins after each."""
    empty = sparse.csr_array((gap, counts.n_units))
    lengths = np.array([interval.shape[0] for interval in counts.intervals])
    return JoinedTrains(
        values=sparse.vstack(
            [part for interval in counts.intervals for part in (interval, empty)], format="csr"
        ),
        valid=np.concatenate([np.arange(length + gap) < length for length in lengths]),
        first=np.concatenate([[0], np.cumsum(lengths + gap)[:-1]]),
        gap=gap,
    )


def lagged_products(source: sparse.csr_array, target: sparse.csr_array, *, n_lags: int) -> np.ndarray:
    """(L, S, T): Σ over t of source[t] · target[t + l] for l = 1 … L; both (bins, units) with L empty bins at the end.

    The source stays as it is stored and only its bin numbers move, so a lag costs one sparse product.
    """
    gather = source.T.tocsr()
    products = np.empty((n_lags, source.shape[1], target.shape[1]))
    for lag in range(1, n_lags + 1):
        moved = sparse.csr_array((gather.data, gather.indices + lag, gather.indptr), shape=gather.shape)
        products[lag - 1] = (moved @ target).toarray()
    return products


def take_peak(profile: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, ...]:
    """(S, T) each: `profile` and `others`, all (L, S, T), at the lag where the profile is largest in size."""
    peak = np.abs(profile).argmax(axis=0)[None]
    return tuple(np.take_along_axis(values, peak, axis=0)[0] for values in (profile, *others))


def autocovariance(counts: BinnedCounts, *, n_lags: int) -> np.ndarray:
    """(L + 1, S, T) covariance of the source's count in bin t with the target's in t + l, for l = 0 … L.

    Deviations from the mean over the recording, summed within intervals and divided by all bins whatever the lag:
    so the block-Toeplitz matrices built from it have no negative eigenvalues.
    """
    moments = LaggedMoments(n_units=counts.n_units, n_lags=n_lags)
    for interval in counts.intervals:
        moments.add(interval, continues=False)
    mean = counts.totals / counts.n_bins
    both = mean[:, None] * mean
    return np.stack(
        [
            moments.product[lag]
            - mean[:, None] * moments.target[lag]
            - moments.source[lag][:, None] * mean
            + moments.n_pairs[lag] * both
            for lag in range(n_lags + 1)
        ]
    ) / counts.n_bins  # fmt: skip


def check_lags(counts: BinnedCounts, n_lags: int) -> None:
    """Refuse lags that no valid interval is long enough for."""
    if max(interval.shape[0] for interval in counts.intervals) <= n_lags:
        raise UserError(
            f"{counts.path}: no valid interval is longer than {n_lags} lags of {counts.bin_s:g} s; "
            "expected at least one, take fewer lags or narrower bins"
        )
