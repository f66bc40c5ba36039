"""The direct head: expected activity at every horizon, linear in averages of the past, with learned shrinkage.

    x̂_j(t + h) = x_j(t) + s_h [Σ_k w_jk (x_j(t) − a_jk(t)) + Σ_i B_ij (x_i(t) − ā_i(t))]        traces
    x̂_j(t + h) = m_j + s_h [Σ_k w_jk (a_jk(t) − m_j) + Σ_i B_ij (ā_i(t) − m_i)]                 counts, a_j0 = x_j(t)

a_jk are exponential averages of a unit's past with time constants from a bin or so to minutes, ā_i one of a middle time
constant. Traces are forecast as the change from the last value, by deviations from recent levels alone: the level
itself drifts, and what was learned about it in the training part is wrong in the test part.

The weights of own past are w_j ~ N(μ_h, Σ_h), with μ_h and Σ_h learned by expectation-maximisation over all units
of all sessions (empirical Bayes; Dempster, Laird & Rubin 1977): units with little to say are forecast as units are
on average. Errors of traces have Student's t distribution (Lange et al. 1989, J. Am. Stat. Assoc. 84:881), and as
errors h bins ahead overlap in time, R rows say about as much as 2 R / (h + 1) independent ones: likelihoods have
that exponent. B is a ridge regression of what own past leaves. Its penalty (none of it is a choice too), the share
s_h of the correction, and (traces) whether deviations count beyond three standard deviations of the training part
are chosen by the error over the validation parts of all sessions together. Nothing is fitted by gradient.

Legend: R rows, N units, K own features, H horizons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuroformer.errors import UserError
from neuroformer.files import atomic_path
from neuroformer.forecasting.problem import Forecast, Problem
from neuroformer.forecasting.regression import absolute_error, ridge_path, squared_error
from neuroformer.forecasting.series import Kind, Rows, Series
from neuroformer.settings.forecast import DirectHeadConfig

_TINY = 1e-6
_FREEDOM = 4.0
"""Degrees of freedom of the errors."""
_REWEIGHTED = 2
LIMITS = (3.0, np.inf)
"""Standard deviations of the training part up to which deviations count."""
SHARES = (0.5, 0.75, 1.0)


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
        share: (H,) of the correction.
        limit: (H,) standard deviations up to which deviations count.
    """

    kind: Kind
    bin_s: float
    constants_s: np.ndarray
    population_s: float
    mean: np.ndarray
    covariance: np.ndarray
    strength: np.ndarray
    share: np.ndarray
    limit: np.ndarray

    def save(self, path: Path) -> None:
        """Write as .npz, atomically."""
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            arrays: dict[str, Any] = {name: np.asarray(value) for name, value in vars(self).items()}
            np.savez(file, **arrays)

    @classmethod
    def load(cls, path: str | Path, *, kind: Kind, bin_s: float, horizon: int) -> DirectPrior:
        """Read what `save` wrote.

        Raises:
            UserError: it is no such file, or was learned on something else.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                found = {name: file[name] for name in cls.__dataclass_fields__}
        except (OSError, KeyError, ValueError, EOFError) as error:
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
                f"{path}: learned on {prior.kind} in bins of {prior.bin_s:g} s up to {len(prior.mean)} bins ahead, "
                f"asked for {kind} in bins of {bin_s:g} s up to {horizon}; use the same target and bin_s, and a "
                "horizon that is no longer"
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
    values = [np.empty(p.truth.shape) for p in problems]
    designs = {
        limit: [_Design(p, constants / bin_s, population_s / bin_s, limit) for p in problems]
        for limit in _limits(first.series.kind, prior, first.horizon)
    }
    learned: dict[str, list] = {name: [] for name in ("mean", "covariance", "strength", "share", "limit")}
    for h in range(1, first.horizon + 1):
        given = None if prior is None else _given(prior, h)
        heads = [
            (limit, _fit_head([design.at(h) for design in found], config, given))
            for limit, found in designs.items()
            if given is None or limit == given.limit
        ]
        limit, head = min(heads, key=lambda pair: pair[1].error)
        for design, found, weights, coupling in zip(
            designs[limit], values, head.own, head.couplings, strict=True
        ):
            found[:, h - 1] = _forecast(design.origins, weights, coupling, head.share)
        for name in ("mean", "covariance", "strength", "share"):
            learned[name].append(getattr(head, name))
        learned["limit"].append(limit)
    used = DirectPrior(
        kind=first.series.kind,
        bin_s=bin_s,
        constants_s=constants,
        population_s=population_s,
        **{name: np.array(value) for name, value in learned.items()},
    )
    chosen = {
        name: [None if np.isinf(value) else float(value) for value in getattr(used, name)]
        for name in ("strength", "share", "limit")
    }
    return [Forecast(found, chosen) for found in values], used


def _limits(kind: Kind, prior: DirectPrior | None, horizon: int) -> Sequence[float]:
    """Limits of deviations to choose from; counts have none."""
    if prior is not None:
        return [float(limit) for limit in np.unique(prior.limit[:horizon])]
    return LIMITS if kind == "traces" else (np.inf,)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Given:
    """A prior one horizon ahead."""

    mean: np.ndarray
    covariance: np.ndarray
    strength: float
    share: float
    limit: float


def _given(prior: DirectPrior, h: int) -> _Given:
    return _Given(
        mean=prior.mean[h - 1],
        covariance=prior.covariance[h - 1],
        strength=float(prior.strength[h - 1]),
        share=float(prior.share[h - 1]),
        limit=float(prior.limit[h - 1]),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Head:
    """Heads of all sessions one horizon ahead, and their mean error over the validation parts."""

    mean: np.ndarray
    covariance: np.ndarray
    strength: float
    share: float
    own: list[np.ndarray]
    couplings: list[np.ndarray | None]
    error: float


def _fit_head(fits: Sequence[_Fit], config: DirectHeadConfig, given: _Given | None) -> _Head:
    weight: list[np.ndarray | None] = [None] * len(fits)
    # A rare event is no error of measurement: rows of counts all weigh the same.
    for _ in range((_REWEIGHTED if fits[0].kind == "traces" else 0) + 1):
        sums = [fit.sums(rows) for fit, rows in zip(fits, weight, strict=True)]
        if given is None:
            mean, covariance = learn_prior(sums, rounds=config.rounds)
        else:
            mean, covariance = given.mean, given.covariance
        own = [shrunk_weights(one, mean, covariance, rounds=config.rounds) for one in sums]
        weight = [fit.weigh(weights, rows) for fit, weights, rows in zip(fits, own, weight, strict=True)]
    strengths = [*config.strengths, np.inf] if given is None else [given.strength]
    shares = SHARES if given is None else (given.share,)
    errors = np.zeros((len(strengths), len(shares)))
    paths = []
    for fit, weights in zip(fits, own, strict=True):
        paths.append(_couplings(fit, weights, strengths))
        measure = absolute_error if fit.kind == "traces" else squared_error
        for i, coupling in enumerate(paths[-1]):
            whole = _forecast(fit.val, weights, coupling, 1.0) - fit.val.anchor
            for k, share in enumerate(shares):
                errors[i, k] += measure(fit.val.anchor + share * whole, fit.val_target) / len(fits)
    i, k = divmod(int(errors.argmin()), len(shares))
    return _Head(
        mean=mean, covariance=covariance, strength=strengths[i], share=shares[k], own=own,
        couplings=[path[i] for path in paths], error=float(errors[i, k]),
    )  # fmt: skip


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
    h: int
    train: _Part
    target: np.ndarray
    val: _Part
    val_target: np.ndarray

    def sums(self, rows: np.ndarray | None) -> Sums:
        """Under (R, N) weights of the rows."""
        exponent = 2 / (self.h + 1)
        units = self.train.own.transpose(1, 2, 0)  # (N, K, R)
        target = self.target.T
        weight = np.ones(target.shape) if rows is None else rows.T
        heavy = exponent * units * weight[:, None]
        return Sums(
            gram=heavy @ units.transpose(0, 2, 1),
            cross=(heavy @ target[..., None])[..., 0],
            square=exponent * (weight * target**2).sum(1),
            n=exponent * target.shape[1],
        )

    def weigh(self, weights: np.ndarray, rows: np.ndarray | None) -> np.ndarray:
        """(R, N) weights of the rows under Student's t errors: large ones count less (EM of Lange et al. 1989)."""
        error = (self.target - np.einsum("rnk,nk->rn", self.train.own, weights)) ** 2
        spread = ((1.0 if rows is None else rows) * error).mean(0)
        found: np.ndarray = (_FREEDOM + 1) / (_FREEDOM + error / np.maximum(spread, _TINY))
        return found


