"""A chain of layers: every edge leads from a layer to the next.

A synfire chain, in which a volley travels from layer to layer (Abeles 1991, *Corticonics*, chapter 7; Diesmann,
Gewaltig & Aertsen 1999, Nature 402:529). Neurons of both types reach the next layer, so each volley brings its
own inhibition.
"""

from dataclasses import dataclass

import numpy as np

from simulate.checks import require
from simulate.wirings.sketch import Population, Sketch, scaled_to_density, toss


@dataclass(kw_only=True)
class FeedForwardConfig:
    """The layers of `wiring.kind=feed_forward`."""

    layers: int = 6
    """Number of layers, 2 or more."""

    def __post_init__(self) -> None:
        require(self, "layers", lambda v: v >= 2, "2 or more", section="wiring.feed_forward.")


def feed_forward(
    config: FeedForwardConfig, *, density: float, population: Population, rng: np.random.Generator
) -> Sketch:
    """Connect each neuron to those of the next layer, all with the same probability; see `simulate.wirings`.

    Raises:
        UserError: There are not enough pairs of consecutive layers for the density.
    """
    layer = np.floor(config.layers * population.spread()).astype(np.int64)
    consecutive = (layer[None, :] == layer[:, None] + 1).astype(float)
    probability = scaled_to_density(
        consecutive, density, cure="lower wiring.density or wiring.feed_forward.layers"
    )
    return Sketch(connected=toss(probability, rng), places={"layer": layer})
