"""From a statistic and its surrogates to p-values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import optimize, special, stats

from neuroformer.connectivity.estimate import ConnectivityMap
from neuroformer.errors import UsageError

MEDIAN_CHI2 = 0.4549  # median of a chi-square variable with one degree of freedom
LEAST_DF, MOST_DF = 0.3, 200.0  # of the t distribution that stands for unconnected pairs
TAIL = 0.05  # the surrogates' own peaks are matched here: far enough out to matter, enough of them to count


def surrogate_p_values(
    statistic: np.ndarray, null: np.ndarray, *, alternative: str = "two-sided"
) -> np.ndarray:
    """Compare every pair with its own surrogates, borrowing their spread from all pairs.

    A few surrogates tell a pair's mean well and its variance badly. The variance is therefore moderated as in
    Smyth 2004 (Stat. Appl. Genet. Mol. Biol. 3:3, section 6): with s² a pair's variance over R surrogates, d = R − 1,

        s̃² = (d0 s0² + d s²) / (d0 + d),       t = (statistic − mean) / (s̃ √(1 + 1/R)),

    where d0 and s0² are what the pairs' s² tell of the variances' common prior (`variance_prior`). p is the tail
    of Student's t with d0 + d degrees of freedom; the factor √(1 + 1/R) is for the mean being an estimate as well.

    Args:
        statistic: (S, T), about normal under the null.
        null: (R, S, T) the same of R ≥ 2 surrogates.
        alternative: ``two-sided``, or ``greater`` where only a large statistic speaks for a connection.

    Returns:
        (S, T) float64, NaN on the diagonal; 1 where no surrogate of any pair varies.

    Raises:
        UsageError: There are fewer than two surrogates.
    """
    n = len(null)
    if n < 2:
        raise UsageError(f"surrogates={n}: expected 2 or more, the spread of the null comes from them")
    mean, variance = null.mean(axis=0, dtype=np.float64), null.var(axis=0, ddof=1, dtype=np.float64)
    off = ~np.eye(len(statistic), dtype=bool)
    p_values = np.ones(statistic.shape)
    if variance[off].any():
        d0, prior = variance_prior(variance[off], n - 1)
        moderated = _moderate(variance, n - 1, d0, prior)
        t = (statistic - mean) / np.sqrt(moderated * (1 + 1 / n))
        tail = stats.norm.sf if np.isinf(d0) else stats.t(d0 + n - 1).sf
        p_values = 2 * tail(np.abs(t)) if alternative == "two-sided" else tail(t)
    np.fill_diagonal(p_values, np.nan)
    return p_values


def variance_prior(variance: np.ndarray, d: float) -> tuple[float, float]:
    """The prior of variances estimated with `d` degrees of freedom each: (d0, s0²), d0 infinite if all are alike.

    Moments of the logarithms e = ln s² − ψ(d/2) + ln(d/2): ψ′(d0/2) = var(e) − ψ′(d/2) and
    ln s0² = mean(e) + ψ(d0/2) − ln(d0/2) (Smyth 2004, section 6.2). Variances of 0 are left out.
    """
    e = np.log(variance[variance > 0]) - special.digamma(d / 2) + np.log(d / 2)
    excess = e.var(ddof=1) - special.polygamma(1, d / 2) if len(e) > 1 else 0.0
    if excess <= 0:
        return np.inf, float(np.exp(e.mean()))
    half = trigamma_inverse(float(excess))
    return 2 * half, float(np.exp(e.mean() + special.digamma(half) - np.log(half)))


def _moderate(variance: np.ndarray, d: float, d0: float, prior: float) -> np.ndarray:
    weight = 1.0 if np.isinf(d0) else d0 / (d0 + d)
    return weight * prior + (1 - weight) * variance


def pooled_variance(squares: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Variance of every pair from surrogates whose lags were averaged, moderated over pairs as a ratio to `expected`.

    As in `surrogate_p_values`, but for one variance at all lags. How many degrees of freedom an average over lags
    has is told by its own spread over surrogates: 2 / (squared coefficient of variation) each.

    Args:
        squares: (R, S, T) mean over lags of the squared statistic, of R ≥ 2 surrogates.
        expected: (S, T) what the variance would be under the simplest null; pairs where it is 0 keep their own.

    Raises:
        UsageError: There are fewer than two surrogates.
    """
    n = len(squares)
    if n < 2:
        raise UsageError(f"surrogates={n}: expected 2 or more, the spread of the null comes from them")
    mean = squares.mean(axis=0)
    known = (expected > 0) & (mean > 0) & ~np.eye(len(mean), dtype=bool)
    if not known.any():
        return mean
    variation = (squares.var(axis=0, ddof=1)[known] / mean[known] ** 2).mean()
    d = n * max(1.0, 2 / max(variation, 1e-6))
    ratio = np.divide(mean, expected, out=np.zeros_like(mean), where=known)
    return np.where(known, _moderate(ratio, d, *variance_prior(ratio[known], d)) * expected, mean)


def trigamma_inverse(value: float) -> float:
    """Solve ψ′(y) = value > 0 for y > 0, by Newton's method on 1/ψ′, which is convex (Smyth 2004, appendix)."""
    y = 0.5 + 1 / value
    for _ in range(50):
        trigamma = special.polygamma(1, y)
        step = trigamma * (1 - trigamma / value) / special.polygamma(2, y)
        y += step
        if -step < 1e-10 * y:
            break
    return float(y)


