"""Plain statistics of a unit's own events: rate features, interval histograms, autocorrelograms.

All of it is label-free and of one unit alone. A value that cannot be computed (an interval statistic of a unit with two
events) is NaN; the comparison counts these and puts them in the middle of the session's units.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from neuroformer.identity.activity import Activity
from neuroformer.identity.correlation import paired_correlation

FANO_STEPS = 10
ACG_BINS = 200
_ACG_GROUPS = 12
_ISI_EDGES = 11
_TRACE_LAGS = (1, 2, 4, 8, 16, 32, 64, 128)
_CHANGE_LAGS = (1, 2, 4, 8, 16)


def rate_features(activity: Activity) -> tuple[np.ndarray, list[str]]:
    """Rate features (N, F) and their names.

    log10 events per second; CV of the intervals; CV2 (Holt et al. 1996, J. Neurophysiol. 75:1806); Fano factor of the
    counts in windows of ten samples of the activity; burst index, here the share of intervals shorter than a quarter of
    the unit's mean; where events have amplitudes, mean and spread of their logarithm.
    """
    has_amplitudes = all(stretch.amplitudes is not None for stretch in activity.stretches)
    names = ["log_rate", "cv", "cv2", "fano", "burst_index"]
    names += ["log_amplitude", "log_amplitude_spread"] if has_amplitudes else []
    found = np.full((activity.n_units, len(names)), np.nan)
    window_s = FANO_STEPS * activity.step_s
    for unit in range(activity.n_units):
        intervals = [np.diff(stretch.times[unit]) for stretch in activity.stretches]
        pooled = np.concatenate(intervals)
        n_events = sum(len(stretch.times[unit]) for stretch in activity.stretches)
        found[unit, 0] = np.log10((n_events + 0.5) / activity.seconds)
        if len(pooled) >= 2 and pooled.mean() > 0:
            found[unit, 1] = pooled.std() / pooled.mean()
            found[unit, 4] = (pooled < 0.25 * pooled.mean()).mean()
        pairs = [(a, b) for i in intervals for a, b in pairwise(i) if a + b > 0]
        if pairs:
            first, second = np.array(pairs).T
            found[unit, 2] = (2 * np.abs(second - first) / (second + first)).mean()
        counts = np.concatenate(
            [
                np.histogram(
                    s.times[unit], s.start + window_s * np.arange(int((s.stop - s.start) / window_s) + 1)
                )[0]
                for s in activity.stretches
                if s.stop - s.start >= window_s
            ]
            or [np.zeros(0)]
        )
        if len(counts) > 1 and counts.sum():
            found[unit, 3] = counts.var(ddof=1) / counts.mean()
        if has_amplitudes:
            sizes = np.concatenate(
                [s.amplitudes[unit] for s in activity.stretches if s.amplitudes is not None]
            )
            sizes = np.log(sizes[sizes > 0])
            if len(sizes) > 1:
                found[unit, 5:] = sizes.mean(), sizes.std()
    return found, names


def autocorrelogram_features(activity: Activity) -> tuple[np.ndarray, list[str]]:
    """Autocorrelogram features (N, F) and their names.

    log of pairs of events over those expected of a Poisson process of the same rate, in groups of lags that widen with
    the lag up to 200 bins; log of the share of intervals in bins of equal width on a logarithmic axis, up to 1000 bins;
    where the activity is traces, their autocorrelation and that of their changes by lag, their size, skewness and
    kurtosis.
    """
    lags = np.unique(np.geomspace(1, ACG_BINS + 1, _ACG_GROUPS + 1).astype(int))
    edges = activity.bin_s * np.geomspace(0.999, 1000, _ISI_EDGES)
    edges[-1] = np.inf
    acg = np.zeros((activity.n_units, len(lags) - 1))
    isi = np.zeros((activity.n_units, len(edges) - 1))
    for unit in range(activity.n_units):
        pairs, expected = _pairs(activity, unit)
        for k, (a, b) in enumerate(pairwise(lags)):
            acg[unit, k] = np.log((pairs[a:b].sum() + 1) / (expected[a:b].sum() + 1))
        intervals = np.concatenate([np.diff(s.times[unit]) for s in activity.stretches])
        shares = np.histogram(np.maximum(intervals, activity.bin_s), edges)[0] + 0.5
        isi[unit] = np.log(shares / shares.sum())
    names = [f"acg_{a}-{b - 1}" for a, b in pairwise(lags)] + [f"isi_{k}" for k in range(isi.shape[1])]
    found = [acg, isi]
    if activity.from_traces:
        traces, trace_names = _trace_features(activity)
        found.append(traces)
        names += trace_names
    return np.concatenate(found, 1), names


def _pairs(activity: Activity, unit: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of events by lag in bins, 0 … ACG_BINS, and what a Poisson process of the same rate would have."""
    pairs, room, events, bins = np.zeros(ACG_BINS + 1), np.zeros(ACG_BINS + 1), 0, 0
    for stretch in activity.stretches:
        n = max(1, int((stretch.stop - stretch.start) / activity.bin_s + 1e-6))
        at = ((stretch.times[unit] - stretch.start) / activity.bin_s + 1e-6).astype(int).clip(0, n - 1)
        counts = np.bincount(at, minlength=n).astype(float)
        spectrum = np.fft.rfft(counts, 2 * n)
        lagged = np.fft.irfft(np.abs(spectrum) ** 2, 2 * n)[: min(n, ACG_BINS + 1)]
        pairs[: len(lagged)] += lagged.round()
        room += np.maximum(n - np.arange(ACG_BINS + 1), 0)
        events, bins = events + len(at), bins + n
    return pairs, room * (events / bins) ** 2


def _trace_features(activity: Activity) -> tuple[np.ndarray, list[str]]:
    traces = [stretch.activity for stretch in activity.stretches]
    changes = [np.diff(trace, axis=0) for trace in traces]
    longest = max(len(trace) for trace in traces) // 3
    columns, names = [], []
    for name, values, lags in (("trace", traces, _TRACE_LAGS), ("change", changes, _CHANGE_LAGS)):
        for lag in lags:
            if lag <= longest:
                columns.append(paired_correlation(values, values, lag))
                names.append(f"{name}_lag_{lag}")
        pooled = np.concatenate(values)
        centred = pooled - np.nanmean(pooled, 0)
        spread = np.sqrt(np.nanmean(centred**2, 0))
        spread = np.where(spread > 0, spread, np.nan)
        columns += [
            np.log(spread),
            np.nanmean(centred**3, 0) / spread**3,
            np.log(np.nanmean(centred**4, 0) / spread**4),
        ]
        names += [f"{name}_log_spread", f"{name}_skewness", f"{name}_log_kurtosis"]
    return np.stack(columns, 1), names
