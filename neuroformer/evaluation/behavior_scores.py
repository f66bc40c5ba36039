"""How well behaviour is decoded, each number with its draws over blocks of time or trials.

Samples are the bins whose behaviour is known, of all stretches put together. All errors are in the target's unit;
those of a circular variable are the short way round. A score that is not defined (the correlation of a constant, the
AUC of one class) is NaN, never a number that looks like one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import ndtr, ndtri

from neuroformer.evaluation.block_draws import BlockDraws, Score

INTERVAL_LEVEL = 0.8


def continuous_scores(
    truth: np.ndarray,
    mean: np.ndarray,
    draws: BlockDraws,
    *,
    spread: np.ndarray | None = None,
    bounds: tuple[np.ndarray, np.ndarray] | None = None,
    names: Sequence[str] | None = None,
    level: float = INTERVAL_LEVEL,
) -> dict[str, Score]:
    """Scores of a variable on a line.

    Args:
        truth: (n, D) known values.
        mean: (n, D) decoded values.
        draws: blocks of the n samples.
        spread: (n, D) standard deviations of what was decoded.
        bounds: (n, D) lower and (n, D) upper ends of intervals of this level, where a method has better ones than those
            of a normal distribution with this mean and spread: quantiles of a posterior with two peaks, say.
        names: of the dimensions; by default their numbers.
        level: of the interval whose coverage is scored.

    Returns:
        `r2`, pooled over dimensions (weighted by variance), and `r2/NAME` of each where there are several; the same
        for `correlation` (the pooled one is the mean over dimensions); `mean_error`, `median_error` and `error_90`
        (90 % of errors are smaller) of the distance in the space of all dimensions; with a spread `coverage`, `width`
        (of the interval, its sharpness) and `crps`, means over dimensions, and of each.
    """
    truth, mean, names = _checked(truth, mean, draws, names)
    moments = _moments(draws, truth, mean)  # (R, D) each
    n, residual = moments["n"], moments["ee"]
    total = _variance(moments["tt"], moments["t"], n) * n
    with np.errstate(divide="ignore", invalid="ignore"):
        r2 = 1 - residual / total
        pooled = 1 - residual.sum(1) / total.sum(1)
        covariance = moments["tm"] / n - moments["t"] * moments["m"] / n**2
        variances = total / n * _variance(moments["mm"], moments["m"], n)
        correlation = covariance / np.sqrt(variances)
    found = {"r2": draws.score(np.where(np.isfinite(pooled), pooled, np.nan))}
    _each(found, draws, "r2", np.where(np.isfinite(r2), r2, np.nan), names)
    correlation = np.where(np.isfinite(correlation), correlation, np.nan)
    found["correlation"] = draws.score(correlation.mean(1))
    _each(found, draws, "correlation", correlation, names)
    found |= _distances(draws, np.sqrt(((mean - truth) ** 2).sum(1)))
    if spread is not None:
        spread = _positive(spread, truth)
        half = float(ndtri((1 + level) / 2)) * spread
        lower, upper = (mean - half, mean + half) if bounds is None else bounds
        found |= _interval_scores(draws, (truth >= lower) & (truth <= upper), upper - lower, names)
        z = (truth - mean) / spread
        density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
        crps = spread * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi))
        _means(found, "crps", draws, crps, names)
    return found


def circular_scores(
    truth: np.ndarray,
    mean: np.ndarray,
    draws: BlockDraws,
    *,
    period: float,
    spread: np.ndarray | None = None,
    bounds: tuple[np.ndarray, np.ndarray] | None = None,
    names: Sequence[str] | None = None,
    level: float = INTERVAL_LEVEL,
) -> dict[str, Score]:
    """Scores of a circular variable.

    Args:
        truth: (n, D) known values.
        mean: (n, D) decoded values.
        draws: blocks of the n samples.
        period: a full turn.
        spread: (n, D) standard deviations of what was decoded.
        bounds: (n, D) lower and (n, D) upper ends of intervals of this level, where a method has better ones than those
            of a normal distribution with this mean and spread: quantiles of a posterior with two peaks, say.
        names: of the dimensions; by default their numbers.
        level: of the interval whose coverage is scored.

    Returns:
        `mean_error`, `median_error` and `error_90` of the distance, `bias` (the circular mean of the signed error, mean
        over dimensions), `circular_correlation` (Jammalamadaka & SenGupta 2001, Topics in Circular Statistics, §8.2),
        and with a spread `coverage` and `width`, no wider than a turn.
    """
    truth, mean, names = _checked(truth, mean, draws, names)
    error = (mean - truth + period / 2) % period - period / 2
    found = _distances(draws, np.sqrt((error**2).sum(1)))
    turn = 2 * np.pi / period
    biases, correlations = [], []
    for d in range(truth.shape[1]):
        a, b, e = truth[:, d] * turn, mean[:, d] * turn, error[:, d] * turn
        sums = draws.sums(np.stack([np.ones_like(a), np.cos(e), np.sin(e)], axis=1))
        length = np.hypot(sums[:, 1], sums[:, 2]) / sums[:, 0]
        biases.append(np.where(length > 1e-9, np.arctan2(sums[:, 2], sums[:, 1]) / turn, np.nan))
        correlations.append(_circular_correlation(draws, a, b))
    _each(found, draws, "bias", np.stack(biases, axis=1), names, pooled=True)
    _each(found, draws, "circular_correlation", np.stack(correlations, axis=1), names, pooled=True)
    if spread is not None:
        half = np.minimum(float(ndtri((1 + level) / 2)) * _positive(spread, truth), period / 2)
        inside, width = np.abs(error) <= half, 2 * half
        if bounds is not None:
            width = (bounds[1] - bounds[0]) % period
            inside = (truth - bounds[0]) % period <= width
        found |= _interval_scores(draws, inside, width, names)
    return found


def categorical_scores(truth: np.ndarray, probability: np.ndarray, draws: BlockDraws) -> dict[str, Score]:
    """Scores of classes.

    Args:
        truth: (n,) known classes, 0 to K − 1.
        probability: (n, K) of the classes.
        draws: blocks of the n samples.

    Returns:
        `accuracy`, `balanced_accuracy` (mean recall over the classes that occur), `auc` (of class 1 where there are
        two; else the mean over the classes that occur of each against the rest) and `log_loss` in nats (no
        probability counts as less than 1e-12).
    """
    truth = np.asarray(truth)
    if probability.ndim != 2 or truth.shape != probability.shape[:1] or len(truth) != draws.n_samples:
        raise ValueError(
            f"truth {truth.shape}, probability {probability.shape}, {draws.n_samples} samples: they do not fit"
        )
    n_classes = probability.shape[1]
    if truth.min() < 0 or truth.max() >= n_classes:
        raise ValueError(
            f"classes from {truth.min()} to {truth.max()}: expected 0 to {n_classes - 1}, known ones only"
        )
    is_class = truth[:, None] == np.arange(n_classes)
    hit = probability.argmax(1) == truth
    loss = -np.log(np.maximum(probability[np.arange(len(truth)), truth], 1e-12))
    sums = draws.sums(
        np.concatenate(
            [np.stack([np.ones(len(truth)), hit, loss], axis=1), is_class, is_class & hit[:, None]], axis=1
        )
    )
    n = sums[:, 0]
    count, right = np.split(sums[:, 3:], 2, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        recall = right / count  # NaN where a class does not occur
    classes = [1] if n_classes == 2 else range(n_classes)
    auc = np.stack([_auc(draws, is_class[:, k], probability[:, k]) for k in classes], axis=1)
    return {
        "accuracy": draws.score(sums[:, 1] / n),
        "balanced_accuracy": draws.score(_mean_of_known(recall)),
        "auc": draws.score(_mean_of_known(auc)),
        "log_loss": draws.score(sums[:, 2] / n),
    }


def differences(ours: Mapping[str, Score], other: Mapping[str, Score]) -> dict[str, Score]:
    """Paired differences, ours − other, of the scores that both have on the same draws."""
    return {name: ours[name] - other[name] for name in ours if name in other}


def _checked(
    truth: np.ndarray, mean: np.ndarray, draws: BlockDraws, names: Sequence[str] | None
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    truth, mean = np.asarray(truth, dtype=np.float64), np.asarray(mean, dtype=np.float64)
    if truth.ndim != 2 or truth.shape != mean.shape or len(truth) != draws.n_samples:
        raise ValueError(
            f"truth {truth.shape}, mean {mean.shape}, {draws.n_samples} samples: expected (n, D) of all"
        )
    if not (np.isfinite(truth).all() and np.isfinite(mean).all()):
        raise ValueError("NaN or infinity among truth or mean: score the bins that are known")
    names = [str(d) for d in range(truth.shape[1])] if names is None else list(names)
    if len(names) != truth.shape[1]:
        raise ValueError(f"{len(names)} names of {truth.shape[1]} dimensions")
    return truth, mean, names


def _positive(spread: np.ndarray, truth: np.ndarray) -> np.ndarray:
    if spread.shape != truth.shape or not (np.isfinite(spread).all() and (spread > 0).all()):
        raise ValueError(f"spread {spread.shape}: expected {truth.shape}, finite and above 0")
    return spread


def _moments(draws: BlockDraws, truth: np.ndarray, mean: np.ndarray) -> dict[str, np.ndarray]:
    """Sums of shape (R, D); truth and mean about the truth's mean, so that squares do not cancel."""
    t, m = truth - truth.mean(0), mean - truth.mean(0)
    found = {
        name: draws.sums(values)
        for name, values in {
            "t": t,
            "m": m,
            "tt": t * t,
            "mm": m * m,
            "tm": t * m,
            "ee": (t - m) ** 2,
        }.items()
    }
    return found | {"n": draws.sums(np.ones((len(t), 1)))}


