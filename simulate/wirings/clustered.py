"""Clusters of excitatory neurons: more and stronger edges inside than between them.

Litwin-Kumar & Doiron 2012, Nat. Neurosci. 15:1498: excitatory pairs of a cluster are `ratio` times as often
connected as those of two clusters (there R_EE = 2.5, at an unchanged mean), and their weights are `strength` times
as large (there 1.9); whatever has an inhibitory end is uniform. There, clusters take turns in being active.
"""

from dataclasses import dataclass

import numpy as np

from simulate.checks import above_zero, require
from simulate.wirings.sketch import Population, Sketch, scaled_to_density, toss


@dataclass(kw_only=True)
class ClusteredConfig:
    """The clusters of `wiring.kind=clustered`."""

    n: int = 4
    """Number of clusters, which share the excitatory neurons evenly."""
    ratio: float = 2.5
    """How many times as often two excitatory neurons are connected inside a cluster as across clusters."""
    strength: float = 1.9
    """By which the weights of edges inside a cluster are multiplied."""

    def __post_init__(self) -> None:
        require(self, "n", lambda v: v >= 1, "1 or more", section="wiring.clustered.")
        above_zero(self, "ratio strength", section="wiring.clustered.")


def clustered(
    config: ClusteredConfig, *, density: float, population: Population, rng: np.random.Generator
) -> Sketch:
    """Connect the excitatory neurons by cluster; see `simulate.wirings`. Inhibitory neurons are in cluster -1."""
    cluster = np.floor(config.n * population.spread()).astype(np.int64)
    cluster[population.inhibitory] = -1
    excitatory = np.flatnonzero(~population.inhibitory)
    pairs = np.ix_(excitatory, excitatory)
    inside = np.zeros((population.n, population.n), bool)
    inside[pairs] = cluster[excitatory][:, None] == cluster[excitatory]
    profile = np.where(inside[pairs], config.ratio, 1.0)
    np.fill_diagonal(profile, 0.0)
    probability = np.full(inside.shape, density)
    probability[pairs] = scaled_to_density(profile, density, cure="lower it")
    return Sketch(
        connected=toss(probability, rng),
        strength=np.where(inside, config.strength, 1.0),
        places={"cluster": cluster},
    )
