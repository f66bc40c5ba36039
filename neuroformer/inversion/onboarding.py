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
UNLABELLED = 0.4
"""What a bin whose behaviour is inferred counts beside a labelled one: its behaviour may be inferred wrongly, and a
session may hold other maps of the same track. Chosen on mouse CA1 by the log-probability of the true position."""
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

    def evidence(self, events: np.ndarray) -> np.ndarray:
        """(T, S) log p(events of a bin | state), up to a constant per bin, from (T, U) events.

        At the posterior mean: with E exp(η) in its place, units without an event so far would have rates that rise with
        their uncertainty, and states that no label has visited would be ruled out by their silence.
        """
        log_rate = self.log_rate()
        found: np.ndarray = events @ log_rate - np.exp(log_rate).sum(0)
        return found


def wide_prior(features: np.ndarray, rate: float) -> TuningPrior:
    """Before anything is learned: log-rates that vary by a factor of e over the states, about a common rate.

    Args:
        features: (S, D).
        rate: events per bin and unit.
    """
    length = np.square(features[:-1, 1:]).sum(1).mean()
    variance = np.full(features.shape[1], 1 / max(length, 1e-9))
    variance[0] = 1.0
    mean = np.zeros(features.shape[1])
    mean[0] = np.log(max(rate, 1e-9))
    return TuningPrior(mean=mean, covariance=np.diag(variance))


def learn_prior(
    sessions: Sequence[tuple[np.ndarray, np.ndarray]], features: np.ndarray, *, rounds: int = 6
) -> TuningPrior:
    """Mean and covariance of the weights of all units, by expectation-maximisation.

    Args:
        sessions: (U, S) events and (S,) bins of each state, for each session.
        features: (S, D).
        rounds: of expectation-maximisation.
    """
    events = sum(float(counts.sum()) for counts, _ in sessions)
    time = sum(float(occupancy.sum()) * len(counts) for counts, occupancy in sessions)
    prior = wide_prior(features, (events + 0.5) / max(time, 1.0))
    tunings: list[Tuning | None] = [None] * len(sessions)
    for _ in range(rounds):
        means, within, n = [], np.zeros_like(prior.covariance), 0
        for k, (counts, occupancy) in enumerate(sessions):
            found = fit_tuning(counts, occupancy, features, prior, start=tunings[k])
            tunings[k] = found
            means.append(found.mean)
            within += np.linalg.inv(found.precision).sum(0)
            n += len(counts)
        together = np.concatenate(means)
        centred = together - together.mean(0)
        covariance = (centred.T @ centred + within) / n
        prior = TuningPrior(mean=together.mean(0), covariance=covariance + 1e-9 * np.eye(len(covariance)))
    return prior


def labelled_counts(recording: Recording, grid: Grid, *, n_states: int) -> tuple[np.ndarray, np.ndarray]:
    """(U, S) events and (S,) bins of each state in the labelled bins of the training part."""
    counts, occupancy = np.zeros((recording.session.n_units, n_states)), np.zeros(n_states)
    for span in recording.part("train"):
        cells = grid.cells({name: recording.variable(name, span) for name in grid.names})
        add_labelled(recording.counts(span).astype(float), cells, counts, occupancy)
    return counts, occupancy


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
    evidence: float = 1.0,
    unlabelled: float = UNLABELLED,
) -> Tuning:
    """The tuning of a session's units from its training part.

    Args:
        model: whose features are used.
        recording: the session.
        grid: of the decoded variables.
        motion: how behaviour moves, counted in labels of other animals.
        prior: of the tuning.
        rounds: of expectation-maximisation over bins without labels; 0 uses labels alone.
        evidence: exponent of the likelihood of a bin's events. Events of neighbouring bins and of different units are
            not independent given behaviour, so that 1 is overconfident.
        unlabelled: what a bin whose behaviour is inferred counts beside a labelled one.
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
        soft_counts, soft_occupancy = expected(stretches, tuning, chain, evidence)
        tuning = fit_tuning(
            counts + unlabelled * (soft_counts - counts),
            occupancy + unlabelled * (soft_occupancy - occupancy),
            features,
            prior,
            start=tuning,
        )
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
    stretches: Sequence[tuple[np.ndarray, np.ndarray]], tuning: Tuning, chain: Motion, evidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """(U, S) events and (S,) bins of each state, where behaviour is unknown by its posterior."""
    counts, occupancy = np.zeros((len(tuning.mean), len(tuning.features))), np.zeros(len(tuning.features))
    for events, cells in stretches:
        score = evidence * tuning.evidence(events)
        hold_labels(score, cells)
        filtered, _ = forward(score, chain)
        weight = smooth(score, chain, filtered)
        counts += events.T @ weight
        occupancy += weight.sum(0)
    return counts, occupancy


def hold_labels(score: np.ndarray, cells: np.ndarray) -> None:
    """Leave only the labelled state possible in labelled bins: (T, S) scores, changed in place, (T,) cells or −1."""
    labelled = np.nonzero(cells >= 0)[0]
    score[labelled] = -1e6
    score[labelled, cells[labelled]] = 0


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
