"""A Markov motion prior on cells or classes, and what it makes of evidence: forward, and forward–backward.

Rabiner 1989 (Proc. IEEE 77:257), scaled by each step's sum; for position from hippocampal spikes, Zhang et al. 1998
(J. Neurophysiol. 79:1017) put a motion prior into naive Bayes.
"""

from __future__ import annotations

import numpy as np

_BACKGROUND = 1e-4  # of a jump to anywhere
_TYPICAL = 5.0  # visits that the animal's typical displacement counts for in each cell


def transitions(pairs: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """(G, G) probability of the next cell, `[from, to]`, rows summing to 1.

    What was seen in a cell, the displacements seen anywhere, and a uniform background, so that a cell that was never
    visited has a prior too.

    Args:
        pairs: (n, 2) cells of neighbouring labelled bins.
        steps: (G, G) number of the displacement between cells, as from `Grid.steps`.
    """
    n_cells = len(steps)
    seen = np.zeros((n_cells, n_cells))
    np.add.at(seen, (pairs[:, 0], pairs[:, 1]), 1)
    frequency = np.bincount(steps[pairs[:, 0], pairs[:, 1]], minlength=int(steps.max()) + 1).astype(float)
    frequency[steps[0, 0]] += 1  # to stay is always possible
    typical = frequency[steps]
    typical /= typical.sum(1, keepdims=True)
    found = seen + _TYPICAL * typical
    found /= found.sum(1, keepdims=True)
    return (1 - _BACKGROUND) * found + _BACKGROUND / n_cells


def filtered(
    log_likelihood: np.ndarray, matrix: np.ndarray, initial: np.ndarray, *, smooth: bool
) -> np.ndarray:
    """Posterior over cells in each bin.

    Args:
        log_likelihood: (..., T, G) of each bin by itself, up to a constant a bin.
        matrix: (G, G) transitions, all above 0.
        initial: (G,) distribution in the first bin, above 0 somewhere.
        smooth: use later bins too.

    Returns:
        (..., T, G), each bin summing to 1.
    """
    likelihood = np.exp(log_likelihood - log_likelihood.max(-1, keepdims=True))
    found = np.empty_like(likelihood)
    n_bins = likelihood.shape[-2]
    prior = np.broadcast_to(initial, likelihood.shape[:-2] + initial.shape)
    for t in range(n_bins):
        now = prior * likelihood[..., t, :]
        now /= now.sum(-1, keepdims=True)
        found[..., t, :] = now
        prior = now @ matrix
    if smooth:
        after = np.ones_like(prior)
        for t in range(n_bins - 2, -1, -1):
            after = (likelihood[..., t + 1, :] * after) @ matrix.T
            after /= after.max(-1, keepdims=True)
            both = found[..., t, :] * after
            found[..., t, :] = both / both.sum(-1, keepdims=True)
    return found
