"""The weights of one animal given its labels and a prior: closed form, with the sizes of prior and noise chosen.

With prior N(μ, α Σ), whitened rows Φ and noise σ², and Σ = L Lᵀ, everything follows from the eigenvalues of Φ Σ Φᵀ, so
that all α and σ² are tried at the cost of one decomposition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, eigh

from neuroformer.linear_readout.noise import log_determinant, whiten
from neuroformer.linear_readout.prior import ReadoutPrior
from neuroformer.linear_readout.rows import Rows, with_intercept

_STEPS = np.linspace(-3, 3, 25)
"""Standard deviations of the hyperprior at which sizes are tried."""
_NEGLIGIBLE = 1e-10


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """A posterior over weights.

    Attributes:
        mean: (D,) of the weights, the intercept last, in units of `scale`.
        root: (D, D) L of the prior covariance α Σ = L Lᵀ.
        axes: (D, r) directions of Lᵀw that the labels speak of.
        shrink: (r,) part of the prior's variance that they take away.
        noise: variance of the errors.
        size: α.
        log_evidence: of the labels, hyperprior included.
        centre: of the number, in its unit.
        scale: likewise.
        factor: on the spread.
    """

    mean: np.ndarray
    root: np.ndarray
    axes: np.ndarray
    shrink: np.ndarray
    noise: float
    size: float
    log_evidence: float
    centre: float
    scale: float
    factor: float

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(T,) mean and spread (standard deviation) of the number, in its unit, for features (T, N, K)."""
        rows = with_intercept(features)
        along = rows @ self.root
        variance = (along**2).sum(1) - ((along @ self.axes) ** 2 @ self.shrink)
        spread = np.sqrt(np.maximum(variance, 0) + self.noise) * self.factor
        return self.centre + self.scale * (rows @ self.mean), self.scale * spread

    def covariance(self) -> np.ndarray:
        """(D, D) of the weights."""
        along = self.root @ self.axes
        found: np.ndarray = self.root @ self.root.T - (along * self.shrink) @ along.T
        return found


def fit_weights(rows: Rows, prior: ReadoutPrior, *, fixed: bool = False) -> Fitted:
    """The posterior of an animal's weights.

    Args:
        rows: its labels, none or many, in the number's unit.
        prior: of the weights.
        fixed: whether the sizes of prior and noise stay at their hyperprior's mean.
    """
    return Spoken(rows, prior).fit(prior, fixed=fixed)


class Spoken:
    """What labels say of weights with a prior, whatever the sizes of prior and noise.

    Args:
        rows: the labels.
        prior: of the weights; how labels are standardised and whitened counts too.
    """

    def __init__(self, rows: Rows, prior: ReadoutPrior) -> None:
        """See the class."""
        self.n = len(rows)
        self.mean, covariance = prior.of_units(rows.names)
        self.root = _root(covariance)
        self.centre, self.scale = prior.standards(rows.y)
        self.values, self.axes = np.zeros(0), np.zeros((len(self.mean), 0))
        self.along = self.residual = np.zeros(0)
        self.constant = 0.0
        if self.n:
            phi = whiten(with_intercept(rows.features), rows.bins, rows.stretch, prior.rho)
            y = whiten((rows.y - self.centre) / self.scale, rows.bins, rows.stretch, prior.rho)
            self.residual = y - phi @ self.mean
            self.values, self.axes, self.along = _decompose(phi @ self.root, self.residual)
            self.constant = log_determinant(rows.bins, rows.stretch, prior.rho) - self.n * np.log(self.scale)

    def fit(self, prior: ReadoutPrior, *, fixed: bool = False) -> Fitted:
        """The posterior, under the sizes, exponent and factor of a prior that is otherwise the same."""
        (size, noise), evidence = (prior.size[0], prior.noise[0]), 0.0
        if self.n and not fixed:
            size, noise, evidence = _sizes(prior, self.values, self.along, self.residual)
        total = np.exp(size) * self.values + np.exp(noise) / prior.evidence
        moved = self.root @ (self.axes @ (np.sqrt(self.values) * self.along / total))
        return Fitted(
            mean=self.mean + np.exp(size) * moved,
            root=self.root * np.exp(0.5 * size),
            axes=self.axes,
            shrink=np.exp(size) * self.values / total,
            noise=float(np.exp(noise)),
            size=float(np.exp(size)),
            log_evidence=float(evidence + prior.evidence * self.constant),
            centre=self.centre,
            scale=self.scale,
            factor=prior.factor,
        )


def best_fit(rows: Rows, priors: Sequence[ReadoutPrior]) -> Fitted:
    """That of the prior under which the labels are most probable."""
    return max((fit_weights(rows, prior) for prior in priors), key=lambda fitted: fitted.log_evidence)


def _decompose(reach: np.ndarray, residual: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eigenvalues (r,), right axes (D, r), and the residual along the left ones (r,)."""
    n, d = reach.shape
    if n <= d:
        values, left = eigh(reach @ reach.T, driver="evd", check_finite=False)
        kept = values > _NEGLIGIBLE * max(values[-1], 1e-300)
        values, left = values[kept], left[:, kept]
        return values, reach.T @ left / np.sqrt(values), left.T @ residual
    values, axes = eigh(reach.T @ reach, driver="evd", check_finite=False)
    kept = values > _NEGLIGIBLE * max(values[-1], 1e-300)
    values, axes = values[kept], axes[:, kept]
    return values, axes, (residual @ reach) @ axes / np.sqrt(values)


def _sizes(
    prior: ReadoutPrior, values: np.ndarray, along: np.ndarray, residual: np.ndarray
) -> tuple[float, float, float]:
    """Logarithms of α and σ² of the highest posterior, and the logarithm of the evidence there."""
    sizes = prior.size[0] + prior.size[1] * _STEPS
    noises = prior.noise[0] + prior.noise[1] * _STEPS
    n, rest = len(residual), max(float(residual @ residual - along @ along), 0.0)
    total = np.exp(sizes)[:, None, None] * values + np.exp(noises)[:, None]  # (sizes, noises, r)
    log_density = -0.5 * (np.log(total) + along**2 / total).sum(2)
    log_density -= 0.5 * ((n - len(values)) * noises + rest / np.exp(noises) + n * np.log(2 * np.pi))
    log_density *= prior.evidence
    log_density -= 0.5 * (_STEPS[:, None] ** 2 + _STEPS**2)
    i, j = np.unravel_index(int(log_density.argmax()), log_density.shape)
    return float(sizes[i]), float(noises[j]), float(log_density[i, j])


def _root(covariance: np.ndarray) -> np.ndarray:
    typical = float(np.trace(covariance)) / len(covariance)
    found: np.ndarray = cholesky(
        covariance + _NEGLIGIBLE * typical * np.eye(len(covariance)), lower=True, check_finite=False
    )
    return found
