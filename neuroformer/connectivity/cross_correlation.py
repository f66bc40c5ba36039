"""Lagged cross-correlation of event counts: the oldest way to read wiring from spikes, and the first rival.

The correlation coefficient C of the source's count in bin t with the target's in bin t + lag, filtered and
peak-picked as in the filtered normalised cross-correlation histogram, FNCCH (Pastore, Massobrio, Godjoski &
Martinoia 2018, PLoS Comput. Biol. 14:e1006381, eq. 1; the histogram itself: Perkel, Gerstein & Moore 1967,
Biophys. J. 7:419):

    F[i, j](l) = C[i, j](l) − mean of C[i, j] over lags −L … L,       estimate[i, j] = F[i, j](l*),
    l* = argmax over l = 1 … L of |F[i, j](l)|

Taking away the window's mean removes what rises and falls slowly for both units alike; the peak by absolute
value keeps the trough of an inhibitory pair. A sum over lags does worse wherever units share slow input.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from neuroformer.connectivity.counts import BinnedCounts, bin_events, binned_blocks
from neuroformer.connectivity.estimate import ConnectivityMap
from neuroformer.connectivity.nulls import count_p_values, peak_p_values, pooled_variance
from neuroformer.errors import UserError
from neuroformer.session import Session

DENSE_ABOVE = 0.1  # share of non-zero counts above which dense products are faster than sparse ones


def cross_correlation(
    session: Session,
    *,
    bin_s: float,
    n_lags: int,
    rng: np.random.Generator | None = None,
    surrogates: int = 20,
) -> ConnectivityMap:
    """Estimate who drives whom in one session by filtered lagged cross-correlation.

    Reads the recording in blocks, so memory depends on units² × lags and not on its length; with p-values it
    also holds the events. Pairs of bins never straddle the edge of a valid interval. A unit whose count never
    changes has correlation 0 with all.

    p-values: F times the number of bins and both standard deviations is a number of coincidences above what
    rates foretell. It is compared with a Poisson count scaled to its variance over surrogates whose trains are
    shifted in time, all lags together; the surrogates' own peaks tell how much was gained by choosing the lag.

    Args:
        session: The recording.
        bin_s: Width of a bin in seconds.
        n_lags: Largest lag L in bins; an influence later than ``n_lags * bin_s`` seconds is not seen.
        rng: Source of the shifts; without one there are no p-values.
        surrogates: Number of shifted recordings.

    Raises:
        UsageError: There is an `rng` but fewer than two surrogates.
        UserError: No valid interval is longer than ``n_lags`` bins.
    """
    moments = LaggedMoments(n_units=session.n_units, n_lags=n_lags)
    for counts, continues in binned_blocks(session, bin_s=bin_s):
        moments.add(counts, continues=continues)
    if moments.n_pairs[-1] == 0:
        raise UserError(
            f"{session.path}: no valid interval is longer than {n_lags} lags of {bin_s:g} s; "
            "expected at least one, take fewer lags or narrower bins"
        )
    profile = filtered_correlation(moments)  # (L, S, T)
    p_values = None
    if rng is not None:
        recording = bin_events(session, bin_s=bin_s)
        p_values = _p_values(recording, profile, rng=rng, surrogates=surrogates)
    return ConnectivityMap(
        name="cross_correlation",
        matrix=_peak(profile),
        lag_profile=np.moveaxis(profile, 0, -1).astype(np.float32),
        lags_s=np.arange(1, n_lags + 1) * bin_s,
        p_values=p_values,
        description="peak of the lagged correlation of counts, less its mean over lags of both signs",
    )


def filtered_correlation(moments: LaggedMoments) -> np.ndarray:
    """(L, S, T) correlation at lags 1 … L less its mean over lags −L … L."""
    coefficients = moments.coefficients()  # (L + 1, S, T)
    both_signs = coefficients.sum(axis=0) + coefficients[1:].sum(axis=0).T  # C(−l) is C(l) transposed
    return coefficients[1:] - both_signs / (2 * moments.n_lags + 1)


def _peak(profile: np.ndarray) -> np.ndarray:
    """(S, T): the value that is largest in size over lags."""
    return np.take_along_axis(profile, np.abs(profile).argmax(axis=0)[None], axis=0)[0]


def _p_values(
    recording: BinnedCounts, profile: np.ndarray, *, rng: np.random.Generator, surrogates: int
) -> np.ndarray:
    n_lags, n_units, _ = profile.shape
    n = recording.n_bins
    mean = recording.totals / n
    squares = sum((interval**2).sum(axis=0) for interval in recording.intervals)
    spread = np.sqrt(np.maximum(squares / n - mean**2, 0))
    coincidences = n * spread[:, None] * spread  # (S, T) in a correlation of 1
    squares, peaks = [], []
    for _ in range(surrogates):
        moments = LaggedMoments(n_units=n_units, n_lags=n_lags)
        for interval in recording.shifted(rng, least_bins=2 * n_lags + 1).intervals:
            moments.add(interval, continues=False)
        null = filtered_correlation(moments)
        squares.append((null**2).mean(axis=0))
        peaks.append(_peak(null))
    expected = n * mean[:, None] * mean
    variance = pooled_variance(np.array(squares) * coincidences**2, expected)
    return peak_p_values(
        count_p_values(_peak(profile) * coincidences, expected, variance),
        np.stack([count_p_values(peak * coincidences, expected, variance) for peak in peaks]),
        n_lags=n_lags,
    )


class LaggedMoments:
    """Running sums from which correlation coefficients at lags 0 … L follow exactly, whatever the blocks.

    For each lag the means and variances are those of the very bins that enter its pairs, so every coefficient
    is the ordinary Pearson correlation of two equally long series. N = units.
    """

    def __init__(self, *, n_units: int, n_lags: int) -> None:
        self.n_lags = n_lags
        self.n_pairs = np.zeros(n_lags + 1)  # (L + 1,) pairs of bins seen
        self.source, self.source_squared, self.target, self.target_squared = np.zeros(
            (4, n_lags + 1, n_units)
        )
        self.product = np.zeros((n_lags + 1, n_units, n_units))  # Σ source · target, [lag, source, target]
        self._tail = sparse.csr_array((0, n_units))  # the last L bins of the interval so far

    def add(self, counts: sparse.csr_array, *, continues: bool) -> None:
        """Add a block of counts (bins, N); `continues` if its first bin follows the last block's last bin."""
        tail = self._tail if continues else self._tail[:0]
        counts = sparse.vstack([tail, counts], format="csr")
        self._tail = counts[-self.n_lags :]
        n_old, n_bins = tail.shape[0], counts.shape[0]
        dense = counts.nnz > DENSE_ABOVE * counts.shape[0] * counts.shape[1]
        values = counts.toarray() if dense else counts
        squares = values**2
        for lag in range(min(self.n_lags, n_bins - 1) + 1):
            target = slice(max(n_old, lag), n_bins)  # each pair counts in the block that holds its target
            source = slice(target.start - lag, n_bins - lag)
            product = values[source].T @ values[target]
            self.n_pairs[lag] += target.stop - target.start
            self.source[lag] += values[source].sum(axis=0)
            self.target[lag] += values[target].sum(axis=0)
            self.source_squared[lag] += squares[source].sum(axis=0)
            self.target_squared[lag] += squares[target].sum(axis=0)
            self.product[lag] += product if dense else product.toarray()

    def coefficients(self) -> np.ndarray:
        """Return (L + 1, S, T) Pearson correlations at lags 0 … L; 0 where a count does not vary."""
        n = self.n_pairs[:, None]
        source_spread = np.sqrt(n * self.source_squared - self.source**2)  # (L + 1, S)
        target_spread = np.sqrt(n * self.target_squared - self.target**2)  # (L + 1, T)
        covariance = n[..., None] * self.product - self.source[:, :, None] * self.target[:, None, :]
        spread = source_spread[:, :, None] * target_spread[:, None, :]
        return np.divide(covariance, spread, out=np.zeros_like(covariance), where=spread > 0)