def peak_p_values(p_values: np.ndarray, null: np.ndarray, *, n_lags: int) -> np.ndarray:
    """Correct the p-value at a pair's best lag for the choice among `n_lags` of them.

    Šidák's 1 − (1 − p)^m, with the effective number of lags m such that a share of 0.05 of the surrogates'
    own peaks comes out below 0.05. Lags that go together need less of a correction than L separate ones.

    Args:
        p_values: (S, T) p-value at the peak over lags, as if that lag had been the only one.
        null: (R, S, T) the same of R surrogates, each at a peak of its own.
        n_lags: Number of lags L that the peak was chosen from; m is between 1 and L.

    Returns:
        (S, T) float64, NaN on the diagonal.
    """
    off = ~np.eye(len(p_values), dtype=bool)
    own = null[:, off]
    own = own[own < 1]  # pairs that cannot be tested say nothing
    m = float(n_lags)
    if own.size:
        quantile = np.quantile(own, TAIL)
        m = float(np.clip(np.log1p(-TAIL) / np.log1p(-max(quantile, 1e-300)), 1, n_lags))
    with np.errstate(divide="ignore"):  # p = 1 stays 1
        corrected = -np.expm1(m * np.log1p(-p_values))
    np.fill_diagonal(corrected, np.nan)
    return corrected


def count_p_values(excess: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Two-sided p-values of counts that lie `excess` above their mean; shapes broadcast.

    The null is a Poisson count scaled to the given mean and variance, X = φ · Poisson(mean / φ), φ = variance / mean,
    so few expected coincidences have their long right tail. Half the probability of the count itself belongs to
    the tail (mid-p). Where mean or variance is 0, p is 1.
    """
    possible = (mean > 0) & (variance > 0)
    mean, variance = np.where(possible, mean, 1.0), np.where(possible, variance, 1.0)
    scale = variance / mean
    count, expected = np.maximum((mean + excess) / scale, 0), mean / scale
    # P(Poisson(m) ≥ c) is the lower incomplete gamma function γ(c, m), which also joins whole counts smoothly.
    upper = (special.gammainc(count, expected) + special.gammainc(count + 1, expected)) / 2
    lower = (special.gammaincc(count, expected) + special.gammaincc(count + 1, expected)) / 2
    return np.where(possible, np.minimum(2 * np.minimum(upper, lower), 1), 1.0)


def genomic_control(p_values: np.ndarray) -> tuple[np.ndarray, float]:
    """Deflate p-values that are too small for most pairs, as if most pairs were unconnected.

    Devlin & Roeder 1999 (Biometrics 55:997): with z² the chi-square value of p at one degree of freedom, all z² are
    divided by max(1, median(z²) / 0.4549). Calibrated or conservative p-values stay as they are.

    Args:
        p_values: Any shape, two-sided; NaN (the diagonal) stays NaN. Values of exactly 1, pairs that could not be
            tested, do not enter the median.

    Returns:
        The p-values after correction, and the inflation factor they were corrected by, at least 1.
    """
    z2 = stats.chi2.isf(p_values, 1)
    tested = z2[np.isfinite(p_values) & (p_values < 1)]
    inflation = max(1.0, float(np.median(tested)) / MEDIAN_CHI2) if tested.size else 1.0
    if inflation == 1:
        return p_values.copy(), 1.0
    return stats.chi2.sf(z2 / inflation, 1), inflation


def by_central_spread(estimate: ConnectivityMap) -> ConnectivityMap:
    """Give a map p-values from the spread of all its pairs: the null of maps that come out of a model without data.

    What a source does to all and what reaches a target from all is taken away by medians (Tukey's median polish). The
    rest is compared with a Student t whose scale and degrees of freedom match the 50 % and 75 % quantiles of its size
    over all pairs, because maps of shrunk weights have far heavier tails than a normal. Like genomic control it takes
    most pairs for unconnected.

    Args:
        estimate: the map.

    Returns:
        The same map with `p_values`; 1 everywhere if all pairs are alike.
    """
    n = len(estimate.matrix)
    off = ~np.eye(n, dtype=bool)
    rest = np.where(off, estimate.matrix, np.nan)
    p_values = np.full((n, n), np.nan)
    for _ in range(3 if n > 2 else 0):
        rest = rest - np.nanmedian(rest, axis=1, keepdims=True)
        rest = rest - np.nanmedian(rest, axis=0, keepdims=True)
    size = np.abs(rest[off])
    p_values[off] = 2 * _central_t(size).sf(size) if n > 1 and np.median(size) > 0 else 1.0
    return replace(estimate, p_values=p_values)


def _central_t(size: np.ndarray) -> stats.distributions.rv_frozen:
    """The t distribution around 0 with the given quantiles of |x| at 50 % and 75 %."""
    middle, upper = np.quantile(size, [0.5, 0.75])

    def excess(df: float) -> float:
        return float(stats.t.ppf(0.875, df) / stats.t.ppf(0.75, df) - upper / middle)

    df = next(
        (
            bound
            for bound, beyond in ((MOST_DF, excess(MOST_DF) > 0), (LEAST_DF, excess(LEAST_DF) < 0))
            if beyond
        ),
        None,
    )
    df = optimize.brentq(excess, LEAST_DF, MOST_DF) if df is None else df
    return stats.t(df, scale=middle / stats.t.ppf(0.75, df))
