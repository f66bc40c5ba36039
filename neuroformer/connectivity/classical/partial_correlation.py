"""Lagged partial correlation: source and target, once what all other units foretell is taken from both.

The past of each unit is its count summed over windows of lags that widen with the lag, 1, 2, 3–4, 5–8, 9–16, … ≤ L bins
before. For source i, window g and target j

    r[i, j](g) = corr(x_i in window g, x_j now | the other windows of i and all windows of all other units, j included)
              = a / √(a² + σ²_j V),

with a the weight of that past value in the linear regression of x_j on all past values, σ²_j the variance left, and V
the value's diagonal entry in the inverse covariance of the past. estimate[i, j] = r at the g where |r| is largest.
The present of third units is not conditioned on: it may be an effect of both, which would make a correlation.
Correlations are shrunk to the identity as in Ledoit & Wolf 2004 (J. Multivariate Anal. 88:365, section 3).
Partial correlation for spike trains: Eichler, Dahlhaus & Sandkühler 2003 (Biol. Cybern. 89:289); for
cultured networks: Poli, Pastore, Martinoia & Massobrio 2016 (J. Neural Eng. 13:026023).
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from neuroformer.connectivity.classical.lagged import autocovariance, check_lags, take_peak
from neuroformer.connectivity.classical.var import past_covariance, past_with_present, regress
from neuroformer.connectivity.counts import BLOCK_ENTRIES, BinnedCounts
from neuroformer.connectivity.estimate import ConnectivityMap

MOST_SHRINKAGE = 0.9  # of units without any correlation all is shrunk away, and nothing were left to rank


def partial_correlation(
    counts: BinnedCounts,
    *,
    n_lags: int,
    rng: np.random.Generator | None = None,
    surrogates: int = 20,
) -> ConnectivityMap:
    """Estimate who drives whom by the partial correlation of past and present counts.

    p-values come from the weights' standard errors, a / √((1 − λ) (V − λ V²) σ²_j / (n − P − 1)) at shrinkage λ with
    V the inverse of the shrunk correlation of P past values (tests in ridge regression: Halawa & El Bassiouni 2000,
    J. Stat. Comput. Simul. 65:341; Fisher's where λ = 0), corrected for the choice among windows by Šidák's
    1 − (1 − p)^windows. The profile has the same value at all lags of a window.

    Args:
        counts: The recording.
        n_lags: Largest lag L in bins.
        rng: Not used: the null is analytic.
        surrogates: Not used.

    Raises:
        UserError: No valid interval is longer than `n_lags` bins.
    """
    del rng, surrogates
    check_lags(counts, n_lags)
    groups = lag_windows(n_lags)
    gamma = autocovariance(counts, n_lags=n_lags)
    active = np.flatnonzero(np.diagonal(gamma[0]) > 1e-12)
    gamma = gamma[:, active][:, :, active]
    matrix, p_values = np.zeros((counts.n_units,) * 2), np.ones((counts.n_units,) * 2)
    profile = np.zeros((counts.n_units, counts.n_units, n_lags), np.float32)
    if len(active):
        past, cross = past_covariance(gamma, groups), past_with_present(gamma, groups)
        past_sd, present_sd = np.sqrt(np.diag(past)), np.sqrt(np.diag(gamma[0]))
        past /= past_sd[:, None] * past_sd
        cross /= past_sd[:, None] * present_sd
        present = gamma[0] / (present_sd[:, None] * present_sd)
        shrinkage = ledoit_wolf_shrinkage(past, fourth_moment(counts, active, groups, past_sd), counts.n_bins)
        past, cross = (1 - shrinkage) * past, (1 - shrinkage) * cross
        past[np.diag_indices_from(past)] = 1
        fit = regress(past, cross, present)
        own, residual = fit.precision.diagonal(), fit.residual.diagonal()
        noise = own - shrinkage * (fit.precision**2).sum(axis=0)  # (P,), of V R V, V the precision
        by_window = (len(groups), -1, 1)
        partial = fit.weights / np.sqrt(fit.weights**2 + own.reshape(by_window) * residual)  # (windows, S, T)
        left = counts.n_bins - len(past) - 1
        z = fit.weights / np.sqrt((1 - shrinkage) * noise.reshape(by_window) * residual / left)
        peak, z = take_peak(partial, z)
        pairs = np.ix_(active, active)
        matrix[pairs] = peak
        p_values[pairs] = -np.expm1(len(groups) * np.log1p(-2 * stats.norm.sf(np.abs(z))))
        for window, values in zip(groups, partial, strict=True):
            profile[active[:, None], active, window.start - 1 : window.stop - 1] = values[..., None]
    np.fill_diagonal(p_values, np.nan)
    return ConnectivityMap(
        name="partial_correlation",
        matrix=matrix,
        lag_profile=profile,
        lags_s=np.arange(1, n_lags + 1) * counts.bin_s,
        p_values=p_values,
        description="partial correlation of the source's past with the target, given the past of all units",
    )


def lag_windows(n_lags: int) -> list[range]:
    """Windows 1, 2, 3–4, 5–8, … of the lags 1 … L, each twice as wide as the one before; the last one is cut.

    >>> lag_windows(10)
    [range(1, 2), range(2, 3), range(3, 5), range(5, 9), range(9, 11)]
    """
    windows, first, width = [range(1, 2)], 2, 1
    while first <= n_lags:
        windows.append(range(first, min(first + width, n_lags + 1)))
        first, width = first + width, 2 * width
    return windows


def ledoit_wolf_shrinkage(correlation: np.ndarray, fourth: float, n: int) -> float:
    """Share of the identity in the shrunk correlation matrix (P, P): min(b̄², d²) / d², at most 0.9.

    d² = ‖R − I‖², b̄² = (mean of ‖z‖⁴ − ‖R‖²) / n, for n samples z with ‖z‖⁴ on average `fourth`.
    """
    squares = float((correlation**2).sum())
    distance = squares - len(correlation)
    error = (fourth - squares) / n
    return float(np.clip(error / distance, 0, MOST_SHRINKAGE)) if distance > 0 else MOST_SHRINKAGE


def fourth_moment(
    counts: BinnedCounts, active: np.ndarray, groups: list[range], past_sd: np.ndarray
) -> float:
    """Mean over bins of ‖z‖⁴, z the standardised past values of the active units in all windows of lags."""
    scale = 1 / past_sd.reshape(len(groups), -1)  # (windows, N)
    mean = (counts.totals / counts.n_bins)[active]
    n_lags, total = groups[-1].stop - 1, 0.0
    block = max(BLOCK_ENTRIES // (2 * len(active)), 4 * n_lags)
    for interval in counts.intervals:
        for first in range(0, interval.shape[0], block):
            last = min(first + block, interval.shape[0])
            rows = interval[max(first - n_lags, 0) : last][:, active].toarray() - mean
            rows = np.pad(rows, ((n_lags + 1 - min(first, n_lags), 0), (0, 0)))
            sums = np.cumsum(rows, axis=0)  # row n_lags + t holds the sum before bin first + t
            square = np.zeros(last - first)
            for group, weight in zip(groups, scale, strict=True):
                upto, before = n_lags + 1 - group.start, n_lags + 1 - group.stop
                size = last - first
                square += (((sums[upto : upto + size] - sums[before : before + size]) * weight) ** 2).sum(
                    axis=1
                )
            total += float((square**2).sum())
    return total / counts.n_bins
