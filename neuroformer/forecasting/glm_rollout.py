"""Monte-Carlo rollouts of a session's Poisson GLM, bin by bin.

Legend: M rollouts at once, L lags, N units, H kernels.
"""

from __future__ import annotations

import numpy as np
import torch

from neuroformer.baselines.glm import PoissonGLM
from neuroformer.forecasting.problem import Forecast, Problem

_CELLS = 2**24  # counts of the past held at once


def glm_rollout(problem: Problem, glm: PoissonGLM, *, samples: int, seed: int) -> Forecast:
    """Mean over rollouts of each bin's intensity, given the events drawn before it.

    An intensity does not rise above the most events that the unit had in a bin of the training part (1 at least).

    Args:
        problem: of counts.
        glm: fitted to the session.
        samples: rollouts from each origin.
        seed: of what is drawn.
    """
    series = problem.series
    counts = [np.rint(series.stored(values)) for values in series.values]
    most = np.ones(series.n_units)
    for span in series.recording.part("train"):
        most = np.maximum(most, counts[span.epoch][span.start : span.stop].max(0))
    with torch.no_grad():
        own = (glm.history @ glm.basis).double().numpy()  # (N, Lh)
        kernels = glm.kernels().double().numpy()  # (H, Lc)
        pairs = (glm.pairs * (1 - torch.eye(glm.n_units))).double().numpy()  # (H, N, N)
        bias = glm.bias.double().numpy()
    lags = glm.context
    rows = problem.origins
    found = np.empty(problem.truth.shape)
    group = max(1, _CELLS // (samples * lags * series.n_units))
    for first in range(0, len(rows), group):
        chosen = rows[first : first + group]
        past = np.stack([_past(counts[e], t, lags) for e, t in zip(chosen.epoch, chosen.at, strict=True)])
        rng = np.random.default_rng([seed, first])
        found[first : first + group] = roll(
            past, own=own, kernels=kernels, pairs=pairs, bias=bias, most=most,
            horizon=problem.horizon, samples=samples, rng=rng,
        )  # fmt: skip
    return Forecast((found - series.mean) / series.scale)


def _past(counts: np.ndarray, at: int, lags: int) -> np.ndarray:
    """(L, N) counts of the bins up to `at`, the latest first; 0 before the epoch."""
    found = np.zeros((lags, counts.shape[1]))
    got = counts[max(0, at + 1 - lags) : at + 1][::-1]
    found[: len(got)] = got
    return found


def roll(
    past: np.ndarray,
    *,
    own: np.ndarray,
    kernels: np.ndarray,
    pairs: np.ndarray,
    bias: np.ndarray,
    most: np.ndarray,
    horizon: int,
    samples: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """(O, horizon, N) expected counts.

    Args:
        past: (O, L, N) counts, the latest first.
        own: (N, Lh) filter of own history, lag 1 first.
        kernels: (H, Lc) of the couplings.
        pairs: (H, N, N) couplings [source, target].
        bias: (N,).
        most: (N,) ceiling of the intensities.
        horizon: bins.
        samples: rollouts from each past.
        rng: of what is drawn.
    """
    n_origins, _, n_units = past.shape
    state = np.repeat(past, samples, 0)  # (M, L, N)
    found = np.empty((n_origins, horizon, n_units))
    for h in range(horizon):
        log_intensity = bias + np.einsum("mln,nl->mn", state[:, : own.shape[1]], own)
        for kernel, pair in zip(kernels, pairs, strict=True):
            log_intensity += np.tensordot(state[:, : len(kernel)], kernel, ([1], [0])) @ pair
        intensity = np.minimum(np.exp(np.minimum(log_intensity, 30)), most)
        found[:, h] = intensity.reshape(n_origins, samples, n_units).mean(1)
        state = np.concatenate([rng.poisson(intensity)[:, None], state[:, :-1]], 1)
    return found
