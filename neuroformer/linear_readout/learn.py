"""A readout learned on several animals: settings chosen, and spreads calibrated, by leaving each animal out in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, ndtri

from neuroformer.linear_readout.hierarchy import Hierarchy, learn_hierarchy
from neuroformer.linear_readout.posterior import Fitted, Spoken
from neuroformer.linear_readout.prior import ReadoutPrior
from neuroformer.linear_readout.rows import Rows, Sums

EVIDENCE = (1.0, 0.5, 0.25, 0.1, 0.05)
"""Exponents of the likelihood that are tried."""
AMOUNTS = (0.0, 0.125, 0.625)
"""Parts of a left-out animal's labels that it is fitted to: none, few, many."""
SCORED = 0.75
"""It is scored on its labels after this part."""
LEVEL = 0.8
"""Of the intervals that are calibrated."""
_WORST = 2.0
"""Squared errors count, in units of the variance, as no more than this, so that no animal decides alone."""
_SLOPES = np.exp(np.linspace(np.log(0.3), np.log(10), 30))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Held:
    """An animal left out: a prior from the others, and what some of its labels say.

    Attributes:
        prior: from the others.
        spoken: what its labels say, for each of `AMOUNTS`.
        features: (n, N, K) of the labels that it is scored on.
        truth: (n,) these.
    """

    prior: ReadoutPrior
    spoken: list[Spoken]
    features: np.ndarray
    truth: np.ndarray

    @classmethod
    def of(cls, rows: Rows, prior: ReadoutPrior) -> _Held:
        """Cut its labels."""
        spoken = [Spoken(rows.cut(0, int(amount * len(rows))), prior) for amount in AMOUNTS]
        held = rows.cut(int(SCORED * len(rows)), len(rows))
        return cls(prior=prior, spoken=spoken, features=held.features, truth=held.y)

    def tell(self, like: ReadoutPrior | None = None) -> list[_Told]:
        """Fit and predict, with sizes and exponent as those of another prior."""
        prior = self.prior
        if like is not None:
            prior = replace(prior, size=like.size, noise=like.noise, evidence=like.evidence)
        found = []
        for amount, spoken in zip(AMOUNTS, self.spoken, strict=True):
            fitted = spoken.fit(prior)
            mean, spread = fitted.predict(self.features)
            found.append(_Told(amount=amount, fitted=fitted, truth=self.truth, mean=mean, spread=spread))
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class _Told:
    """What an animal left out was told from some of its labels."""

    amount: float
    fitted: Fitted
    truth: np.ndarray
    mean: np.ndarray
    spread: np.ndarray

    @property
    def loss(self) -> float:
        """Squared error in units of the variance."""
        variance = max(float(self.truth.var()), 1e-12)
        return min(float(((self.truth - self.mean) ** 2).mean()) / variance, _WORST)


def _loss(told: Sequence[_Told]) -> float:
    return float(np.mean([one.loss for one in told]))


def learn_readout(
    animals: Sequence[Rows],
    *,
    functions: int,
    rounds: int = 7,
    correlations: Sequence[float] = (0.0,),
    classes: bool = False,
) -> ReadoutPrior:
    """The prior that labels of several animals give for those of another.

    Args:
        animals: labels of each, in the number's unit.
        functions: features per unit K.
        rounds: of expectation-maximisation.
        correlations: of the errors of neighbouring bins, to choose from.
        classes: whether the number stands for a class (−1 or 1), which has no scale of its own and gets a slope.
    """
    means = np.array([rows.y.mean() for rows in animals])
    spreads = np.array([max(float(rows.y.std()), 1e-9) for rows in animals])
    centre, scale = (0.0, 1.0) if classes else (float(means.mean()), float(np.sqrt((spreads**2).mean())))
    best: tuple[float, ReadoutPrior, list[_Held]] | None = None
    hierarchy: Hierarchy | None = None
    middle = correlations[len(correlations) // 2]
    # First the scale, under one correlation, then the correlation, under that scale.
    choices = [(own, middle) for own in ((False,) if classes else (True, False))]
    choices += [(None, rho) for rho in correlations if rho != middle]  # type: ignore[misc]
    for own, rho in choices:
        if own is None:
            assert best is not None
            own = best[1].own_scale
        scaled = [
            rows.scaled(m, s) if own else rows.scaled(centre, scale)
            for rows, m, s in zip(animals, means, spreads, strict=True)
        ]
        sums = [Sums.of(rows, rho) for rows in scaled]
        # Settings differ little from one choice to the next, which starts from where that before it ended.
        again = rounds if hierarchy is None else max(1, rounds // 3)
        hierarchy = learn_hierarchy(sums, functions=functions, rounds=again, start=hierarchy)
        about = {"own_scale": own, "centre": centre, "scale": scale}
        left_out = _leave_out(hierarchy, animals, rho=rho, **about)  # type: ignore[arg-type]
        loss = _loss([told for held in left_out for told in held.tell()])
        if best is None or loss < best[0]:
            best = loss, replace(hierarchy.prior(rho=rho), **about), left_out  # type: ignore[arg-type]
    assert best is not None
    _, prior, left_out = best
    return _calibrated(prior, left_out, classes=classes)


def _leave_out(
    hierarchy: Hierarchy,
    animals: Sequence[Rows],
    *,
    rho: float,
    own_scale: bool,
    centre: float,
    scale: float,
) -> list[_Held]:
    found = []
    for a, rows in enumerate(animals):
        others = [i for i in range(len(animals)) if i != a] or [a]
        prior = replace(
            hierarchy.prior(rho=rho, without=a),
            own_scale=own_scale,
            # Its own labels must not tell the scale of an animal that is left out.
            centre=float(np.mean([animals[i].y.mean() for i in others])) if own_scale else centre,
            scale=float(np.sqrt(np.mean([animals[i].y.var() for i in others])) or 1.0)
            if own_scale
            else scale,
        )
        found.append(_Held.of(rows, prior))
    return found


def _calibrated(prior: ReadoutPrior, left_out: Sequence[_Held], *, classes: bool) -> ReadoutPrior:
    """With hyperpriors, exponent, spread and slope as the animals left out show them."""
    many = [told.fitted for held in left_out for told in held.tell() if told.amount == max(AMOUNTS)]
    sizes, noises = np.log([f.size for f in many]), np.log([f.noise for f in many])
    prior = replace(
        prior,
        size=(float(sizes.mean()), max(float(sizes.std()), 0.7)),
        noise=(float(noises.mean()), max(float(noises.std()), 0.5)),
    )
    tried = [
        (like, [told for held in left_out for told in held.tell(like)])
        for like in (replace(prior, evidence=exponent) for exponent in EVIDENCE)
    ]
    prior, told = min(tried, key=lambda pair: _loss(pair[1]))
    ratio = np.concatenate([np.abs(t.truth - t.mean) / np.maximum(t.spread, 1e-12) for t in told])
    slope = 0.0
    if classes:
        truth = np.concatenate([t.truth for t in told])
        mean = np.concatenate([t.mean for t in told])
        losses = [-np.log(np.maximum(expit(s * truth * mean), 1e-12)).mean() for s in _SLOPES]
        slope = float(_SLOPES[int(np.argmin(losses))])
    return replace(prior, factor=float(np.quantile(ratio, LEVEL) / ndtri((1 + LEVEL) / 2)), slope=slope)
