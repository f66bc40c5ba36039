"""Random streams of the parts of a simulation, each its own, so that a new part changes no old circuit.

`SeedSequence(seed).spawn(n)` gives the streams in this order; `stream` gives one of them by its index.
"""

import numpy as np

STATES = 6
STIMULUS = 7
BEHAVIOR = 8
CALCIUM = 9
ANIMALS = 10
WHOLE_BRAIN = 11


def stream(seed: int, index: int) -> np.random.Generator:
    """The generator of one part: that of child `index` of the seed, whatever the number of children."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))
