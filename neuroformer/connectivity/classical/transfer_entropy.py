"""Delayed transfer entropy: bits that a source's bin tells of a later bin of the target beyond the target's own past.

With y the target's and x the source's train, 1 in bins with any event, and y⁻ the target's last k bins,

    TE[i, j](l) = Σ p(y_t, y⁻, x_{t − l}) log₂ [ p(y_t | y⁻, x_{t − l}) / p(y_t | y⁻) ]        (bits per bin)
    estimate[i, j] = ± max over l = 1 … L of TE[i, j](l)

Transfer entropy: Schreiber 2000, Phys. Rev. Lett. 85:461; at delays, with its peak and coincidence index: Ito, Hansen,
Heiland, Lumsdaine, Litke & Beggs 2011, PLoS ONE 6:e27431. The sign, which an information has not, is that of the
correlation of the two bins. All pairs come from products of sparse 0/1 arrays: one of the eight numbers of each
2 × 2 × (past) table is counted, the others follow from totals.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse, stats

from neuroformer.connectivity.classical.lagged import (
    JoinedTrains,
    check_lags,
    join,
    lagged_products,
    take_peak,
)
from neuroformer.connectivity.counts import BinnedCounts
from neuroformer.connectivity.estimate import ConnectivityMap
from neuroformer.connectivity.nulls import peak_p_values, pooled_variance
from neuroformer.errors import UsageError


def delayed_transfer_entropy(
    counts: BinnedCounts,
    *,
    n_lags: int,
    rng: np.random.Generator,
    surrogates: int = 20,
    history_bins: int = 1,
    coincidence_bins: int | None = None,
) -> ConnectivityMap:
    """Estimate who drives whom by transfer entropy at its best delay.

    p-values: 2 n ln 2 · TE is a likelihood ratio, about c · χ² with 2^k degrees of freedom where there is no
    influence. c is taken for each pair from the mean over all lags of surrogates whose trains are shifted in
    time; their own peaks tell how much was gained by choosing the lag.

    Args:
        counts: The recording.
        n_lags: Largest delay L in bins.
        rng: Source of the shifts.
        surrogates: Number of shifted recordings.
        history_bins: The target's own past k in bins, 1 to 4.
        coincidence_bins: If given, the matrix holds the coincidence index instead of the peak: the share of the
            transfer entropy over all delays that lies this many bins or fewer from its peak.

    Raises:
        UsageError: `history_bins` is not 1 to 4, or `surrogates` is below 2.
        UserError: No valid interval is longer than `n_lags` or `history_bins` bins.
    """
    if not 1 <= history_bins <= 4:
        raise UsageError(f"history_bins={history_bins}: expected 1 to 4, tables double with each bin")
    check_lags(counts, max(n_lags, history_bins))
    gap, freedom = max(n_lags, history_bins), 2**history_bins

    def measure(recording: BinnedCounts) -> tuple[np.ndarray, np.ndarray]:
        return likelihood_ratio(join(recording, gap=gap), n_lags=n_lags, history_bins=history_bins)

    fires = counts.totals > 0
    ratio, sign = measure(counts)  # (L, S, T) each
    means, peaks = [], []
    for _ in range(surrogates):
        null, _sign = measure(counts.shifted(rng, least_bins=2 * gap + 1))
        means.append(null.mean(axis=0))
        peaks.append(null.max(axis=0))
    scale = pooled_variance(np.array(means), np.full(ratio.shape[1:], float(freedom))) / freedom
    scale[~fires[:, None] | ~fires] = 0
    n_bins = sum(max(interval.shape[0] - gap, 0) for interval in counts.intervals)
    entropy = ratio / (2 * np.log(2) * n_bins)
    peak, at_peak = take_peak(entropy, sign)
    size = peak if coincidence_bins is None else coincidence_index(entropy, coincidence_bins)
    return ConnectivityMap(
        name="transfer_entropy",
        matrix=at_peak * size,
        lag_profile=np.moveaxis(sign * entropy, 0, -1).astype(np.float32),
        lags_s=np.arange(1, n_lags + 1) * counts.bin_s,
        p_values=peak_p_values(
            _tail(ratio.max(axis=0), scale, freedom),
            np.stack([_tail(values, scale, freedom) for values in peaks]),
            n_lags=n_lags,
        ),
        description="transfer entropy at its best delay, bits per bin"
        if coincidence_bins is None
        else "coincidence index of transfer entropy: share of it near its best delay",
    )


def likelihood_ratio(
    trains: JoinedTrains, *, n_lags: int, history_bins: int
) -> tuple[np.ndarray, np.ndarray]:
    """(L, S, T) each: 2 n ln 2 · TE at every delay, and the sign of the correlation of source and target there.

    Only bins with the longest delay and the whole history inside their interval count, so n is that of all delays.
    """
    binary = trains.binary()
    position = np.arange(len(trains.valid)) - np.repeat(
        trains.first, np.diff(np.append(trains.first, len(trains.valid)))
    )
    usable = trains.valid & (position >= max(n_lags, history_bins))
    n, n_units = np.count_nonzero(usable), binary.shape[1]
    fires = _keep_rows(binary, usable)
    pasts = _past_patterns(trains, usable, history_bins)
    columns = [part for past in pasts for part in (past, fires.multiply(past).tocsr())]
    every_bin = sparse.csr_array(usable[:, None].astype(float))
    stacked = sparse.hstack([*columns, fires, every_bin], format="csr")
    products = lagged_products(binary, stacked, n_lags=n_lags)  # (L, S, columns)
    totals = stacked.sum(axis=0)

    def column(k: int) -> tuple[np.ndarray, np.ndarray]:
        """(L, S, T) with the source and (T,) in all."""
        block = slice(k * n_units, (k + 1) * n_units)
        return products[..., block], totals[block]

    with_source = products[..., -1:]  # (L, S, 1) bins in which the source's bin l before has an event
    fires_with, fires_all = column(len(columns))
    # What is left of (past, past and fires) when all patterns but the empty past are taken away.
    rest = [with_source, np.full(n_units, float(n)), fires_with.copy(), fires_all.copy()]
    ratio = np.zeros(fires_with.shape)
    for k in range(0, len(columns), 2):
        cell = [*column(k), *column(k + 1)]
        ratio += _cell_ratio(*cell)
        rest = [one - two for one, two in zip(rest, cell, strict=True)]
    ratio += _cell_ratio(*rest)
    return np.maximum(2 * ratio, 0), np.sign(n * fires_with - with_source * fires_all)


def coincidence_index(entropy: np.ndarray, reach: int) -> np.ndarray:
    """(S, T): share of the sum of `entropy` (L, S, T) over lags at most `reach` from its peak; 0 where all is 0."""
    lags = np.arange(len(entropy))[:, None, None]
    near = np.abs(lags - entropy.argmax(axis=0)) <= reach
    total = entropy.sum(axis=0)
    return np.divide((entropy * near).sum(axis=0), total, out=np.zeros_like(total), where=total > 0)


def _past_patterns(trains: JoinedTrains, usable: np.ndarray, history_bins: int) -> list[sparse.csr_array]:
    """(bins, N) 0/1 arrays of the usable bins in which the target's past is each of the 2^k − 1 patterns not empty."""
    events = trains.binary().tocoo()
    bins = np.concatenate([events.row + back for back in range(1, history_bins + 1)])
    code = np.repeat(2.0 ** np.arange(history_bins), len(events.row))
    entries = (code, (bins, np.tile(events.col, history_bins)))
    codes = _keep_rows(sparse.coo_array(entries, shape=events.shape).tocsr(), usable)
    patterns = []
    for pattern in range(1, 2**history_bins):
        mask = codes.copy()
        mask.data = (codes.data == pattern).astype(float)
        mask.eliminate_zeros()
        patterns.append(mask)
    return patterns


