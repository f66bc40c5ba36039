"""The direct head: expected activity at every horizon, linear in averages of the past, with learned shrinkage.

    x̂_j(t + h) = x_j(t) + Σ_k w_jk (x_j(t) − a_k(t)) + Σ_i B_ij (x_i(t) − a_pop,i(t))        traces
    x̂_j(t + h) = m_j + Σ_k w_jk (a_k(t) − m_j) + Σ_i B_ij (a_pop,i(t) − m_i)                 counts, a_0 = x_j(t)

a_k are exponential averages of a unit's past with time constants from below a bin to minutes. Traces are forecast as
the change from the last value, by deviations from recent levels alone: the level itself drifts, and what was learned
about it in the training part is wrong in the test part. The weights of own past are w_j ~ N(μ_h, Σ_h), with μ_h and Σ_h
learned by expectation-maximisation over all units of all sessions (empirical Bayes; Dempster, Laird & Rubin 1977):
units with little to say forecast as units do on average. B is a ridge regression of what own past leaves, its penalty
chosen on the validation parts of all sessions together; none at all is a choice.

Errors h bins ahead overlap in time, so that R rows say about as much as 2 R / (h + 1) independent ones; likelihoods have
that exponent. Nothing is fitted by gradient.

Legend: R rows, N units, K own features, H horizons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neuroformer.errors import UserError
from neuroformer.files import atomic_path
from neuroformer.forecasting.problem import Forecast, Problem
from neuroformer.forecasting.regression import absolute_error, ridge_path, squared_error
from neuroformer.forecasting.series import Kind, Rows, Series
from neuroformer.settings.forecast import DirectHeadConfig

_TINY = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class DirectPrior:
    """What is shared by units and animals.

    Attributes:
        kind: traces or counts.
        bin_s: width of a bin, seconds.
        constants_s: (K',) time constants of own averages, seconds.
        population_s: of the population's.
        mean: (H, K) of the weights of own past.
        covariance: (H, K, K) of them.
        strength: (H,) ridge penalty of the population part; infinite: left out.
    """

    kind: Kind
    bin_s: float
    constants_s: np.ndarray
    population_s: float
    mean: np.ndarray
    covariance: np.ndarray
    strength: np.ndarray

    def save(self, path: Path) -> None:
        """Write as .npz, atomically."""
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **{name: np.asarray(value) for name, value in vars(self).items()})

    @classmethod
    def load(cls, path: str | Path, *, kind: Kind, bin_s: float, horizon: int) -> DirectPrior:
        """Read what `save` wrote.

        Raises:
            UserError: it is no such file, or was learned on something else.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                found = {name: file[name] for name in cls.__dataclass_fields__}
        except (OSError, KeyError, ValueError) as error:
            raise UserError(
                f"{path}: not the prior of a direct head; name the head.npz that neuroformer forecast wrote"
            ) from error
        prior = cls(
            **{
                **found,
                "kind": str(found["kind"]),
                "bin_s": float(found["bin_s"]),
                "population_s": float(found["population_s"]),
            }
        )
        if (prior.kind, len(prior.mean)) != (kind, max(horizon, len(prior.mean))) or abs(
            prior.bin_s - bin_s
        ) > 1e-9 * bin_s:
            raise UserError(
                f"{path}: learned on {prior.kind} in bins of {prior.bin_s:g} s up to {len(prior.mean)} bins ahead, asked "
                f"for {kind} in bins of {bin_s:g} s up to {horizon}; use the same target and bin_s, and no longer horizon"
            )
        return prior


def direct_forecasts(
    problems: Sequence[Problem], config: DirectHeadConfig, prior: DirectPrior | None = None
) -> tuple[list[Forecast], DirectPrior]:
    """Forecasts of every session by heads that share a prior.

    Args:
        problems: one for each session, of one kind, with bins and horizons alike.
        config: settings.
        prior: of other animals; by default learned on these sessions.
    """
    first = problems[0]
    bin_s = first.series.recording.bin_s
    constants = np.asarray(config.time_constants_s if prior is None else prior.constants_s, float)
    population_s = config.population_s if prior is None else prior.population_s
    designs = [_Design(p, constants / bin_s, population_s / bin_s) for p in problems]
    values = [np.empty(p.truth.shape) for p in problems]
    learned: dict[str, list] = {"mean": [], "covariance": [], "strength": []}
    for h in range(1, first.horizon + 1):
        fits = [design.at(h) for design in designs]
        if prior is None:
            mean, covariance = learn_prior([fit.sums for fit in fits], rounds=config.rounds)
        else:
            mean, covariance = prior.mean[h - 1], prior.covariance[h - 1]
        own = [shrunk_weights(fit.sums, mean, covariance, rounds=config.rounds) for fit in fits]
        strength, couplings = _population(
            fits, own, config.strengths if prior is None else [float(prior.strength[h - 1])]
        )
        for design, found, weights, coupling in zip(designs, values, own, couplings, strict=True):
            found[:, h - 1] = design.forecast(design.origins, weights, coupling)
        for name, value in (("mean", mean), ("covariance", covariance), ("strength", strength)):
            learned[name].append(value)
    used = DirectPrior(
        kind=first.series.kind,
        bin_s=bin_s,
        constants_s=constants,
        population_s=population_s,
        **{name: np.array(value) for name, value in learned.items()},
    )
    chosen = {"strength": [None if np.isinf(s) else float(s) for s in used.strength]}
    return [Forecast(found, chosen) for found in values], used


@dataclass(frozen=True, kw_only=True, eq=False)
class Sums:
    """What a session's own-past regressions need, one horizon ahead.

    Attributes:
        gram: (N, K, K).
        cross: (N, K).
        square: (N,).
        n: rows that count, after the exponent of the likelihood.
    """

    gram: np.ndarray
    cross: np.ndarray
    square: np.ndarray
    n: float


def learn_prior(sessions: Sequence[Sums], *, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean (K,) and covariance (K, K) of units' weights, by expectation-maximisation."""
    k = sessions[0].gram.shape[1]
    sums = [(s.gram, s.cross, s.square, np.full(len(s.square), s.n)) for s in sessions]
    gram, cross, square, n = (np.concatenate(parts) for parts in zip(*sums, strict=True))
    alive = square > 0  # a unit that never moves says nothing
    gram, cross, square, n = gram[alive], cross[alive], square[alive], n[alive]
    mean, covariance = np.zeros(k), np.eye(k) / k
    noise = square / n
    for _ in range(rounds if len(n) else 0):
        weights, spread = _posterior(gram, cross, noise, mean, covariance)
        mean = weights.mean(0)
        covariance = spread.mean(0) + (weights - mean).T @ (weights - mean) / len(weights) + _TINY * np.eye(k)
        noise = _noise(gram, cross, square, n, weights, spread)
    return mean, covariance


def shrunk_weights(sums: Sums, mean: np.ndarray, covariance: np.ndarray, *, rounds: int) -> np.ndarray:
    """(N, K) posterior mean of the weights; the variance of each unit's errors is learned, with the prior as given."""
    noise = np.maximum(sums.square / sums.n, _TINY)
    weights = np.tile(mean, (len(noise), 1))
    for _ in range(rounds):
        weights, spread = _posterior(sums.gram, sums.cross, noise, mean, covariance)
        noise = _noise(sums.gram, sums.cross, sums.square, np.full(len(noise), sums.n), weights, spread)
    return weights


def _posterior(
    gram: np.ndarray, cross: np.ndarray, noise: np.ndarray, mean: np.ndarray, covariance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(N, K) mean and (N, K, K) covariance."""
    precision = np.linalg.inv(covariance)
    spread = np.linalg.inv(gram / noise[:, None, None] + precision)
    pull = cross / noise[:, None] + precision @ mean
    return np.einsum("nkl,nl->nk", spread, pull), spread


def _noise(
    gram: np.ndarray, cross: np.ndarray, square: np.ndarray, n: np.ndarray, w: np.ndarray, spread: np.ndarray
) -> np.ndarray:
    error = square - 2 * (cross * w).sum(1) + np.einsum("nk,nkl,nl->n", w, gram, w)
    error += np.einsum("nkl,nlk->n", gram, spread)
    found: np.ndarray = np.maximum(error / n, _TINY)
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """Features of rows: own (R, N, K), of the population (R, N), and the anchor (R, N)."""

    own: np.ndarray
    population: np.ndarray
    anchor: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> _Part:
        return _Part(own=self.own[rows], population=self.population[rows], anchor=self.anchor[rows])


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fit:
    """One session, one horizon: what remains to be explained, of the training rows and the validation rows."""

    kind: Kind
    sums: Sums
    train: _Part
    target: np.ndarray
    val: _Part
    val_target: np.ndarray


class _Design:
    """Features of a session; constants in bins."""

    def __init__(self, problem: Problem, constants: np.ndarray, population: float) -> None:
        self.problem = problem
        series = problem.series
        self.train, self.val, self.origins = (
            _features(series, rows, constants, population)
            for rows in (problem.train, problem.val, problem.origins)
        )

    def at(self, h: int) -> _Fit:
        series, problem = self.problem.series, self.problem
        fit, check = series.reach(problem.train, h), series.reach(problem.val, h)
        train, val = self.train[fit], self.val[check]
        target = np.nan_to_num(series.targets(problem.train[fit], h) - train.anchor)
        exponent = 2 / (h + 1)
        units = train.own.transpose(1, 2, 0)  # (N, K, R)
        sums = Sums(
            gram=exponent * (units @ units.transpose(0, 2, 1)),
            cross=exponent * (units @ target.T[..., None])[..., 0],
            square=exponent * (target**2).sum(0),
            n=exponent * len(target),
        )
        return _Fit(
            kind=series.kind,
            sums=sums,
            train=train,
            target=target,
            val=val,
            val_target=series.targets(problem.val[check], h),
        )

    @staticmethod
    def forecast(part: _Part, weights: np.ndarray, coupling: np.ndarray | None) -> np.ndarray:
        """(R, N)."""
        found: np.ndarray = part.anchor + np.einsum("rnk,nk->rn", part.own, weights)
        return found if coupling is None else found + part.population @ coupling


def _features(series: Series, rows: Rows, constants: np.ndarray, population: float) -> _Part:
    now = series.last(rows)
    averages = series.averages(rows, [*constants, population])
    own, level = averages[..., :-1], averages[..., -1]
    if series.kind == "traces":
        return _Part(own=now[..., None] - own, population=now - level, anchor=now)
    return _Part(
        own=np.concatenate([now[..., None], own], 2), population=level, anchor=np.zeros(now.shape)
    )


def _population(
    fits: Sequence[_Fit], own: Sequence[np.ndarray], strengths: Sequence[float]
) -> tuple[float, list[np.ndarray | None]]:
    """The strength with the least error over the validation parts, and each session's (N, N) coupling under it."""
    finite = [s for s in strengths if np.isfinite(s)]
    fixed = len(strengths) == 1
    errors = np.zeros(len(finite) + 1)
    paths = []
    for fit, weights in zip(fits, own, strict=True):
        left = fit.target - np.einsum("rnk,nk->rn", fit.train.own, weights)
        x = fit.train.population
        path = ridge_path(x, left, np.maximum((x**2).sum(), _TINY) * np.array(finite)) if finite else []
        paths.append(path)
        error = absolute_error if fit.kind == "traces" else squared_error
        for k, coupling in enumerate([*path, None]):
            errors[k] += error(_Design.forecast(fit.val, weights, coupling), fit.val_target)
    best = 0 if fixed else int(errors.argmin())
    if best == len(finite):
        return np.inf, [None] * len(fits)
    return finite[best], [path[best] for path in paths]
