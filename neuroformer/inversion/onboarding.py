"""A new animal without a gradient step: each unit's tuning by Bayes, under the prior learned on other animals.

A unit's log-rate is b + w · g(cell); the (b, w) of the units that the model knows have a mean and a covariance: these
are the prior of a new unit (a Gaussian process over behaviour whose kernel was learned on other animals). Labelled bins
give its posterior by Newton's method (Laplace). Bins without labels are used by expectation-maximisation: their
behaviour is inferred with the present tuning and the motion prior (forward–backward), then the tuning is fitted again
with expected occupancies; labels stay as they are. Paninski et al. 2004 (J Neurophysiol 91) for the concave likelihood,
Dempster et al. 1977 for EM, Rabiner 1989 for forward–backward.

Legend: T bins, U units, S states (the G cells and, last, unknown behaviour), D = 1 + F weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from neuroformer.data import Recording
from neuroformer.data.grid import Grid
from neuroformer.data.motion import Motion, MotionCounts, make_motion, with_unknown
from neuroformer.inversion.filtering import forward, smooth
from neuroformer.inversion.likelihood import cell_features
from neuroformer.model import Neuroformer

_NEWTON_STEPS = 20
_LARGEST_STEP = 2.0  # of any weight, so that a unit with one event does not run away


@dataclass(frozen=True, kw_only=True)
class TuningPrior:
    """What units of known animals are like.

    Attributes:
        mean: (D,) of the log-rate per bin and the weights.
        covariance: (D, D).
    """

    mean: np.ndarray
    covariance: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """Posterior of the units' tuning.

    Attributes:
        mean: (U, D).
        precision: (U, D, D).
        features: (S, D) of the states.
    """

    mean: np.ndarray
    precision: np.ndarray
    features: np.ndarray

    def log_rate(self) -> np.ndarray:
        """(U, S) expected log-rate."""
        found: np.ndarray = self.mean @ self.features.T
        return found

    def rate(self) -> np.ndarray:
        """(U, S) expected rate, larger where the tuning is uncertain: E exp(η) = exp(mean + variance / 2)."""
        covariance = np.linalg.inv(self.precision)
        variance = np.einsum("sd,ude,se->us", self.features, covariance, self.features, optimize=True)
        found: np.ndarray = np.exp(self.log_rate() + 0.5 * variance)
        return found


@torch.no_grad()
def tuning_prior(model: Neuroformer, n_rows: int) -> TuningPrior:
    """From the first `n_rows` units of the vocabulary."""
    path = model.context_path
    assert path is not None
    weights = (
        torch.cat([model.bias[:n_rows, None], path.tuning.mean[:n_rows] + path.common], 1).double().numpy()
    )
    own = np.zeros(weights.shape[1])
    own[1:] = path.tuning.variance[:n_rows].mean(0).double().numpy()
    return TuningPrior(mean=weights.mean(0), covariance=np.cov(weights.T) + np.diag(own + 1e-6))


def fit_tuning(
    counts: np.ndarray,
    occupancy: np.ndarray,
    features: np.ndarray,
    prior: TuningPrior,
    start: Tuning | None = None,
) -> Tuning:
    """Laplace posterior of each unit's weights from events and time in each state.

    Args:
        counts: (U, S) events of each unit in each state, expected or observed.
        occupancy: (S,) bins in each state.
        features: (S, D), the first column 1.
        prior: of the weights.
        start: where to begin; by default at the prior's mean.
    """
    inverse = np.linalg.inv(prior.covariance)
    weight = np.tile(prior.mean, (len(counts), 1)) if start is None else start.mean.copy()
    observed = counts @ features
    for _ in range(_NEWTON_STEPS):
        rate = np.exp(np.clip(weight @ features.T, -30, 10)) * occupancy
        gradient = observed - rate @ features - (weight - prior.mean) @ inverse
        hessian = np.matmul(features.T * rate[:, None], features) + inverse
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        largest = np.abs(step).max(1, keepdims=True)
        weight += step * np.minimum(1, _LARGEST_STEP / np.maximum(largest, 1e-12))
        if largest.max() < 1e-4:
            break
    rate = np.exp(np.clip(weight @ features.T, -30, 10)) * occupancy
    return Tuning(
        mean=weight, precision=np.matmul(features.T * rate[:, None], features) + inverse, features=features
    )


def infer_tuning(
    model: Neuroformer,
    recording: Recording,
    grid: Grid,
    motion: MotionCounts,
    prior: TuningPrior,
    *,
    rounds: int,
) -> Tuning:
    """The tuning of a session's units from its training part.

    Args:
        model: whose features are used.
        recording: the session.
        grid: of the decoded variables.
        motion: how behaviour moves, counted in labels of other animals.
        prior: of the tuning.
        rounds: of expectation-maximisation over bins without labels; 0 uses labels alone.
    """
    features = state_features(model, grid)
    stretches = []
    for span in recording.part("train"):
        cells = grid.cells({name: recording.variable(name, span) for name in grid.names})
        stretches.append((recording.counts(span).astype(float), cells))
    n_units, n_states = recording.session.n_units, len(features)
    counts, occupancy = np.zeros((n_units, n_states)), np.zeros(n_states)
    for events, cells in stretches:
        add_labelled(events, cells, counts, occupancy)
    tuning = fit_tuning(counts, occupancy, features, prior)
    chain = with_unknown(make_motion(grid, motion), motion)
    for _ in range(rounds):
        counts, occupancy = expected(stretches, tuning, chain)
        tuning = fit_tuning(counts, occupancy, features, prior, start=tuning)
    return tuning


def state_features(model: Neuroformer, grid: Grid) -> np.ndarray:
    """(S, D) features of every cell and of unknown behaviour, with a first column of 1."""
    with torch.no_grad():
        found = cell_features(model, grid).double().numpy()
    found = np.concatenate([found, np.zeros((1, found.shape[1]))])
    return np.concatenate([np.ones((len(found), 1)), found], 1)


def add_labelled(events: np.ndarray, cells: np.ndarray, counts: np.ndarray, occupancy: np.ndarray) -> None:
    """Add a stretch's labelled bins to the (U, S) events and (S,) bins of each state."""
    known = cells >= 0
    np.add.at(counts.T, cells[known], events[known])
    occupancy += np.bincount(cells[known], minlength=len(occupancy))


