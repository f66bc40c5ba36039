"""Several animals that share a rule: the same settings, each with a circuit and a recording of its own.

The rule is what the settings say: densities, weights, delays, kinds of neurons, tuning, indicator. Which neurons
were sampled, how they are wired and what happened differ from animal to animal, as if one had recorded other
cells in each. No unit is recorded in two animals, so the files have no `global_id`.
"""

import copy
from typing import TypeVar

import numpy as np

from simulate.config import CircuitConfig
from simulate.streams import ANIMALS

Config = TypeVar("Config", bound=CircuitConfig)


def animal_config(config: Config, animal: int) -> Config:
    """The settings of animal 0, 1, …: the same but for the seed, which follows from both numbers alone."""
    own = copy.copy(config)
    seeds = np.random.SeedSequence(config.seed, spawn_key=(ANIMALS, animal))
    own.seed = int(seeds.generate_state(1)[0])
    return own
