"""Probes: from the features of labelled animals to a score of every label for the units of another animal.

Everything that a probe is tuned by (penalty, neighbours, weight of the graph) is chosen within the animals it learns
from, by leaving out one of them in turn. A = units to learn from, U = units asked, F = features, C = labels.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

PENALTIES = (0.003, 0.03, 0.3)
NEIGHBOURS = (1, 3, 5, 9, 15)
_SHRINKAGE = 0.3
_COMPONENTS = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Labelled:
    """Units whose label is known.

    Attributes:
        values: (A, F) features.
        label: (A,) int64, index of the label.
        animal: (A,) text.
    """

    values: np.ndarray
    label: np.ndarray
    animal: np.ndarray

    def rows(self, chosen: np.ndarray) -> Labelled:
        """Some of the units."""
        return Labelled(values=self.values[chosen], label=self.label[chosen], animal=self.animal[chosen])


Scorer = Callable[[Labelled, np.ndarray], np.ndarray]
"""(training units, (U, F) features) → (U, C) score of every label, -inf for labels that no training unit has."""
Tunable = Callable[[Labelled, np.ndarray], Callable[[float], np.ndarray]]
"""The same, with a setting still to be given: (training units, features) → setting → scores."""


def tune(training: Labelled, settings: Sequence[float], probe: Tunable, *, default: float) -> float:
    """The setting whose scores tell most of left-out training animals: mean over labels of the log-probability.

    Args:
        training: units of the animals to learn from.
        settings: to choose from.
        probe: its scores are log-probabilities.
        default: taken where there is only one animal to learn from.
    """
    labels, values = [], []
    for inner, left in _inner_folds(training):
        known = np.isin(left.label, inner.label)
        if not known.any():
            continue
        with_setting = probe(inner, left.values[known])
        label = left.label[known]
        labels.append(label)
        values.append(np.stack([with_setting(s)[np.arange(len(label)), label] for s in settings]))
    if not labels:
        return default
    label, value = np.concatenate(labels), np.concatenate(values, 1)
    found = np.mean([value[:, label == k].mean(1) for k in np.unique(label)], axis=0)
    return settings[int(found.argmax())]


def _inner_folds(training: Labelled) -> Iterator[tuple[Labelled, Labelled]]:
    animals = np.unique(training.animal)
    if len(animals) < 2:
        return
    for animal in animals:
        out = training.animal == animal
        yield training.rows(~out), training.rows(out)


def linear_probe(n_labels: int) -> Scorer:
    """Multinomial logistic regression with an L2 penalty, labels weighted to count the same.

    Features are standardised and turned onto at most 64 principal components of the training units, for speed.
    """

    def prepare(training: Labelled, values: np.ndarray) -> Callable[[float], np.ndarray]:
        mean, spread = training.values.mean(0), training.values.std(0)
        spread = np.where(spread > 1e-12, spread, np.inf)
        known, asked = (training.values - mean) / spread, (values - mean) / spread
        _, _, axes = np.linalg.svd(known, full_matrices=False)
        known, asked = known @ axes[:_COMPONENTS].T, asked @ axes[:_COMPONENTS].T
        present = np.unique(training.label)

        def score(strength: float) -> np.ndarray:
            scores = np.full((len(values), n_labels), -np.inf)
            if len(present) < 2:
                scores[:, present] = 0.0
                return scores
            regression = LogisticRegression(C=strength, class_weight="balanced", max_iter=200, tol=1e-2)
            with warnings.catch_warnings():
                # Stopped early is regularised a little more; the penalty was chosen under the same limit.
                warnings.simplefilter("ignore", ConvergenceWarning)
                regression.fit(known, training.label)
            scores[:, regression.classes_] = regression.predict_log_proba(asked)
            return scores

        return score

    return _tuned(prepare, PENALTIES, default=PENALTIES[1])


def nearest_neighbours(n_labels: int) -> Scorer:
    """Nearest neighbours in the features whitened by their scatter within labels (`ClassSpace`).

    A label's score is the log-share of the votes of the k nearest units, each weighted by the inverse of how many
    training units its label has; labels without a vote follow in order of their nearest unit.
    """

    def prepare(training: Labelled, values: np.ndarray) -> Callable[[float], np.ndarray]:
        space = ClassSpace(training, n_labels)
        there, here = space.project(training.values), space.project(values)
        square = (here**2).sum(1)[:, None] + (there**2).sum(1) - 2 * here @ there.T
        distance = np.sqrt(square.clip(0))
        order = np.argsort(distance, 1, kind="stable")
        weight, seen = 1 / space.count[training.label], space.count > 0
        closest = np.full((len(values), n_labels), np.inf)
        for label in np.unique(training.label):
            closest[:, label] = distance[:, training.label == label].min(1)

        def score(k: float) -> np.ndarray:
            nearest = order[:, : int(k)]
            votes = np.zeros((len(values), n_labels))
            np.add.at(votes, (np.arange(len(values))[:, None], training.label[nearest]), weight[nearest])
            share = votes / votes.sum(1, keepdims=True)
            # Half a vote spread over all labels keeps the logarithm finite; distance decides among equals.
            floor = seen / seen.sum() / 2 / k
            with np.errstate(divide="ignore"):
                scores = np.log((share + floor) / (1 + 0.5 / k))
            return np.where(seen, scores - 1e-6 * closest, -np.inf)

        return score

    return _tuned(prepare, NEIGHBOURS, default=NEIGHBOURS[0])


def _tuned(probe: Tunable, settings: Sequence[float], *, default: float) -> Scorer:
    def score(training: Labelled, values: np.ndarray) -> np.ndarray:
        return probe(training, values)(tune(training, settings, probe, default=default))

    return score


class ClassSpace:
    """The features, whitened by how units of one label scatter, and a Gaussian for each label there.

    Labels have one scatter matrix, pooled over labels with two or more units and shrunk towards the diagonal of the
    total scatter. A label's mean is drawn towards the mean of all labels the more, the fewer its units are and the less
    labels differ along an axis (an empirical-Bayes linear discriminant), so that a label that was seen once is no
    more certain than it should be.

    Args:
        training: labelled units.
        n_labels: C.

    Attributes:
        count: (C,) training units of each label.
    """

    def __init__(self, training: Labelled, n_labels: int) -> None:
        """See the class."""
        values, label = training.values, training.label
        self.count = np.bincount(label, minlength=n_labels)
        sums = np.zeros((n_labels, values.shape[1]))
        np.add.at(sums, label, values)
        seen = self.count > 0
        means = sums / self.count.clip(1)[:, None]
        self._origin = means[seen].mean(0)
        repeated = self.count[label] > 1
        within = values[repeated] - means[label[repeated]]
        freedom = repeated.sum() - (self.count > 1).sum()
        total = np.maximum(values.var(0), 1e-9)
        scatter = np.diag(total)
        if freedom > 0:
            scatter = (1 - _SHRINKAGE) * within.T @ within / freedom + _SHRINKAGE * scatter
        variance, axes = np.linalg.eigh(scatter)
        whiten = axes / np.sqrt(np.maximum(variance, 1e-9))
        centred = (means[seen] - self._origin) @ whiten
        between, turn = np.linalg.eigh(centred.T @ centred / max(1, seen.sum() - 1))
        self._axes = whiten @ turn
        # Scatter of the labels' true means: that of the estimated ones less what their few units add.
        self._between = np.maximum(between - (1 / self.count[seen]).mean(), 1e-3)
        count = self.count[:, None]
        trust = self._between * count / (self._between * count + 1)
        self._mean = trust * ((means - self._origin) @ self._axes)
        self._variance = 1 + self._between * (1 - trust)

    def project(self, values: np.ndarray) -> np.ndarray:
        """(U, F) in the whitened space."""
        return (values - self._origin) @ self._axes

    def log_likelihood(self, values: np.ndarray) -> np.ndarray:
        """(U, C) of the units under each label's Gaussian; -inf for labels that were not seen."""
        at = self.project(values)
        precision = 1 / self._variance  # (C, F)
        square = (
            at**2 @ precision.T - 2 * at @ (self._mean * precision).T + (self._mean**2 * precision).sum(1)
        )
        found = -0.5 * (square + np.log(self._variance).sum(1))
        return np.where(self.count > 0, found, -np.inf)