def expected(
    stretches: Sequence[tuple[np.ndarray, np.ndarray]], tuning: Tuning, chain: Motion
) -> tuple[np.ndarray, np.ndarray]:
    """(U, S) events and (S,) bins of each state, where behaviour is unknown by its posterior."""
    log_rate, total = tuning.log_rate(), tuning.rate().sum(0)
    counts, occupancy = np.zeros_like(log_rate), np.zeros(len(total))
    for events, cells in stretches:
        evidence = events @ log_rate - total
        labelled = np.nonzero(cells >= 0)[0]
        evidence[labelled] = -1e6
        evidence[labelled, cells[labelled]] = 0
        filtered, _ = forward(evidence, chain)
        weight = smooth(evidence, chain, filtered)
        counts += events.T @ weight
        occupancy += weight.sum(0)
    return counts, occupancy


@torch.no_grad()
def set_tuning(model: Neuroformer, rows: torch.Tensor, tuning: Tuning) -> None:
    """Make a posterior the model's: its means, and the variances of the factorised posterior nearest to it."""
    path = model.context_path
    assert path is not None
    dtype = path.common.dtype
    model.bias[rows] = torch.as_tensor(tuning.mean[:, 0], dtype=dtype)
    path.tuning.mean[rows] = torch.as_tensor(tuning.mean[:, 1:], dtype=dtype) - path.common
    diagonal = np.diagonal(tuning.precision, axis1=1, axis2=2)[:, 1:]
    path.tuning.log_scale[rows] = torch.as_tensor(-0.5 * np.log(diagonal), dtype=dtype)