class _Design:
    """Features of a session; constants in bins."""

    def __init__(self, problem: Problem, constants: np.ndarray, population: float, limit: float) -> None:
        self.problem = problem
        series = problem.series
        parts = [
            _features(series, rows, constants, population)
            for rows in (problem.train, problem.val, problem.origins)
        ]
        if np.isfinite(limit):
            own, others = (limit * np.sqrt((x**2).mean(0)) for x in (parts[0].own, parts[0].population))
            parts = [
                _Part(
                    own=np.clip(part.own, -own, own),
                    population=np.clip(part.population, -others, others),
                    anchor=part.anchor,
                )
                for part in parts
            ]
        self.train, self.val, self.origins = parts

    def at(self, h: int) -> _Fit:
        series, problem = self.problem.series, self.problem
        fit, check = series.reach(problem.train, h), series.reach(problem.val, h)
        train, val = self.train[fit], self.val[check]
        target = np.nan_to_num(series.targets(problem.train[fit], h) - train.anchor)
        return _Fit(
            kind=series.kind,
            h=h,
            train=train,
            target=target,
            val=val,
            val_target=series.targets(problem.val[check], h),
        )


def _features(series: Series, rows: Rows, constants: np.ndarray, population: float) -> _Part:
    now = series.last(rows)
    averages = series.averages(rows, [*constants, population])
    own, level = averages[..., :-1], averages[..., -1]
    if series.kind == "traces":
        return _Part(own=now[..., None] - own, population=now - level, anchor=now)
    return _Part(own=np.concatenate([now[..., None], own], 2), population=level, anchor=np.zeros(now.shape))


def _couplings(fit: _Fit, own: np.ndarray, strengths: Sequence[float]) -> list[np.ndarray | None]:
    """(N, N) weights of the population part for each penalty, those of an infinite one left out."""
    left = fit.target - np.einsum("rnk,nk->rn", fit.train.own, own)
    x = fit.train.population
    penalties = np.array([s for s in strengths if np.isfinite(s)]) * max(float((x**2).sum()), _TINY)
    path = iter(ridge_path(x, left, penalties)) if len(penalties) else iter(())
    return [next(path) if np.isfinite(s) else None for s in strengths]


def _forecast(part: _Part, own: np.ndarray, coupling: np.ndarray | None, share: float) -> np.ndarray:
    """(R, N)."""
    found: np.ndarray = np.einsum("rnk,nk->rn", part.own, own)
    if coupling is not None:
        found = found + part.population @ coupling
    return part.anchor + share * found
