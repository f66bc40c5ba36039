"""A coupling read-out that is unbiased by shrinkage, corrected for shared input, and tested.

The coupling weights of a fitted model are good for prediction and biased as evidence of wiring, twice: they are shrunk
towards zero, and they hold what the trunk has left of input that source and target share. Five steps mend that.

1. **One-step estimate.** A Newton step from the fitted weights, without the prior, in each pair's H weights alone, one
   for each function of a basis of lags:

       ŵ_ij = w_ij + I_ij⁻¹ U_ij

   with U the slope and I the curvature of the log-likelihood, the target's constant profiled out (`moments.ScoreSums`).
   It takes away what shrinkage did to the pair itself, in the spirit of the debiased lasso (van de Geer, Bühlmann,
   Ritov & Dezeure 2014, Ann. Stat. 42:1166); all else (trunk, history, other pairs) is held as fitted, so what
   shrinkage left of *other* pairs stays, and the null of step 3 has to allow for it.
   The likelihood of few events is no parabola: six coincidences where 1.6 are expected say less, and three where 18 are
   expected more, than their z-scores. So ŵ is scaled towards the signed root of the likelihood ratio of a Poisson count
   with the same first three moments (`skewness_factor`).

2. **Negative controls.** A synapse acts later; input that two units share shows at lag 0 and at acausal lags as well.
   The target's residual is correlated with the source's events of the same bin and of later ones, up to one coupling
   window. What these predict of ŵ, by robust regression over all pairs (Tukey's bisquare), is taken away: a negative
   control in the sense of Lipsitch, Tchetgen Tchetgen & Cohen 2010 (Epidemiology 21:383), which has the confounder in
   common and cannot have the effect of source on target. (An effect of target on source shows at acausal lags too; on
   simulated circuits no more false calls were found on such pairs than on others.) As few pairs are connected, the fit
   over all pairs is that of the unconnected. Where bins are wider than 20 ms (calcium), the same bin and its
   neighbours hold the effect itself, and nothing is taken away (step 5); nor with fewer than 25 pairs.

3. **A null.** χ²_ij = ŵ_ijᵀ I_ij ŵ_ij has H degrees of freedom under no influence. Time-shifted surrogates of the
   sources and genomic control (the median over all pairs: Devlin & Roeder 1999, Biometrics 55:997) tell by how much
   it is inflated, and it is divided by the larger of the two. A generalised Pareto tail of the surrogates
   (Knijnenburg, Wessels, Reinders & Shmulevich 2009, Bioinformatics 25:i161) takes over where it is heavier than that
   of χ². Step 2 is not repeated on the surrogates, in which nothing is shared.

4. **Evidence.** Pairs are ranked by a mixture over pairs (`mixture.fit_mixture`) that learns the size and time course
   which connections have, so that a departure of another form counts less.

5. **The same bin, where bins are wide.** A synapse of 5 ms acts mostly within its own frame of 100 ms. In bins wider
   than 20 ms, where lag 0 is no control, the evidence has one coefficient more: score Σ_t r_i r_j and information
   Σ_t λ_j r_i² of the two units' residuals in the same bin, with its own surrogates. It is nearly the same for i → j
   and j → i: it says that two units are connected and with which sign, not which way. So ranking and sign heed it;
   p-values, and with them the graph, and profile and gain are those of the lags alone.

What it cannot see: a hidden neuron that drives the source first and the target later looks like a synapse.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special, stats

from neuroformer.batch import Batch
from neuroformer.connectivity.estimate import ConnectivityMap
from neuroformer.connectivity.mixture import fit_mixture
from neuroformer.connectivity.moments import LogLinearCoupling, ScoreSums, Window, in_basis, pair_moments

NULL_VALUES = 4000  # pairs of surrogates whose pool is the null
LEAST_SURROGATES, MOST_SURROGATES = 4, 16
FUNCTIONS = 5  # of the basis of lags: with 3 the onset is blurred, with 6 nothing is gained
START, LEAST_START = 0.05, 0.01  # the mixture starts from pairs called at this rate, and this share at least
BISQUARE = 4.685  # Tukey's constant: 95 % efficiency for normal errors (Huber & Ronchetti 2009, section 4.8)
WIDEST_BIN_S = 0.02  # up to which there are controls: synapses act within this
# Quantile of the surrogates above which a tail is fitted, and the fewest values for it.
TAIL, LEAST_TAIL = 0.99, 20
RIDGE = 1e-6  # of a pair's mean curvature: a unit without events leaves its pairs at zero


def adjusted_map(
    fitted: LogLinearCoupling,
    batches: Sequence[Batch],
    *,
    name: str,
    surrogates: int | None = None,
    control: bool = True,
    functions: int | None = FUNCTIONS,
) -> ConnectivityMap:
    """Read out a fitted coupling: one-step estimate, negative controls, and a null.

    Args:
        fitted: the model of one session.
        batches: the part of the session that the model was trained on, in order, every bin scored once.
        name: of the map.
        surrogates: time-shifted surrogates of the sources, by default enough for `NULL_VALUES` pairs.
        control: False leaves out negative controls and genomic control: the plain one-step estimate, tested against
            the surrogates alone.
        functions: of the basis of lags in which the coupling is read; with None, or with fewer than twice as many lags,
            the model's own kernels.

    Returns:
        A map whose matrix is √(2 · evidence), on the scale of a z-score, with the sign of the influence; its lag
        profile is the corrected log-gain of the target's intensity, by lag. Evidence is −log of the pair's local
        false-discovery rate, or without enough called pairs to learn from −log p.
    """
    n_lags = fitted.kernels.shape[1]
    if functions is not None and n_lags >= 2 * functions:
        fitted = in_basis(fitted, functions)
    if surrogates is None:
        pairs = max(1, fitted.weights.shape[1] * (fitted.weights.shape[1] - 1))
        surrogates = min(max(LEAST_SURROGATES, -(-NULL_VALUES // pairs)), MOST_SURROGATES)
    windows = control_windows(n_lags) if control and fitted.bin_s <= WIDEST_BIN_S else ()
    same_bin = control and fitted.bin_s > WIDEST_BIN_S
    moments = pair_moments(fitted, batches, windows=windows, surrogates=surrogates, same_bin=same_bin)
    lagged = moments.real.lagged(same_bin)
    heads, n = fitted.weights.shape[:2]
    off = ~np.eye(n, dtype=bool)
    estimate, information = _unshrunk(fitted.weights, lagged, off)  # (P, H), (P, H, H)
    covariance = _inverse(information)  # (P, H, H)
    spread = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))  # (P, H)
    controls = standardized_controls(moments.controls, moments.real.expected)[:, off].T  # (P, C)
    for h in range(heads if windows else 0):
        seen = spread[:, h] > 0
        z = estimate[seen, h] / spread[seen, h]
        estimate[seen, h] -= spread[seen, h] * robust_prediction(controls[seen], z)
    chi2 = np.einsum("pa,pab,pb->p", estimate, information, estimate)
    null = [_null_chi2(sums.lagged(same_bin), off) for sums in moments.surrogates]
    testable = spread.min(1) > 0
    scale, p_values = calibrate(
        chi2, np.concatenate(null) if null else np.zeros(0), heads, testable, genomic=control
    )
    profile = np.zeros((n, n, n_lags))
    profile[off] = estimate @ fitted.kernels.double().numpy()
    matrix, p_matrix = np.zeros((n, n)), np.full((n, n), np.nan)
    gain, error = np.zeros((n, n)), np.full((n, n), np.inf)
    area = fitted.kernels.double().sum(1).numpy()  # (H,) over the lags, of a unit of each function
    gain[off] = estimate @ area
    error[off] = np.where(testable, np.sqrt(scale * (area @ covariance @ area)), np.inf)
    p_matrix[off] = p_values
    if same_bin:  # From here on, which is the ranking and the sign, the same bin counts as well.
        weights = np.concatenate([np.zeros((1, n, n)), fitted.weights])
        estimate, information = _unshrunk(weights, moments.real, off)
        covariance = _inverse(information)
        heads += 1
        chi2 = np.einsum("pa,pab,pb->p", estimate, information, estimate)
        testable = testable & (covariance[:, 0, 0] > 0)
        null = [_null_chi2(sums, off) for sums in moments.surrogates]
        scale, p_values = calibrate(chi2, np.concatenate(null) if null else np.zeros(0), heads, testable)
    # Of the slope in the direction in which all heads grow: the sum of the profile would hang on the noisiest head.
    sign = np.sign(np.einsum("pab,pb->p", information, estimate))
    strongest = chi2 >= np.quantile(chi2, 1 - LEAST_START)
    called = testable & (strongest | (stats.false_discovery_control(p_values) <= START))
    mixture = fit_mixture(estimate[testable], scale * covariance[testable], sign[testable], called[testable])
    evidence = -stats.chi2.logsf(chi2 / scale, heads)
    if mixture is not None:
        evidence[testable] = mixture.evidence
    matrix[off] = sign * np.sqrt(2 * evidence)
    return ConnectivityMap(
        name=name,
        matrix=matrix,
        lag_profile=profile.astype(np.float32),
        lags_s=fitted.bin_s * np.arange(1, n_lags + 1),
        p_values=p_matrix,
        gain=gain,
        gain_error=error,
        description="√(2 · evidence in nats) for a change of the target's log-intensity after an event of the source, "
        + (
            "or in the same bin"
            if same_bin
            else "corrected by what the two share at lag 0 and at acausal lags"
        ),
    )


def _unshrunk(weights: np.ndarray, sums: ScoreSums, off: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(P, H) one-step estimate with its skewness mended, and (P, H, H) information."""
    information = _by_pair(sums.information, 2)[off]
    estimate = _by_pair(weights, 1)[off] + one_step(sums)[off]
    estimate *= skewness_factor(estimate, information, _third(sums, estimate, off))[:, None]
    return estimate, information


