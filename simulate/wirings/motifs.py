r"""More (or fewer) pairs of edges that share a neuron than chance has: SONETs.

Second-order networks of Zhao, Beverlin, Netoff & Nykamp 2011, Front. Comput. Neurosci. 5:28. With density p, each
of four pairs of edges occurs (1 + α) p² of the time, α its excess over independent edges:

    reciprocal  i → j, j → i        convergent  i → k, j → k
    divergent   i → j, i → k        chain       i → j, j → k

As there, an edge is where a Gaussian exceeds a threshold, and correlated Gaussians make the pairs:

    x_ij = u_i + v_j + ε_ij,  variance 1;   i → j if x_ij > t, P(x > t) = p

    correlation of a pair:  divergent Var u,  convergent Var v,  chain Cov(u_i, v_i),
                            reciprocal 2 Cov(u_i, v_i) + Cov(ε_ij, ε_ji)

Each correlation follows from its α through P(both > t; ρ) = p² + ∫_0^asin(ρ) exp(-t² / (1 + sin φ)) dφ / 2π. Only
reciprocal and chain pairs can be rarer than chance here. The four times as many reciprocal pairs of Song, Sjöström,
Reigl, Nelson & Chklovskii 2005, PLoS Biol. 3:e68, are `reciprocal=3`.
"""

from dataclasses import dataclass

import numpy as np
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

from neuroformer.errors import UserError
from simulate.checks import not_negative, require
from simulate.wirings.sketch import Population, Sketch


@dataclass(kw_only=True)
class MotifsConfig:
    """The pairs of edges of `wiring.kind=motifs`; 0: as often as by chance, 1: twice as often."""

    reciprocal: float = 3.0
    """Excess of pairs of neurons that are connected both ways."""
    convergent: float = 0.3
    """Excess of pairs of edges onto the same neuron; 0 or more."""
    divergent: float = 0.3
    """Excess of pairs of edges from the same neuron; 0 or more."""
    chain: float = 0.2
    """Excess of pairs of edges one of which begins where the other ends."""

    def __post_init__(self) -> None:
        above = "a number above -1, where such pairs never occur"
        require(self, "reciprocal chain", lambda v: v > -1, above, section="wiring.motifs.")
        not_negative(self, "convergent divergent", section="wiring.motifs.")


def joint_probability(threshold: float, correlation: float) -> float:
    """P(x > t, y > t) of two standard normal numbers of a correlation; Zhao et al. 2011, appendix."""

    def density(angle: float) -> float:
        return np.exp(-(threshold**2) / (1 + np.sin(angle))) / (2 * np.pi) if angle > -np.pi / 2 else 0.0

    return float(norm.sf(threshold) ** 2 + quad(density, 0.0, np.arcsin(correlation))[0])


def correlation_for(excess: float, *, p: float, name: str) -> float:
    """Correlation at which two edges of probability p occur together (1 + excess) p² of the time.

    Raises:
        UserError: No correlation does; with the name of the setting and its range.
    """
    if excess == 0:
        return 0.0
    threshold = float(norm.isf(p))
    lowest, highest = (joint_probability(threshold, bound) / p**2 - 1 for bound in (-1.0, 1.0))
    if not lowest <= excess <= highest:
        raise UserError(
            f"wiring.motifs.{name}={excess:g}: expected {lowest:.2f} to {highest:.2f} at wiring.density={p:g}"
        )
    return float(brentq(lambda r: joint_probability(threshold, r) / p**2 - 1 - excess, -1.0, 1.0))


def motifs(
    config: MotifsConfig, *, density: float, population: Population, rng: np.random.Generator
) -> Sketch:
    """Connect so that pairs of edges occur as often as asked; see `simulate.wirings`.

    Raises:
        UserError: No network has all four excesses at this density.
    """
    n = population.n
    if not 0 < density < 1:
        raise UserError(f"wiring.density={density:g}: expected between 0 and 1 with wiring.kind=motifs")
    rho = {name: correlation_for(getattr(config, name), p=density, name=name) for name in vars(config)}
    rest = 1 - rho["divergent"] - rho["convergent"]  # Var ε
    mirrored = rho["reciprocal"] - 2 * rho["chain"]  # Cov(ε_ij, ε_ji)
    if rho["chain"] ** 2 > rho["divergent"] * rho["convergent"]:
        raise UserError(
            f"wiring.motifs.chain={config.chain:g}: expected nearer to 0; chains need neurons with many "
            "edges in and out, so raise wiring.motifs.convergent and wiring.motifs.divergent, or lower it"
        )
    if abs(mirrored) > rest:
        raise UserError(
            f"wiring.motifs.reciprocal={config.reciprocal:g}: no network has that many reciprocal pairs "
            "beside the other motifs; bring it nearer to 2 * wiring.motifs.chain, or the others nearer to 0"
        )
    covariance = [[rho["divergent"], rho["chain"]], [rho["chain"], rho["convergent"]]]
    out, into = rng.multivariate_normal([0.0, 0.0], covariance, n).T
    noise = rng.standard_normal((n, n))
    # a ε + b ε' has the variance a² + b² = Var ε and the covariance 2ab with its mirror image
    plus, minus = np.sqrt(rest + mirrored), np.sqrt(rest - mirrored)
    noise = (plus + minus) / 2 * noise + (plus - minus) / 2 * noise.T
    connected = out[:, None] + into[None, :] + noise > norm.isf(density)
    np.fill_diagonal(connected, False)
    return Sketch(connected=connected)
