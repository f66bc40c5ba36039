"""Baselines of forecasting. All are fitted to the training part and choose on the validation part, horizon by horizon.

Mean, last value, linear and stimulus-conditioned mean are those of ZAPBench (Lueckmann et al. 2025, arXiv:2503.02618);
forms that forecast the change from the last value are the NLinear of Zeng et al. 2023 (AAAI, "Are transformers
effective for time series forecasting?"). Where a recording drifts they are much stronger than levels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

import numpy as np

from neuroformer.errors import UserError
from neuroformer.forecasting.problem import Forecast, Problem
from neuroformer.forecasting.regression import absolute_error, ridge_path, squared_error, unit_ridge
from neuroformer.forecasting.series import Rows, Series

LAGS = (1, 2, 4, 8, 16)
PENALTIES = (1e-4, 1e-2, 1e-1, 1.0)
POPULATION_PENALTIES = (1e-2, 1e-1, 1.0, 10.0, 100.0)
_MOST_UNITS = 200
"""Above, the population is taken by as many principal components."""

Form = Literal["level", "change"]
FORMS: tuple[Form, ...] = ("level", "change")


def mean(problem: Problem) -> Forecast:
    """Each unit's mean over the training part."""
    return Forecast(np.zeros(problem.truth.shape))


def last(problem: Problem) -> Forecast:
    """The value at the origin."""
    now = problem.series.last(problem.origins)
    return Forecast(np.broadcast_to(now[:, None], problem.truth.shape).copy())


def decay(problem: Problem) -> Forecast:
    """Exponential return to the mean: x(t + h) = φʰ x(t), one φ per unit by least squares one bin ahead."""
    series, rows = problem.series, problem.train[problem.series.reach(problem.train, 1)]
    x, y = series.last(rows), series.targets(rows, 1)
    phi = np.clip(np.nan_to_num((x * y).sum(0) / np.maximum((x * x).sum(0), 1e-12)), 0, 1)
    powers = phi ** np.arange(1, problem.horizon + 1)[:, None]
    return Forecast(series.last(problem.origins)[:, None] * powers)


def autoregression(problem: Problem) -> Forecast:
    """Each unit from its own last values, direct for each horizon; lags, ridge and form are chosen."""
    series = problem.series
    features = {
        (form, lags): _Three(problem, partial(own_lags, series, form=form, lags=lags))
        for form in FORMS
        for lags in LAGS
    }

    def candidates(h: int, fit: np.ndarray, y: np.ndarray) -> Iterator[tuple[dict, Callable]]:
        for (form, lags), three in features.items():
            at = 0.0 if form == "level" else 1.0
            target = y - at * now.train[fit]
            offset = target.mean(0) if form == "level" else np.zeros(series.n_units)
            x = three.train[fit]
            centre = x.mean(0) if form == "level" else np.zeros(x.shape[1:])
            for penalty in PENALTIES:
                weights = unit_ridge(x - centre, target - offset, penalty)
                yield (
                    {"form": form, "lags": lags, "penalty": penalty},
                    _own(three, now, weights, centre, offset, at),
                )

    now = _Three(problem, series.last)
    return _chosen(problem, candidates)


def own_lags(series: Series, rows: Rows, form: Form, lags: int) -> np.ndarray:
    """(R, N, lags) last values, or how far the last value lies from those before it."""
    now = series.last(rows)
    if form == "level":
        return np.stack([series.last(rows, back) for back in range(lags)], 2)
    return np.stack([now - series.last(rows, back + 1) for back in range(lags)], 2)


def _own(
    three: _Three, now: _Three, weights: np.ndarray, centre: np.ndarray, offset: np.ndarray, at: float
) -> Callable[[str, np.ndarray], np.ndarray]:
    def forecast(part: str, rows: np.ndarray) -> np.ndarray:
        x = getattr(three, part)[rows] - centre
        found: np.ndarray = np.einsum("rnk,nk->rn", x, weights) + offset + at * getattr(now, part)[rows]
        return found

    return forecast


def linear(problem: Problem) -> Forecast:
    """Every unit from the last values of all, direct for each horizon; lags, ridge and form are chosen."""
    series = problem.series
    components = _components(problem)
    now = _Three(problem, series.last)

    def population(rows: Rows, form: Form, lags: int) -> np.ndarray:
        found = own_lags(series, rows, form, lags).transpose(0, 2, 1) @ components
        return found.reshape(len(rows), -1)

    features = {
        (form, lags): _Three(problem, partial(population, form=form, lags=lags))
        for form in FORMS
        for lags in (1, 4)
    }

    def candidates(h: int, fit: np.ndarray, y: np.ndarray) -> Iterator[tuple[dict, Callable]]:
        for (form, lags), three in features.items():
            at = 0.0 if form == "level" else 1.0
            target = y - at * now.train[fit]
            x = three.train[fit]
            centre = x.mean(0) if form == "level" else np.zeros(x.shape[1])
            offset = target.mean(0) if form == "level" else np.zeros(series.n_units)
            size = float(((x - centre) ** 2).sum()) / x.shape[1]
            path = ridge_path(x - centre, target - offset, size * np.array(POPULATION_PENALTIES))
            for penalty, weights in zip(POPULATION_PENALTIES, path, strict=True):

                def forecast(
                    part: str,
                    rows: np.ndarray,
                    three: _Three = three,
                    weights: np.ndarray = weights,
                    centre: np.ndarray = centre,
                    offset: np.ndarray = offset,
                    at: float = at,
                ) -> np.ndarray:
                    found: np.ndarray = (getattr(three, part)[rows] - centre) @ weights + offset
                    return found + at * getattr(now, part)[rows]

                yield {"form": form, "lags": lags, "penalty": penalty}, forecast

    return _chosen(problem, candidates)


