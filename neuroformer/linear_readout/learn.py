"""A readout learned on several animals: settings chosen, and spreads calibrated, by leaving each animal out in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, ndtri

from neuroformer.linear_readout.hierarchy import Hierarchy, learn_hierarchy
from neuroformer.linear_readout.posterior import Fitted, fit_weights
from neuroformer.linear_readout.prior import ReadoutPrior
from neuroformer.linear_readout.rows import Rows, Sums

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
class _Trial:
    """What an animal left out was told from some of its labels."""

    animal: int
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
    best: tuple[float, ReadoutPrior, list[_Trial]] | None = None
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
        trials = _leave_out(hierarchy, animals, rho=rho, **about)  # type: ignore[arg-type]
        loss = float(np.mean([trial.loss for trial in trials]))
        if best is None or loss < best[0]:
            best = loss, replace(hierarchy.prior(rho=rho), **about), trials  # type: ignore[arg-type]
    assert best is not None
    _, prior, trials = best
    return _calibrated(prior, trials, classes=classes)


def _leave_out(
    hierarchy: Hierarchy,
    animals: Sequence[Rows],
    *,
    rho: float,
    own_scale: bool,
    centre: float,
    scale: float,
) -> list[_Trial]:
    found = []
    for a, rows in enumerate(animals):
        others = [i for i in range(len(animals)) if i != a] or [a]
        prior = replace(
            hierarchy.prior(rho=rho, without=a),
            own_scale=own_scale,
            # Its own labels must not tell the scale of an animal that is left out.
            centre=float(np.mean([animals[i].y.mean() for i in others])) if own_scale else centre,
            scale=float(np.sqrt(np.mean([animals[i].y.var() for i in others])) or 1.0) if own_scale else scale,
        )
        held = rows.cut(int(SCORED * len(rows)), len(rows))
        for amount in AMOUNTS:
            fitted = fit_weights(rows.cut(0, int(amount * len(rows))), prior)
            mean, spread = fitted.predict(held.features)
            found.append(
                _Trial(animal=a, amount=amount, fitted=fitted, truth=held.y, mean=mean, spread=spread)
            )
    return found


def _calibrated(prior: ReadoutPrior, trials: Sequence[_Trial], *, classes: bool) -> ReadoutPrior:
    """With hyperpriors, spread and slope as the animals left out show them."""
    told = [trial.fitted for trial in trials if trial.amount == max(AMOUNTS)]
    sizes, noises = np.log([f.size for f in told]), np.log([f.noise for f in told])
    ratio = np.concatenate([np.abs(t.truth - t.mean) / np.maximum(t.spread, 1e-12) for t in trials])
    factor = float(np.quantile(ratio, LEVEL) / ndtri((1 + LEVEL) / 2))
    slope = 0.0
    if classes:
        truth = np.concatenate([t.truth for t in trials])
        mean = np.concatenate([t.mean for t in trials])
        losses = [-np.log(np.maximum(expit(s * truth * mean), 1e-12)).mean() for s in _SLOPES]
        slope = float(_SLOPES[int(np.argmin(losses))])
    return replace(
        prior,
        factor=factor,
        slope=slope,
        size=(float(sizes.mean()), max(float(sizes.std()), 0.7)),
        noise=(float(noises.mean()), max(float(noises.std()), 0.5)),
    )
