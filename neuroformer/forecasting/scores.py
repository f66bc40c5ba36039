"""Scores by horizon, with intervals by drawing blocks of origins with replacement.

Legend: O origins, H horizons, N units, D draws.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neuroformer.evaluation.block_draws import BlockDraws, Score
from neuroformer.forecasting.problem import Problem

FLOOR = 0.05
"""Forecasts of counts below this part of the unit's training rate are raised to it for bits per spike: a linear method
may forecast 0 or less, and one event there would cost without end."""
LOWER_IS_BETTER = ("mae", "mse")
METRICS = {"traces": ("mae", "mse", "correlation"), "counts": ("bits_per_spike", "mae", "correlation")}


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """Scores of one method for one session.

    Attributes:
        scores: per metric, a score for each of H horizons: `mae`, `mse`, `correlation` (median over units of Pearson's
            r over origins), `correlation_mean` (mean over units), `bits_per_spike` (counts alone).
    """

    scores: Mapping[str, list[Score]]


def origin_blocks(problem: Problem, block_s: float) -> np.ndarray:
    """(O,) block of each origin: pieces of `block_s` seconds; none goes on into another epoch or span."""
    rows = problem.origins
    bins = max(1, round(block_s / problem.series.recording.bin_s))
    new = np.concatenate([[True], (np.diff(rows.stop) != 0) | (np.diff(rows.epoch) != 0)])
    number = np.cumsum(new) - 1
    within = (rows.at - rows.at[new][number]) // bins
    _, found = np.unique(np.stack([number, within]), axis=1, return_inverse=True)
    return found.reshape(-1)


def score_forecast(
    problem: Problem, values: np.ndarray, draws: BlockDraws, *, standardize: bool = True
) -> Curve:
    """Score (O, H, N) standardised forecasts.

    Args:
        problem: with what happened.
        values: the forecasts.
        draws: over the origins.
        standardize: whether errors of traces are in standard deviations of the training part.
    """
    series = problem.series
    truth = problem.truth
    counts = series.kind == "counts"
    if counts or not standardize:
        values, truth = series.stored(values), series.stored(truth)
    scores: dict[str, list[Score]] = {name: [] for name in ("mae", "mse", "correlation", "correlation_mean")}
    if counts:
        scores["bits_per_spike"] = []
    for h in range(problem.horizon):
        y, f = truth[:, h], values[:, h]
        known = np.isfinite(y)
        error = np.where(known, f - np.nan_to_num(y), 0.0)
        sums = draws.sums(np.stack([np.abs(error).sum(1), (error**2).sum(1), known.sum(1)], 1))
        with np.errstate(invalid="ignore", divide="ignore"):
            scores["mae"].append(draws.score(sums[:, 0] / sums[:, 2]))
            scores["mse"].append(draws.score(sums[:, 1] / sums[:, 2]))
        per_unit = unit_correlation(f, y, draws)
        some = np.isfinite(per_unit).any(1)
        for name, reduce in (("correlation", np.nanmedian), ("correlation_mean", np.nanmean)):
            found = np.full(len(per_unit), np.nan)
            found[some] = reduce(per_unit[some], axis=1)
            scores[name].append(draws.score(found))
        if counts:
            scores["bits_per_spike"].append(bits(f, y, series.rate, draws))
    return Curve(scores=scores)


def unit_correlation(forecast: np.ndarray, truth: np.ndarray, draws: BlockDraws) -> np.ndarray:
    """(1 + D, N) Pearson's r of each unit over known origins; NaN where either does not vary.

    Args:
        forecast: (O, N).
        truth: (O, N), NaN where not known.
        draws: over the origins.
    """
    known = np.isfinite(truth)
    n = np.maximum(known.sum(0), 1)
    # Centred first, so that the sums of squares lose no digits.
    a = np.where(known, forecast - np.where(known, forecast, 0).sum(0) / n, 0.0)
    b = np.where(known, np.nan_to_num(truth) - np.where(known, truth, 0).sum(0) / n, 0.0)
    w, sa, sb, saa, sbb, sab = np.split(
        draws.sums(np.concatenate([known.astype(float), a, b, a * a, b * b, a * b], 1)), 6, axis=1
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        va, vb = saa - sa * sa / w, sbb - sb * sb / w
        floor = 1e-12 * (1 + np.abs(w))
        found: np.ndarray = np.where(
            (va > floor) & (vb > floor), (sab - sa * sb / w) / np.sqrt(va * vb), np.nan
        )
    return found


def bits(forecast: np.ndarray, counts: np.ndarray, rate: np.ndarray, draws: BlockDraws) -> Score:
    """Bits per spike over the training rate, pooled over units, of counts taken as Poisson given the forecast.

    Args:
        forecast: (O, N) expected counts.
        counts: (O, N).
        rate: (N,) events per bin in training, above 0.
        draws: over the origins.
    """
    expected = np.maximum(forecast, FLOOR * rate)
    gain = counts * np.log(expected / rate) - expected + rate
    sums = draws.sums(np.stack([gain.sum(1), counts.sum(1)], 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return draws.score(sums[:, 0] / (sums[:, 1] * math.log(2)))
