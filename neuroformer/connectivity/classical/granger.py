"""Conditional Granger causality: does a unit's past foretell another one beyond the past of all the rest?

A vector autoregression of order p of the counts x(t) of all units,

    x_j(t) = c_j + Σ_{l = 1 … p} Σ_i A_l[i, j] x_i(t − l) + ε_j(t),

and, for each pair, the same without the source i:

    G[i, j] = ln(σ²_j without i / σ²_j)                      (Granger 1969, Econometrica 37:424;
                                                             conditional: Geweke 1984, J. Am. Stat. Assoc. 79:907)

p has the least Akaike information criterion, n ln |Σ| + 2 p N² (Barnett & Seth 2014, J. Neurosci. Methods 223:50). The
Bayesian one, p N² ln n, grows with all N² pairs of which few are connected: it stops at orders below the delays.
Leaving a source out needs no second fit: in least squares (n − N p − 1) (exp G − 1) / p is its Wald statistic,
which has the F distribution with p and n − N p − 1 degrees of freedom where there is no influence.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from neuroformer.connectivity.classical.lagged import autocovariance, check_lags
from neuroformer.connectivity.classical.var import Regression, past_covariance, past_with_present, regress
from neuroformer.connectivity.counts import BinnedCounts
from neuroformer.connectivity.estimate import ConnectivityMap
from neuroformer.errors import UsageError

ORDERS = (1, 2, 3, 5, 8, 13, 20, 32)


def granger_causality(
    counts: BinnedCounts,
    *,
    n_lags: int,
    rng: np.random.Generator | None = None,
    surrogates: int = 20,
    order: int | None = None,
    criterion: str = "aic",
) -> ConnectivityMap:
    """Estimate who drives whom by Granger causality given all other units, with the sign of the summed weights.

    Args:
        counts: The recording.
        n_lags: Largest order in bins.
        rng: Not used: the F test needs no surrogates.
        surrogates: Not used.
        order: Order of the autoregression; by default chosen by the information criterion among
            1, 2, 3, 5, 8, 13, 20, 32, going up until it no longer falls.
        criterion: ``aic`` or ``bic``, by which the order is chosen.

    Raises:
        UsageError: `order` is not 1 to `n_lags`, or the criterion is unknown.
        UserError: No valid interval is longer than `n_lags` bins.
    """
    del rng, surrogates
    check_lags(counts, n_lags)
    if order is not None and not 1 <= order <= n_lags:
        raise UsageError(f"order={order}: expected 1 to the largest lag, {n_lags} bins")
    if criterion not in ("aic", "bic"):
        raise UsageError(f"criterion={criterion!r}: expected aic or bic")
    active = np.flatnonzero(counts.totals)
    gamma = autocovariance(counts, n_lags=n_lags)[:, active][:, :, active]
    active, gamma = _varying(active, gamma)
    matrix, p_values = np.zeros((counts.n_units,) * 2), np.ones((counts.n_units,) * 2)
    profile = np.zeros((counts.n_units, counts.n_units, n_lags), np.float32)
    if len(active):
        fit = (
            fit_order(gamma, order)
            if order
            else choose_order(gamma, n_bins=counts.n_bins, criterion=criterion)
        )
        p = len(fit.weights)
        left = counts.n_bins - len(active) * p - 1
        wald = explained(fit) / np.diag(
            fit.residual
        )  # (S, T) relative rise of the variance without the source
        pairs = np.ix_(active, active)
        matrix[pairs] = np.sign(fit.weights.sum(axis=0)) * np.log1p(wald)
        p_values[pairs] = stats.f.sf(wald * left / p, p, left)
        profile[active[:, None], active, :p] = np.moveaxis(fit.weights, 0, -1)
    np.fill_diagonal(p_values, np.nan)
    return ConnectivityMap(
        name="granger",
        matrix=matrix,
        lag_profile=profile,
        lags_s=np.arange(1, n_lags + 1) * counts.bin_s,
        p_values=p_values,
        description="conditional Granger causality, with the sign of the summed regression weights",
    )


def _varying(active: np.ndarray, gamma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leave out units whose count is always the same: they have no variance to explain or to explain with."""
    varies = np.diagonal(gamma[0]) > 1e-12
    return active[varies], gamma[:, varies][:, :, varies]


def fit_order(gamma: np.ndarray, order: int) -> Regression:
    """Fit an autoregression of the given order from autocovariances (L + 1, N, N)."""
    groups = [range(lag, lag + 1) for lag in range(1, order + 1)]
    return regress(past_covariance(gamma, groups), past_with_present(gamma, groups), gamma[0])


def choose_order(gamma: np.ndarray, *, n_bins: int, criterion: str) -> Regression:
    """Fit orders upwards until the information criterion rises, and return the best fit."""
    n_units, best, lowest = gamma.shape[1], None, np.inf
    cost = 2.0 if criterion == "aic" else np.log(n_bins)
    for order in (o for o in ORDERS if o < len(gamma)):
        fit = fit_order(gamma, order)
        value = n_bins * np.linalg.slogdet(fit.residual)[1] + order * n_units**2 * cost
        if value >= lowest:
            break
        best, lowest = fit, value
    assert best is not None
    return best


def explained(fit: Regression) -> np.ndarray:
    """(S, T) variance of each target that only this source's past explains: a' (V_ii)⁻¹ a, V the past's precision."""
    p, n, _ = fit.weights.shape
    own = np.einsum("gihi->igh", fit.precision.reshape(p, n, p, n))  # (S, p, p)
    weights = fit.weights.transpose(1, 0, 2)  # (S, p, T)
    return np.einsum("igt,igt->it", weights, np.linalg.solve(own, weights))
