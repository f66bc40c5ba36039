"""Cross-correlogram against interval jitter: what is faster than the jitter window is a synapse, what is slower is not.

The cross-correlogram C[i, j](l) = Σ_t x_i(t) · x_j(t + l) is compared with its distribution when every event of the
target is redrawn uniformly in the window that holds it (interval jitter: Amarasingham, Harrison, Hatsopoulos & Geman
2012, J. Neurophysiol. 107:517; monosynaptic pairs by jitter: Fujisawa, Amarasingham, Harrison & Buzsáki 2008, Nat.
Neurosci. 11:823). The source stays where it was, so the mean and variance under jitter are known exactly:

    μ[i, j](l) = Σ_w n_jw · m_iw(l),        σ²[i, j](l) = Σ_w n_jw · (q_iw(l) − m_iw(l)²),
    z = (C − μ) / σ,        estimate[i, j] = z(l*),        l* = argmax over l = 1 … L of |z(l)|

with n_jw the target's events in window w, m_iw(l) and q_iw(l) the means of x_i(t − l) and of its square over bins t of
the window.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from neuroformer.connectivity.classical.lagged import (
    JoinedTrains,
    check_lags,
    join,
    lagged_products,
    take_peak,
)
from neuroformer.connectivity.counts import BinnedCounts
from neuroformer.connectivity.estimate import ConnectivityMap
from neuroformer.connectivity.nulls import count_p_values, peak_p_values


def jittered_cross_correlogram(
    counts: BinnedCounts,
    *,
    n_lags: int,
    rng: np.random.Generator,
    surrogates: int = 20,
    window_s: float | None = None,
) -> ConnectivityMap:
    """Estimate who drives whom by the peak of the cross-correlogram in standard deviations of interval jitter.

    The p-value at the peak is that of a scaled Poisson count of mean μ and variance σ²; jittered surrogates, each
    with a peak of its own, tell how much was gained by choosing the lag.

    Args:
        counts: The recording.
        n_lags: Largest lag L in bins.
        rng: Source of the jitter.
        surrogates: Number of jittered recordings.
        window_s: Width of the jitter window in seconds, of which whole bins are taken, 2 at least; by default
            `n_lags` bins.

    Raises:
        UserError: No valid interval is longer than `n_lags` bins.
    """
    check_lags(counts, n_lags)
    window_bins = max(2, n_lags if window_s is None else round(window_s / counts.bin_s))
    trains = join(counts, gap=n_lags)
    mean, variance = jitter_moments(trains, n_lags=n_lags, window_bins=window_bins)  # (L, S, T) each
    spread = np.sqrt(variance)

    def peak(target: sparse.csr_array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        excess = lagged_products(trains.values, target, n_lags=n_lags) - mean
        z = np.divide(excess, spread, out=np.zeros_like(excess), where=spread > 1e-9)
        highest, *at_peak = take_peak(z, excess, mean, variance)
        return z, highest, count_p_values(*at_peak)

    profile, matrix, p_values = peak(trains.values)
    null = np.stack(
        [
            peak(join(counts.jittered(rng, window_bins=window_bins), gap=n_lags).values)[2]
            for _ in range(surrogates)
        ]
    )
    return ConnectivityMap(
        name="jittered_ccg",
        matrix=matrix,
        lag_profile=np.moveaxis(profile, 0, -1).astype(np.float32),
        lags_s=np.arange(1, n_lags + 1) * counts.bin_s,
        p_values=peak_p_values(p_values, null, n_lags=n_lags),
        description=f"peak of the cross-correlogram over lags, z against jitter in {window_bins * counts.bin_s:g} s",
    )


def jitter_moments(trains: JoinedTrains, *, n_lags: int, window_bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Exact mean and variance (L, S, T) of the cross-correlogram when the target's events are jittered."""
    bins = np.arange(len(trains.valid))
    interval = np.searchsorted(trains.first, bins, side="right") - 1
    within = (bins - trains.first[interval]) // window_bins
    # A window belongs to one interval; what lies in a gap is dropped.
    starts = np.flatnonzero(np.diff(interval, prepend=-1) | np.diff(within, prepend=-1))
    window = np.searchsorted(starts, bins, side="right") - 1
    width = np.bincount(window, weights=trains.valid)  # (windows,) valid bins
    shape = (len(width), trains.values.shape[1])
    stored = trains.values.tocoo()

    def in_windows(values: np.ndarray, lag: int) -> np.ndarray:
        """(windows, N) sums of `values`, each moved `lag` bins later."""
        moved = stored.row + lag
        kept = trains.valid[moved]
        entries = (values[kept], (window[moved[kept]], stored.col[kept]))
        return sparse.coo_array(entries, shape=shape).toarray()

    events = in_windows(stored.data, 0)  # (windows, T)
    mean, variance = np.zeros((2, n_lags, shape[1], shape[1]))
    for lag in range(1, n_lags + 1):
        first, second = (
            in_windows(stored.data**power, lag) / np.maximum(width, 1)[:, None] for power in (1, 2)
        )
        mean[lag - 1] = first.T @ events
        variance[lag - 1] = (second - first**2).T @ events
    return mean, np.maximum(variance, 0)
