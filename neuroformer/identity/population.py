"""A unit seen through the others of its session and through behaviour, without labels."""

from __future__ import annotations

import numpy as np

from neuroformer.identity.activity import Activity
from neuroformer.identity.correlation import lagged_correlation, paired_correlation, standardize

LAGS = (-32, -16, -8, -4, 0, 4, 8, 16, 32)
TRIGGERED_LAGS = (-20, -10, -5, -3, -2, -1, 0, 1, 2, 3, 5, 10, 20)
BEHAVIOR_LAGS = (-16, -4, 0, 4, 16)
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_COMPONENTS = 6


def population_features(activity: Activity) -> tuple[np.ndarray, list[str]]:
    """How a unit stands to the others (N, F) and the features' names.

    How many events the others have at a lag from the unit's own, in bins of the model, against their mean, in standard
    deviations (spike-triggered population rate, Okun et al. 2015, Nature 521:511: at lags above 0 what a unit does to
    the others shows too, as far as they do not share a drive); correlation of activity with the mean of all others by
    lag, at the slower pace of the activity; quantiles and mean square of its correlations with the others; correlation
    with the session's first principal components and its square. Components have no sign and their order may differ
    between animals: each is turned so that its correlations with the units are skewed to the right.
    """
    stretches = [stretch.activity for stretch in activity.stretches]
    z, known = standardize(stretches)
    n = activity.n_units
    columns = list(triggered_rate(activity).T)
    names = [f"triggered_{lag}" for lag in TRIGGERED_LAGS]
    sums, counts = [x.sum(1, keepdims=True) for x in z], [k.sum(1, keepdims=True) for k in known]
    others = [
        (s - x) / np.maximum(c - k, 1) for s, c, x, k in zip(sums, counts, z, known, strict=True)
    ]  # each unit's own column
    usual = [lag for lag in LAGS if abs(lag) <= max(map(len, stretches)) // 3]
    for lag in usual:
        columns.append(paired_correlation(others, stretches, lag))
        names.append(f"population_lag_{lag}")
    correlation = lagged_correlation(stretches, stretches)
    np.fill_diagonal(correlation, np.nan)
    if n > 1:
        columns += list(np.nanquantile(correlation, _QUANTILES, axis=1))
        columns.append(np.nanmean(correlation**2, 1))
        names += [f"correlation_{q:g}" for q in _QUANTILES] + ["correlation_square"]
    _, _, axes = np.linalg.svd(np.concatenate(z), full_matrices=False)
    k = min(_COMPONENTS, n)
    loading = lagged_correlation(stretches, [x @ axes[:k].T for x in z])  # (N, k)
    loading = np.nan_to_num(loading)
    loading = loading * np.where((loading**3).sum(0) < 0, -1, 1)
    columns += [*loading.T, *(loading**2).T]
    names += [f"component_{i}" for i in range(k)] + [f"component_{i}_square" for i in range(k)]
    return np.stack(columns, 1), names


def triggered_rate(activity: Activity) -> np.ndarray:
    """(N, L) mean events per bin of all other units at each of `TRIGGERED_LAGS` bins after an event of the unit.

    In standard deviations of the others' counts around their mean; NaN where no event has a bin at that lag.
    """
    n_units = activity.n_units
    sums, pairs = np.zeros((n_units, len(TRIGGERED_LAGS))), np.zeros((n_units, len(TRIGGERED_LAGS)))
    total, square, n_bins = np.zeros(n_units), np.zeros(n_units), 0
    for stretch in activity.stretches:
        n = max(1, int((stretch.stop - stretch.start) / activity.bin_s + 1e-6))
        bins = [
            ((times - stretch.start) / activity.bin_s + 1e-6).astype(int).clip(0, n - 1)
            for times in stretch.times
        ]
        everyone = np.bincount(np.concatenate(bins), minlength=n).astype(float)
        for unit, at in enumerate(bins):
            others = everyone - np.bincount(at, minlength=n)
            total[unit] += others.sum()
            square[unit] += (others**2).sum()
            for k, lag in enumerate(TRIGGERED_LAGS):
                there = at + lag
                there = there[(there >= 0) & (there < n)]
                sums[unit, k] += others[there].sum()
                pairs[unit, k] += len(there)
        n_bins += n
    mean = total / n_bins
    spread = np.sqrt(np.maximum(square / n_bins - mean**2, 0))
    found = (sums / np.where(pairs > 0, pairs, np.nan) - mean[:, None]) / np.where(
        spread > 0, spread, np.nan
    )[:, None]
    return np.asarray(found)


def behavior_features(activity: Activity) -> tuple[np.ndarray, list[str]]:
    """Correlation of a unit's activity, and of its changes, with each behaviour by lag: (N, F) and names."""
    stretches = [stretch.activity for stretch in activity.stretches]
    behavior = [stretch.behavior for stretch in activity.stretches]
    changes = [np.gradient(x, axis=0) if len(x) > 1 else np.zeros_like(x) for x in stretches]
    columns, names = [], []
    for kind, values in (("level", stretches), ("change", changes)):
        for lag in BEHAVIOR_LAGS:
            columns.append(lagged_correlation(values, behavior, lag))
            names += [f"{behavior_name}_{kind}_lag_{lag}" for behavior_name in activity.behavior_names]
    return np.concatenate(columns, 1), names


def correlation_graph(activity: Activity) -> np.ndarray:
    """(N, N) correlation of the units at lag 0, diagonal 0: of the traces' changes, or of counts.

    Neighbouring samples of a slow trace say the same; its changes do not, and tell pairs apart better.
    """
    stretches = [stretch.activity for stretch in activity.stretches]
    if activity.from_traces:
        stretches = [np.diff(x, axis=0) for x in stretches]
    found = np.nan_to_num(lagged_correlation(stretches, stretches))
    np.fill_diagonal(found, 0)
    return found