def _variance(square: np.ndarray, total: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Variance from sums; exactly 0 where it is rounding."""
    variance = square / n - (total / n) ** 2
    return np.where(variance > 1e-12 * square / n, variance, 0.0)


def _each(
    found: dict[str, Score],
    draws: BlockDraws,
    name: str,
    values: np.ndarray,
    names: list[str],
    *,
    pooled: bool = False,
) -> None:
    """Add a score of each dimension, where there are several, and their mean if asked for."""
    if pooled:
        found[name] = draws.score(values.mean(1))
    if len(names) > 1:
        found |= {f"{name}/{each}": draws.score(values[:, d]) for d, each in enumerate(names)}


def _means(
    found: dict[str, Score], name: str, draws: BlockDraws, values: np.ndarray, names: list[str]
) -> None:
    """Add means over samples (n, D)."""
    sums = draws.sums(np.concatenate([values, np.ones((len(values), 1))], axis=1))
    _each(found, draws, name, sums[:, :-1] / sums[:, -1:], names, pooled=True)


def _interval_scores(
    draws: BlockDraws, inside: np.ndarray, width: np.ndarray, names: list[str]
) -> dict[str, Score]:
    found: dict[str, Score] = {}
    _means(found, "coverage", draws, inside.astype(float), names)
    _means(found, "width", draws, width, names)
    return found


def _distances(draws: BlockDraws, distance: np.ndarray) -> dict[str, Score]:
    found: dict[str, Score] = {}
    _means(found, "mean_error", draws, distance[:, None], ["all"])
    order = np.argsort(distance)
    ranked = distance[order]
    middle, high = [], []
    for weights in draws.weights():
        below = np.cumsum(weights[:, order], axis=1)
        total = below[:, -1:]
        middle.append(_quantile(ranked, below, total, 0.5))
        high.append(_quantile(ranked, below, total, 0.9))
    return found | {
        "median_error": draws.score(np.concatenate(middle)),
        "error_90": draws.score(np.concatenate(high)),
    }


def _quantile(ranked: np.ndarray, below: np.ndarray, total: np.ndarray, part: float) -> np.ndarray:
    """Linearly interpolated quantile of values repeated as often as their weights say, as `np.quantile` has it.

    Args:
        ranked: (n,) values, rising.
        below: (R, n) cumulative weights, whole numbers.
        total: (R, 1) sums of weights.
        part: of the samples, in [0, 1].
    """
    place = part * (total - 1)
    first = np.floor(place)
    low = (below <= first).sum(1)
    high = (below <= np.minimum(first + 1, total - 1)).sum(1)
    step = (place - first)[:, 0]
    found: np.ndarray = ranked[low] * (1 - step) + ranked[high] * step
    return found


def _circular_correlation(draws: BlockDraws, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(R,) from angles (n,) in radians."""
    ca, sa, cb, sb = np.cos(a), np.sin(a), np.cos(b), np.sin(b)
    columns = [
        ca,
        sa,
        cb,
        sb,
        sa * sb,
        sa * cb,
        ca * sb,
        ca * cb,
        sa * sa,
        ca * ca,
        sa * ca,
        sb * sb,
        cb * cb,
        sb * cb,
    ]
    s = draws.sums(np.stack(columns, axis=1)).T
    middle_a, middle_b = np.arctan2(s[1], s[0]), np.arctan2(s[3], s[2])
    # sin(a − ā) = sin a cos ā − cos a sin ā, so all sums follow from those of products.
    ka, la, kb, lb = np.cos(middle_a), np.sin(middle_a), np.cos(middle_b), np.sin(middle_b)
    across = s[4] * ka * kb - s[5] * ka * lb - s[6] * la * kb + s[7] * la * lb
    size_a = s[8] * ka**2 + s[9] * la**2 - 2 * s[10] * ka * la
    size_b = s[11] * kb**2 + s[12] * lb**2 - 2 * s[13] * kb * lb
    least = 1e-12 * len(a)
    known = (size_a > least) & (size_b > least)
    return np.where(known, across / np.sqrt(np.where(known, size_a * size_b, 1.0)), np.nan)


def _auc(draws: BlockDraws, positive: np.ndarray, value: np.ndarray) -> np.ndarray:
    """(R,) probability that a positive has the higher value, ties counting half; NaN where one side is missing."""
    order = np.argsort(value, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(value[order]) != 0))  # of each run of equal values
    is_positive = positive[order]
    found = []
    for weights in draws.weights():
        ranked = weights[:, order]
        up = np.add.reduceat(ranked * is_positive, starts, axis=1)
        down = np.add.reduceat(ranked * ~is_positive, starts, axis=1)
        lower = np.cumsum(down, axis=1) - 0.5 * down
        pairs = up.sum(1) * down.sum(1)
        wins = (up * lower).sum(1)
        found.append(np.where(pairs > 0, wins / np.where(pairs > 0, pairs, 1), np.nan))
    return np.concatenate(found)


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    """(R,) mean of the numbers of each row, NaN where there is none."""
    known = np.isfinite(values)
    count = known.sum(1)
    total = np.where(known, values, 0).sum(1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