def _components(problem: Problem) -> np.ndarray:
    """(N, P) of the population: the units themselves, or principal components of the training part."""
    n_units = problem.series.n_units
    if n_units <= _MOST_UNITS:
        return np.eye(n_units)
    x = problem.series.last(problem.train)
    _, vectors = np.linalg.eigh(x.T @ x)
    return vectors[:, -_MOST_UNITS:]


class _Three:
    """Features of the training rows, the validation rows and the origins."""

    def __init__(self, problem: Problem, make: Callable[[Rows], np.ndarray]) -> None:
        self.train, self.val, self.origins = (
            make(rows) for rows in (problem.train, problem.val, problem.origins)
        )


def _chosen(problem: Problem, candidates: Callable[..., Iterator[tuple[dict, Callable]]]) -> Forecast:
    """For each horizon the candidate with the least error on the validation part: absolute of traces, else squared."""
    series, every = problem.series, np.arange(len(problem.origins))
    error = absolute_error if series.kind == "traces" else squared_error
    values, chosen = np.empty((len(every), problem.horizon, series.n_units)), []
    for h in range(1, problem.horizon + 1):
        fit, check = series.reach(problem.train, h), series.reach(problem.val, h)
        target = series.targets(problem.val[check], h)
        best, kept = np.inf, None
        for settings, forecast in candidates(h, fit, np.nan_to_num(series.targets(problem.train[fit], h))):
            found = error(forecast("val", check), target)
            if found < best:
                best, kept = found, (settings, forecast)
        assert kept is not None
        chosen.append(kept[0])
        values[:, h - 1] = kept[1]("origins", every)
    return Forecast(values, {"by_horizon": chosen})


def conditioned_mean(problem: Problem, condition: str) -> Forecast:
    """Mean of the training part under the condition of the bin that is forecast; where there is none, the mean.

    Args:
        problem: of a session that has the condition.
        condition: `trials`, for time since a trial's start, or a categorical stimulus.
    """
    series = problem.series
    labels = [_labels(series, epoch, condition) for epoch in range(len(series.values))]
    count = max(int(found.max(initial=-1)) for found in labels) + 1
    sums, seen = np.zeros((count, series.n_units)), np.zeros((count, series.n_units))
    for span in series.recording.part("train"):
        bins = slice(span.start, span.stop)
        label, known = labels[span.epoch][bins], series.known[span.epoch][bins]
        np.add.at(sums, label[label >= 0], np.where(known, series.values[span.epoch][bins], 0)[label >= 0])
        np.add.at(seen, label[label >= 0], known[label >= 0])
    means = np.concatenate([sums / np.maximum(seen, 1), np.zeros((1, series.n_units))])  # −1: no condition
    values = np.empty(problem.truth.shape)
    for epoch, label in enumerate(labels):
        here = np.flatnonzero(problem.origins.epoch == epoch)
        at = problem.origins.at[here, None] + np.arange(1, problem.horizon + 1)
        values[here] = means[label[at]]
    return Forecast(values)


def _labels(series: Series, number: int, condition: str) -> np.ndarray:
    """(T,) condition of each bin of an epoch, −1 for none."""
    recording = series.recording
    epoch = recording.epochs[number]
    middle = np.asarray(epoch.time_of(np.arange(epoch.n_bins) + 0.5))
    found = np.full(epoch.n_bins, -1)
    if condition == "trials":
        trials = recording.session.trials
        for start, stop in zip(trials["start"], trials["stop"], strict=True):
            inside = (middle >= start) & (middle < stop)
            found[inside] = ((middle[inside] - start) / epoch.bin_s).astype(int)
        return found
    shown = recording.session.stimulus(condition, -np.inf, np.inf)
    if shown.kind != "categorical":
        raise UserError(
            f"{recording.session.path}: condition={condition}: the stimulus is {shown.kind}, expected a categorical one"
        )
    at = np.searchsorted(shown.timestamps, middle, side="right") - 1
    found[at >= 0] = shown.values.reshape(len(shown.values), -1)[at[at >= 0], 0].astype(int)
    return found
