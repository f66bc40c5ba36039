"""Which pairs are connected, from the form that connections have: a mixture over pairs of estimates with known errors.

An influence is not just any departure from zero: exciting ones resemble one another in size and time course, and so do
inhibiting ones. With ŵ_p the H coefficients of pair p and S_p their error covariance,

    ŵ_p ~ π_0 N(0, S_p) + π_+ N(μ_+, S_p + V_+) + π_− N(μ_−, S_p + V_−)

is fitted over all pairs by expectation maximisation. It is the two-groups model of Efron 2008 (Stat. Sci. 23:1) with
the groups' covariances learned from the data, as in multivariate adaptive shrinkage (Urbut, Wang, Carbonetto & Stephens
2019, Nat. Genet. 51:187). −log of a pair's local false-discovery rate is the evidence for a connection, in nats.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ROUNDS = 60
PRIOR_PAIRS = (
    3.0  # how many pairs' worth a group's starting covariance counts, so that a few edges do not degenerate
)
LEAST_PAIRS = 4  # of a group at the start; with fewer it starts as the mirror image of the other group
SOFT = 1e-3  # start: no pair belongs wholly to a group


@dataclass(frozen=True, kw_only=True, eq=False)
class PairMixture:
    """A fitted mixture.

    Attributes:
        evidence: (P,) −log local false-discovery rate, 0 or more, nats.
        share: shares of unconnected, exciting and inhibiting pairs.
    """

    evidence: np.ndarray
    share: np.ndarray


def fit_mixture(
    estimate: np.ndarray, error: np.ndarray, sign: np.ndarray, called: np.ndarray
) -> PairMixture | None:
    """Fit the mixture, started from pairs that a test has called.

    Args:
        estimate: (P, H) coefficients ŵ.
        error: (P, H, H) covariances S of their errors, positive definite.
        sign: (P,) sign of the influence, by which the called pairs start in one group or the other.
        called: (P,) bool.

    Returns:
        None where both groups have fewer than `LEAST_PAIRS` called pairs: then there is no form to learn.
    """
    groups = [called & (sign > 0), called & (sign < 0)]
    if max(group.sum() for group in groups) < LEAST_PAIRS:
        return None
    belongs = np.full((len(estimate), 3), SOFT)  # (P, 3): unconnected, exciting, inhibiting
    belongs[:, 0] = np.where(called, SOFT, 1.0)
    for g, group in enumerate(groups, start=1):
        belongs[group, g] = 1.0
    belongs /= belongs.sum(1, keepdims=True)
    centre, spread = _start(estimate, groups)
    start = [matrix.copy() for matrix in spread]
    density = np.zeros(belongs.shape)
    for _ in range(ROUNDS):
        share = belongs.mean(0).clip(min=1e-12)
        density[:, 0] = np.log(share[0]) + _log_normal(estimate, error)
        posteriors = []
        for g in range(len(groups)):
            total = error + spread[g]
            density[:, g + 1] = np.log(share[g + 1]) + _log_normal(estimate - centre[g], total)
            # The pair's true coefficients, were it of this group: mean and covariance.
            gain = spread[g] @ np.linalg.inv(total)
            mean = centre[g] + np.einsum("pab,pb->pa", gain, estimate - centre[g])
            posteriors.append((mean, spread[g] - gain @ spread[g]))
        belongs = np.exp(density - np.logaddexp.reduce(density, axis=1, keepdims=True))
        for g, (mean, covariance) in enumerate(posteriors):
            weight = belongs[:, g + 1]
            centre[g] = weight @ mean / max(weight.sum(), 1e-12)
            departure = mean - centre[g]
            second = covariance + departure[:, :, None] * departure[:, None, :]
            pooled = np.einsum("p,pab->ab", weight, second) + PRIOR_PAIRS * start[g]
            spread[g] = pooled / (weight.sum() + PRIOR_PAIRS)
    odds = np.logaddexp.reduce(density[:, 1:], axis=1) - density[:, 0]
    return PairMixture(evidence=np.logaddexp(0, odds), share=belongs.mean(0))


def _start(estimate: np.ndarray, groups: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Means and covariances of the called pairs of each group; a group of few mirrors the other."""
    enough = [group.sum() >= LEAST_PAIRS for group in groups]
    found = [
        _moments(estimate[group if ok else other])
        for group, other, ok in zip(groups, groups[::-1], enough, strict=True)
    ]
    centre = [mean if ok else -mean for (mean, _), ok in zip(found, enough, strict=True)]
    return centre, [covariance for _, covariance in found]


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (H,) and covariance (H, H) of a group's estimates, kept away from being singular."""
    covariance = np.atleast_2d(np.cov(values.T, bias=True))
    floor = 1e-3 * np.trace(covariance) / len(covariance) + 1e-9
    return values.mean(0), covariance + floor * np.eye(len(covariance))


def _log_normal(departure: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """(P,) log density up to a constant common to all groups."""
    _, log_det = np.linalg.slogdet(covariance)
    solved = np.linalg.solve(covariance, departure[..., None])[..., 0]
    return -0.5 * (np.einsum("pa,pa->p", departure, solved) + log_det)