def _keep_rows(values: sparse.csr_array, rows: np.ndarray) -> sparse.csr_array:
    """The same array with the rows that are not in `rows` (bins,) bool emptied."""
    stored = values.tocoo()
    kept = rows[stored.row]
    entries = (stored.data[kept], (stored.row[kept], stored.col[kept]))
    return sparse.coo_array(entries, shape=values.shape).tocsr()


def _cell_ratio(
    past_with: np.ndarray, past: np.ndarray, both_with: np.ndarray, both: np.ndarray
) -> np.ndarray:
    """(L, S, T): Σ n ln(n · n_past / (n_past,source · n_past,fires)) over the four bins-counts of one past.

    `past` and `both` (T,) count bins with this past, and of them those in which the target fires; `…_with` (L, S, T)
    those with an event of the source.
    """
    table = (
        _n_log_n(both_with)
        + _n_log_n(past_with - both_with)
        + _n_log_n(both - both_with)
        + _n_log_n(past - past_with - both + both_with)
    )
    margins = _n_log_n(past_with) + _n_log_n(past - past_with) + _n_log_n(both) + _n_log_n(past - both)
    return table - margins + _n_log_n(past)


def _n_log_n(n: np.ndarray) -> np.ndarray:
    return n * np.log(np.maximum(n, 1))


def _tail(ratio: np.ndarray, scale: np.ndarray, freedom: int) -> np.ndarray:
    possible = scale > 1e-9
    return np.where(possible, stats.chi2.sf(ratio / np.where(possible, scale, 1), freedom), 1.0)
