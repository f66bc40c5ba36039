"""Scores of what methods say of a variable, bin by bin and trial by trial.

Legend: T bins of a stretch, n scored samples, D dimensions, K labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from neuroformer.baselines.decoding import Target
from neuroformer.decoding.arrays import Truth
from neuroformer.decoding.methods import Estimate, Inverter, grid_estimate
from neuroformer.decoding.predict import Stretch
from neuroformer.errors import UserError
from neuroformer.evaluation.behavior_scores import (
    INTERVAL_LEVEL,
    categorical_scores,
    circular_scores,
    continuous_scores,
)
from neuroformer.evaluation.block_draws import BlockDraws, Score
from neuroformer.evaluation.calibration import calibrate_spread

HALF_WIDTH = float(ndtri((1 + INTERVAL_LEVEL) / 2))
"""Of an 80 % interval, in standard deviations."""
LEAST_TO_CALIBRATE = 20
"""Labelled bins of the validation part."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """What one method says where the truth is known.

    Attributes:
        truth: (n, D) or (n,).
        mean: (n, D), or None of a categorical variable.
        spread: (n, D) as the method gives it, or None.
        factor: (D,) that calibrates the spread, or None.
        probability: (n, K) of a categorical variable.
    """

    truth: np.ndarray
    mean: np.ndarray | None = None
    spread: np.ndarray | None = None
    factor: np.ndarray | None = None
    probability: np.ndarray | None = None


def known_samples(truth: Truth, estimate: Estimate, factor: np.ndarray | None = None) -> Samples:
    """The labelled bins of a part."""
    values, known = truth.flat()

    def there(arrays: Sequence[np.ndarray] | None) -> np.ndarray | None:
        return None if arrays is None else np.concatenate(list(arrays))[known]

    return Samples(
        truth=values[known],
        mean=there(estimate.mean),
        spread=there(estimate.spread),
        factor=factor,
        probability=there(estimate.probability),
    )


def joined(parts: Sequence[Samples]) -> Samples:
    """Samples of several sessions, each with its own factor."""
    first = parts[0]
    spread = None
    if first.spread is not None:
        spread = np.concatenate([part.spread for part in parts if part.spread is not None])
    factor = None
    if any(part.factor is not None for part in parts):
        rows = [np.broadcast_to(1.0 if p.factor is None else p.factor, p.truth.shape) for p in parts]
        factor = np.concatenate(rows)
    return Samples(
        truth=np.concatenate([part.truth for part in parts]),
        mean=None if first.mean is None else np.concatenate([p.mean for p in parts if p.mean is not None]),
        spread=spread,
        factor=factor,
        probability=None
        if first.probability is None
        else np.concatenate([p.probability for p in parts if p.probability is not None]),
    )


def score_samples(target: Target, samples: Samples, draws: BlockDraws) -> dict[str, Score]:
    """All scores of a method.

    Returns:
        As `continuous_scores`, `circular_scores` or `categorical_scores`, of calibrated spreads where there is a
        factor; then `coverage_uncalibrated` and `width_uncalibrated` as well.
    """
    if samples.probability is not None:
        return categorical_scores(samples.truth, samples.probability, draws)
    assert samples.mean is not None
    raw = None if samples.spread is None else np.maximum(samples.spread, 1e-9)
    calibrated = raw if raw is None or samples.factor is None else raw * samples.factor
    found = _continuous(target, samples.truth, samples.mean, calibrated, draws)
    if samples.factor is not None and raw is not None:
        before = _continuous(target, samples.truth, samples.mean, raw, draws)
        found |= {f"{name}_uncalibrated": before[name] for name in ("coverage", "width")}
    return found


def _continuous(
    target: Target, truth: np.ndarray, mean: np.ndarray, spread: np.ndarray | None, draws: BlockDraws
) -> dict[str, Score]:
    if target.period is not None:
        return circular_scores(truth, mean, draws, period=target.period, spread=spread)
    return continuous_scores(truth, mean, draws, spread=spread)


def spread_factor(target: Target, truth: Truth, estimate: Estimate) -> np.ndarray | None:
    """(D,) factors from labelled bins of validation; None where there are too few or nothing to calibrate."""
    if estimate.mean is None or estimate.spread is None or truth.n_known < LEAST_TO_CALIBRATE:
        return None
    samples = known_samples(truth, estimate)
    assert samples.mean is not None
    assert samples.spread is not None
    try:
        return calibrate_spread(
            samples.truth,
            samples.mean,
            np.maximum(samples.spread, 1e-9),
            level=INTERVAL_LEVEL,
            period=target.period,
            name=target.name,
        )
    except UserError:  # a spread that is not finite: it is scored as it is, and fails there
        return None


@dataclass(frozen=True, kw_only=True, eq=False)
class Trials:
    """Trials of a part whose value is known.

    Attributes:
        stretch: (n,) stretch of each trial.
        bins: labelled bins of each trial in its stretch.
        truth: (n, D) or (n,) value of each.
    """

    stretch: list[int]
    bins: list[np.ndarray]
    truth: np.ndarray

    def __len__(self) -> int:
        """Number of trials n."""
        return len(self.bins)


def find_trials(truth: Truth, trials: Sequence[np.ndarray]) -> Trials:
    """Trials with a labelled bin.

    Args:
        truth: of a variable that holds for a trial.
        trials: (T,) number of the trial of each bin, −1 outside.
    """
    stretch, bins, values = [], [], []
    for k, (number, known, value) in enumerate(zip(trials, truth.known, truth.values, strict=True)):
        for one in np.unique(number[(number >= 0) & known]):
            at = np.flatnonzero((number == one) & known)
            stretch.append(k)
            bins.append(at)
            values.append(value[at[0]])
    return Trials(stretch=stretch, bins=bins, truth=np.array(values))


def pooled_trials(target: Target, estimate: Estimate, trials: Trials) -> Samples:
    """One decision per trial from what a method says of its bins.

    Probabilities of bins are pooled by the mean of their logarithms: the label is that of their product, which would be
    overconfident, as bins share events. Values are averaged, angles by direction.
    """
    pairs = list(zip(trials.stretch, trials.bins, strict=True))
    if estimate.probability is not None:
        logs = np.stack([np.log(np.maximum(estimate.probability[k][at], 1e-12)).mean(0) for k, at in pairs])
        weight = np.exp(logs - logs.max(1, keepdims=True))
        return Samples(truth=trials.truth, probability=weight / weight.sum(1, keepdims=True))
    assert estimate.mean is not None
    means = [target.decode(target.encode(estimate.mean[k][at]).mean(0, keepdims=True))[0] for k, at in pairs]
    return Samples(truth=trials.truth, mean=np.stack(means))


def inverted_trials(
    name: str, inverter: Inverter, stretches: Sequence[Stretch], trials: Trials, *, weight: float = 0.0
) -> Samples:
    """One decision per trial from the posterior over the whole trial."""
    found = np.stack(
        [
            inverter.of_trial(stretches[k], at, weight=weight)
            for k, at in zip(trials.stretch, trials.bins, strict=True)
        ]
    )
    estimate = grid_estimate(inverter.grid, name, [found])
    return Samples(
        truth=trials.truth,
        mean=None if estimate.mean is None else estimate.mean[0],
        probability=None if estimate.probability is None else estimate.probability[0],
    )


def headline(target: Target) -> str:
    """The score that methods are compared by."""
    return "balanced_accuracy" if target.kind == "categorical" else "mean_error"


def more_is_better(score: str) -> bool:
    """Whether a larger value of a headline is better."""
    return score != "mean_error"


def plain_scores(scores: Mapping[str, Score]) -> dict[str, dict[str, object]]:
    """Values and intervals, for metrics.json."""
    return {name: {"value": s.value, "interval": s.interval} for name, s in scores.items()}
