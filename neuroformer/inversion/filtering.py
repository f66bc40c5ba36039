"""Forward (causal) and forward–backward posteriors of a Markov chain on a grid, and its likelihood.

Rabiner 1989, Proc. IEEE 77:257; scaled, so that nothing underflows.
"""

from __future__ import annotations

import numpy as np

from neuroformer.data.motion import Motion


def forward(log_likelihood: np.ndarray, motion: Motion) -> tuple[np.ndarray, float]:
    """p(cell at t | events up to t), and the log-likelihood of all.

    Args:
        log_likelihood: (T, G) log p(events of bin t | cell, past), up to a constant per bin.
        motion: the chain.

    Returns:
        (T, G) probabilities, and nats.
    """
    found = np.empty(log_likelihood.shape)
    prior, total = motion.start, 0.0
    peak = log_likelihood.max(1)
    likelihood = np.exp(log_likelihood - peak[:, None])
    for t, here in enumerate(likelihood):
        joint = prior * here
        norm = joint.sum()
        found[t] = joint / norm
        total += float(np.log(norm) + peak[t])
        prior = found[t] @ motion.step
    return found, total


def smooth(log_likelihood: np.ndarray, motion: Motion, filtered: np.ndarray | None = None) -> np.ndarray:
    """p(cell at t | all events): (T, G). Arguments as `forward`, whose posterior is computed if not given."""
    filtered = forward(log_likelihood, motion)[0] if filtered is None else filtered
    found = filtered.copy()
    for t in range(len(found) - 2, -1, -1):
        # A cell that cannot be reached has probability 0 after, too; 0/0 must not spread.
        predicted = np.maximum(filtered[t] @ motion.step, 1e-300)
        found[t] = filtered[t] * (motion.step @ (found[t + 1] / predicted))
        found[t] /= found[t].sum()
    return found


def sample_path(filtered: np.ndarray, motion: Motion, generator: np.random.Generator) -> np.ndarray:
    """A path drawn from p(all cells | all events), by filtering forward and drawing backward: (T,) cells.

    Args:
        filtered: (T, G) from `forward`.
        motion: the chain.
        generator: the draws.
    """
    path = np.empty(len(filtered), np.int64)
    draws = generator.random(len(filtered))
    weight = filtered[-1]
    for t in range(len(filtered) - 1, -1, -1):
        if t < len(filtered) - 1:
            weight = filtered[t] * motion.step[:, path[t + 1]]
        total = weight.cumsum()
        path[t] = min(int(np.searchsorted(total, draws[t] * total[-1], side="right")), len(total) - 1)
    return path
