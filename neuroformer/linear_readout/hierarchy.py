"""Empirical Bayes over animals: y = Φ w + ε, w = m(name) + v, m ~ N(0, T), v ~ N(0, S) or N(0, U), all Gaussian.

The means m are integrated out exactly: every animal gives information (Λ, η) on them, so that the posterior without one
animal is had by leaving its information out. T, S, U, the variance of the intercept and that of each animal's errors
come by expectation-maximisation (Dempster, Laird & Rubin 1977), which never lowers the evidence.

Legend: C names, K weights per unit, D = N·K + 1 weights of an animal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri

from neuroformer.linear_readout.prior import ReadoutPrior, weight_rows
from neuroformer.linear_readout.rows import Sums

_LEAST = 1e-8


@dataclass(frozen=True, kw_only=True, eq=False)
class Hierarchy:
    """What a set of animals has in common.

    Attributes:
        names: of the C means.
        between: (K, K) T.
        named: (K, K) S.
        unnamed: (K, K) U.
        intercept: variance of the intercepts.
        noise: (A,) variance of the errors of each animal.
        information: (C·K, C·K) of each animal on the means.
        pull: (C·K,) its product with them.
        log_evidence: of all animals.
    """

    names: tuple[str, ...]
    between: np.ndarray
    named: np.ndarray
    unnamed: np.ndarray
    intercept: float
    noise: np.ndarray
    information: list[np.ndarray]
    pull: list[np.ndarray]
    log_evidence: float

    def prior(self, *, rho: float, without: int | None = None) -> ReadoutPrior:
        """For a new animal.

        Args:
            rho: under which the sums were made.
            without: an animal whose information does not count; names that only it has have no mean then.
        """
        mean, covariance = self._means(without)
        k = len(self.named)
        has = np.zeros(len(self.names), bool)
        for a, found in enumerate(self.information):
            if a != without:
                has |= np.diag(found).reshape(-1, k).any(1)
        kept = np.repeat(has, k)
        others = np.delete(np.log(self.noise), [] if without is None or len(self.noise) < 2 else [without])
        return ReadoutPrior(
            names=tuple(name for name, there in zip(self.names, has, strict=True) if there),
            mean=mean[kept],
            covariance=covariance[np.ix_(kept, kept)],
            named=self.named,
            unnamed=self.unnamed,
            intercept=self.intercept,
            rho=rho,
            noise=(float(others.mean()), max(float(others.std()), 0.5)),
            size=(0.0, 0.7),
        )

    def _means(self, without: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(C·K,) posterior mean and (C·K, C·K) covariance of the means of the names."""
        precision = np.kron(np.eye(len(self.names)), np.linalg.inv(self.between))
        pull = np.zeros(len(precision))
        for a, (information, towards) in enumerate(zip(self.information, self.pull, strict=True)):
            if a != without:
                precision = precision + information
                pull = pull + towards
        if not len(pull):
            return pull, precision
        covariance, _ = _inverse(precision)
        return covariance @ pull, covariance


def learn_hierarchy(
    animals: Sequence[Sums], *, functions: int, rounds: int, start: Hierarchy | None = None
) -> Hierarchy:
    """Fit to the labels of several animals, their numbers standardised.

    Args:
        animals: sums of each.
        functions: weights per unit K.
        rounds: of expectation-maximisation.
        start: settings to begin from, of the same animals.
    """
    names = tuple(sorted({name for sums in animals for name in sums.names if name}))
    found = start
    if found is None:
        each = np.eye(functions) / (functions * max(1.0, float(np.mean([len(a.names) for a in animals]))))
        found = Hierarchy(
            names=names, between=each, named=each, unnamed=each, intercept=1.0, noise=np.full(len(animals), 0.5),
            information=[], pull=[], log_evidence=-np.inf,
        )  # fmt: skip
    for k in range(rounds + 1):
        found = _round(found, animals, update=k < rounds)
    return found


def _round(h: Hierarchy, animals: Sequence[Sums], *, update: bool) -> Hierarchy:
    """Information of every animal under the settings as they are and, if asked, better settings."""
    k, where = len(h.named), {name: i for i, name in enumerate(h.names)}
    steps = [_Animal(h, sums, float(noise), where) for sums, noise in zip(animals, h.noise, strict=True)]
    now = Hierarchy(
        names=h.names, between=h.between, named=h.named, unnamed=h.unnamed, intercept=h.intercept, noise=h.noise,
        information=[s.information for s in steps], pull=[s.pull for s in steps],
        log_evidence=sum(s.log_evidence for s in steps),
    )  # fmt: skip
    mean, covariance = now._means()
    if len(mean):
        gained = 0.5 * float(sum(s.pull for s in steps) @ mean)
        gained += 0.5 * float(
            np.linalg.slogdet(covariance)[1] - len(h.names) * np.linalg.slogdet(h.between)[1]
        )
        now = replace(now, log_evidence=now.log_evidence + gained)
    if not update:
        return now
    named, unnamed = np.zeros((k, k)), np.zeros((k, k))
    counts = np.zeros(2)
    noise, intercept = [], []
    for step in steps:
        blocks, last, error = step.moments(mean, covariance)
        is_named = step.known >= 0
        named += blocks[is_named].sum(0)
        unnamed += blocks[~is_named].sum(0)
        counts += (is_named.sum(), (~is_named).sum())
        noise.append(max(error, _LEAST))
        intercept.append(last)
    tiny = _LEAST * np.eye(k)
    between = h.between
    if len(mean):
        at, c = np.arange(len(h.names)), len(h.names)
        second = (covariance + np.outer(mean, mean)).reshape(c, k, c, k)[at, :, at, :]
        between = second.mean(0) + tiny
    return replace(
        now,
        between=between,
        named=named / counts[0] + tiny if counts[0] else h.named,
        unnamed=unnamed / counts[1] + tiny if counts[1] else (named / counts[0] + tiny),
        intercept=float(np.mean(intercept)) + _LEAST,
        noise=np.array(noise),
    )