def _null_chi2(sums: ScoreSums, off: np.ndarray) -> np.ndarray:
    """(P,) χ² of a surrogate's pairs."""
    step, information = one_step(sums)[off], _by_pair(sums.information, 2)[off]
    step *= skewness_factor(step, information, _third(sums, step, off))[:, None]
    return np.einsum("pa,pab,pb->p", step, information, step)


def _third(sums: ScoreSums, direction: np.ndarray, off: np.ndarray) -> np.ndarray:
    """(P,) third moment along a direction (P, H)."""
    spread = np.zeros((direction.shape[1], *off.shape))
    spread[:, off] = direction.T
    return sums.third_along(spread)[off]


def skewness_factor(estimate: np.ndarray, information: np.ndarray, third: np.ndarray) -> np.ndarray:
    """What an estimate is multiplied by so that its z-score becomes the signed root of a likelihood ratio.

    Along its own direction the slope behaves as a · (K − m), K ~ Poisson(m). With a the quotient of third and second
    moment, s = a per unit of the estimate and m s² the χ², the likelihood ratio is 2 m [(1 + s) log(1 + s) − s], and
    2 m where K = 0 (s ≤ −1). The factor is the root of its quotient with χ²: 1 for s → 0, below 1 for an excess, up
    to √2 for a lack. Moments are those of the fitted intensities, so for a pair whose weight was fitted this holds to
    first order.

    Args:
        estimate: (P, H).
        information: (P, H, H).
        third: (P,) third moment along the estimate.

    Returns:
        (P,).
    """
    chi2 = np.einsum("pa,pab,pb->p", estimate, information, estimate)
    s = np.divide(third, chi2, out=np.zeros_like(chi2), where=chi2 > 0)
    small = np.abs(s) < 1e-3
    safe = np.where(small, 1.0, s)
    inside = safe.clip(min=-1)
    ratio = 2 * (special.xlogy(1 + inside, 1 + inside) - inside) / safe**2
    return np.sqrt(np.where(small, 1 - s / 3, ratio))


