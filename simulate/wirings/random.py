"""Random wiring, with hubs or without (Erdős & Rényi 1959, Publ. Math. Debrecen 6:290).

Neuron i reaches each other neuron with probability min(1, density · q_i); q_i is 1 without hubs, and Pareto
distributed with mean 1 with them, so that a few neurons have very many targets.
"""

import numpy as np

from simulate.wirings.sketch import Population, Sketch, toss


def random(
    hub_exponent: float | None, *, density: float, population: Population, rng: np.random.Generator
) -> Sketch:
    """Connect each pair on its own; see `simulate.wirings`.

    Args:
        hub_exponent: Tail exponent, above 1, of the Pareto law; None: no hubs.
        density: Expected fraction of pairs that are connected.
        population: The neurons.
        rng: The stream of the edges.
    """
    n = population.n
    hubness = np.ones(n)
    if hub_exponent is not None:
        smallest = (hub_exponent - 1) / hub_exponent
        hubness = smallest * (1 - rng.random(n)) ** (-1 / hub_exponent)
    return Sketch(connected=toss(np.broadcast_to(density * hubness[:, None], (n, n)), rng))