class _Animal:
    """One animal given the settings: what it says of the names' means, and of its own weights given these.

    With P₀ the prior precision, V = (P₀ + ΦᵀΦ / σ²)⁻¹ and m the names' means laid out over units,
    v = V Φᵀy / σ² − J m with J = V ΦᵀΦ / σ² = I − V P₀. As P₀ has one block per unit, V is the only large matrix
    that has to be computed.

    Args:
        h: the settings.
        sums: of the animal.
        noise: σ², variance of its errors.
        where: number of each name.
    """

    def __init__(self, h: Hierarchy, sums: Sums, noise: float, where: dict[str, int]) -> None:
        self.sums, self.noise = sums, noise
        self.known = np.array([where.get(name, -1) for name in sums.names], int)
        n_units, self.k = len(self.known), len(h.named)
        size = len(where) * self.k
        self.rows, self.columns = weight_rows(self.known, self.k)
        own, common = np.linalg.inv(h.named), np.linalg.inv(h.unnamed)
        self.blocks = np.where((self.known >= 0)[:, None, None], own, common)  # of P₀
        self.last = 1 / h.intercept
        precision = sums.gram / noise
        inner = np.einsum("ukul->ukl", precision[:-1, :-1].reshape(n_units, self.k, n_units, self.k))
        inner += self.blocks
        precision[-1, -1] += self.last
        self.inverse, log_precision = _inverse(precision)
        self.fit = self.inverse @ (sums.cross / noise)
        named = np.flatnonzero(self.known >= 0)
        across = self.inverse[:, self.rows].reshape(len(precision), len(named), self.k)
        self.through = -np.einsum("duk,kl->dul", across, own).reshape(len(precision), len(self.rows))
        self.through[self.rows, np.arange(len(self.rows))] += 1
        self.information, self.pull = np.zeros((size, size)), np.zeros(size)
        there = self._prior_times(self.through)[self.rows]
        np.add.at(self.information, np.ix_(self.columns, self.columns), 0.5 * (there + there.T))
        np.add.at(
            self.pull, self.columns, (own @ self.fit[self.rows].reshape(len(named), self.k).T).T.ravel()
        )
        log_prior = len(named) * np.linalg.slogdet(h.named)[1] + np.log(h.intercept)
        log_prior += (n_units - len(named)) * np.linalg.slogdet(h.unnamed)[1]
        self.log_evidence = sums.log_determinant - 0.5 * float(
            sums.n * np.log(2 * np.pi * noise)
            + (sums.square - sums.cross @ self.fit) / noise
            + log_prior
            + log_precision
        )

    def _prior_times(self, matrix: np.ndarray) -> np.ndarray:
        """(D, R) P₀ times (D, R)."""
        inner = matrix[:-1].reshape(len(self.known), self.k, matrix.shape[1])
        found: np.ndarray = np.concatenate(
            [(self.blocks @ inner).reshape(matrix[:-1].shape), self.last * matrix[-1:]]
        )
        return found

    def moments(self, mean: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, float, float]:
        """(N, K, K) second moments of the animal's own parts, that of the intercept, and its mean squared error."""
        m, spread = mean[self.columns], covariance[np.ix_(self.columns, self.columns)]
        own = self.fit - self.through @ m
        reach = self.through @ spread
        n, k = len(self.known), self.k
        at = np.arange(n)
        blocks = self.inverse[:-1, :-1].reshape(n, k, n, k)[at, :, at, :].copy()
        blocks += np.einsum(
            "ukr,ulr->ukl", reach[:-1].reshape(n, k, len(m)), self.through[:-1].reshape(n, k, len(m))
        )
        last = float(self.inverse[-1, -1] + reach[-1] @ self.through[-1])
        parts = own[:-1].reshape(n, k)
        blocks += parts[:, :, None] * parts[:, None, :]
        weights = own.copy()
        np.add.at(weights, self.rows, m)
        gram = self.sums.gram
        error = self.sums.square - 2 * self.sums.cross @ weights + weights @ gram @ weights
        # tr(ΦᵀΦ cov w), by ΦᵀΦ V = σ² (I − P₀ V) and ΦᵀΦ (I − J) = σ² P₀ J.
        own_part = len(own) - np.einsum(
            "ukl,ulk->", self.blocks, self.inverse[:-1, :-1].reshape(n, k, n, k)[at, :, at, :]
        ) - self.last * self.inverse[-1, -1]  # fmt: skip
        weighted = self._prior_times(self.through)
        shared = np.vdot(weighted[self.rows], spread) - np.vdot(weighted, reach)
        error += self.noise * float(own_part + shared)
        return blocks, float(last + own[-1] ** 2), float(error) / self.sums.n


def _inverse(matrix: np.ndarray) -> tuple[np.ndarray, float]:
    """Inverse and log-determinant of a positive definite matrix."""
    factor, fault = dpotrf(matrix, lower=1, clean=1, overwrite_a=0)
    assert fault == 0, "precisions are positive definite"
    log_determinant = 2 * float(np.log(np.diag(factor)).sum())
    found, _ = dpotri(factor, lower=1, overwrite_c=1)  # the upper triangle stays 0
    whole: np.ndarray = found + found.T
    whole[np.diag_indices_from(whole)] *= 0.5
    return whole, log_determinant