def control_windows(n_lags: int) -> tuple[Window, ...]:
    """The same bin, then up to three windows of growing width over the acausal lags 1 … L.

    >>> control_windows(20)
    ((0, 0), (1, 4), (5, 10), (11, 20))
    """
    ends = sorted({max(1, round(n_lags * share)) for share in (0.2, 0.5, 1.0)})
    acausal = zip([1, *(end + 1 for end in ends[:-1])], ends, strict=True)
    return ((0, 0), *acausal)


def one_step(sums: ScoreSums) -> np.ndarray:
    """(N, N, H) Newton step I⁻¹ U of every pair; 0 where there is no information."""
    return np.einsum("stab,stb->sta", _inverse(_by_pair(sums.information, 2)), _by_pair(sums.score, 1))


def standardized_controls(controls: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """(C, N, N) controls over √(expected events of source · of target), the scale on which z-scores share them."""
    size = np.sqrt(np.outer(expected, expected))
    return np.divide(controls, size, out=np.zeros_like(controls), where=size > 0)


def robust_prediction(controls: np.ndarray, z: np.ndarray, *, rounds: int = 30) -> np.ndarray:
    """What a linear function of the controls, and a constant, predicts of z-scores, whatever the few outliers are.

    Args:
        controls: (P, C).
        z: (P,).
        rounds: of iteratively reweighted least squares, with the spread from the median absolute deviation.

    Returns:
        (P,); zeros where there are too few pairs to fit.
    """
    design = np.column_stack([controls, np.ones(len(z))])
    if len(z) < 5 * design.shape[1]:
        return np.zeros(len(z))
    root = np.ones(len(z))
    for _ in range(rounds):
        # Least squares by pseudo-inverse: controls that are alike or zero are no fault.
        weight = np.linalg.lstsq(design * root[:, None], z * root, rcond=None)[0]
        residual = z - design @ weight
        spread = 1.4826 * np.median(np.abs(residual))
        if spread == 0:
            break
        # The square root of the bisquare weight.
        root = (1 - (residual / (BISQUARE * spread)) ** 2).clip(min=0)
    return design @ weight


def calibrate(
    chi2: np.ndarray, null: np.ndarray, dof: int, testable: np.ndarray, *, genomic: bool = True
) -> tuple[float, np.ndarray]:
    """Inflation of χ² values and p-values after dividing by it.

    Args:
        chi2: (P,) of the pairs.
        null: (M,) of surrogates; may be empty.
        dof: degrees of freedom.
        testable: (P,) bool; pairs without information have p = 1 and count for nothing.
        genomic: whether the pairs' own median counts, or that of the surrogates alone.

    Returns:
        The larger of both medians' inflation, at least 1, and (P,) p-values, the larger of those by χ² and by the
        tail of the surrogates, scaled to the same inflation.
    """
    expected = stats.chi2.median(dof)
    own = float(np.median(chi2[testable])) / expected if genomic and testable.any() else 1.0
    shifted = float(np.median(null[null > 0])) / expected if (null > 0).any() else 1.0
    scale = max(1.0, own, shifted)
    p_values = stats.chi2.sf(chi2 / scale, dof)
    null = null[null > 0]
    if len(null):
        # The surrogates are brought to the median of the pairs, so that only the form of their tail counts here.
        p_values = np.maximum(p_values, tail_p_values(chi2, null * (scale / max(1.0, shifted))))
    return scale, np.where(testable, p_values, 1.0)


def tail_p_values(chi2: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Share of the null that reaches as far: counted up to its 99 % quantile, by a generalised Pareto tail beyond.

    Args:
        chi2: (P,).
        null: (M,); with too few of them for a tail, the share (1 + reached) / (1 + M).

    Returns:
        (P,).
    """
    ordered = np.sort(null)
    p_values = (1 + len(ordered) - np.searchsorted(ordered, chi2, side="left")) / (1 + len(ordered))
    threshold = float(np.quantile(ordered, TAIL))
    excess = ordered[ordered > threshold] - threshold
    if len(excess) >= LEAST_TAIL:
        shape, _, width = stats.genpareto.fit(excess, floc=0)
        beyond = chi2 > threshold
        p_values[beyond] = (1 - TAIL) * stats.genpareto.sf(chi2[beyond] - threshold, shape, scale=width)
    return p_values


def _by_pair(values: np.ndarray, n_heads_axes: int) -> np.ndarray:
    """Move the leading head axes behind the pair: (H, …, N, N) → (N, N, H, …)."""
    return np.moveaxis(values, list(range(n_heads_axes)), [2 + k for k in range(n_heads_axes)])


def _inverse(information: np.ndarray) -> np.ndarray:
    """Inverse of (…, H, H) curvatures; zeros where a pair has no information."""
    heads = information.shape[-1]
    mean = np.trace(information, axis1=-2, axis2=-1) / heads
    enough = mean > 1e-9
    safe = np.where(enough, mean, 1.0)[..., None, None] * np.eye(heads)
    inverse = np.linalg.inv(
        np.where(enough[..., None, None], information, 0)
        + np.where(enough[..., None, None], RIDGE * safe, safe)
    )
    return np.where(enough[..., None, None], inverse, 0.0)
