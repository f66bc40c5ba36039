"""Probes: from the features of labelled animals to a score of every label for the units of another animal.

Everything that a probe is tuned by (penalty, neighbours, weight of the graph) is chosen within the animals it learns
from, by leaving out one of them in turn. A = units to learn from, U = units asked, F = features, C = labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression

PENALTIES = (0.001, 0.01, 0.1, 1.0)
NEIGHBOURS = (1, 3, 5, 9, 15)
_SHRINKAGE = 0.3


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


def tune(
    training: Labelled, settings: Sequence[float], scorer: Callable[[float], Scorer], *, default: float
) -> float:
    """The setting whose scores tell most of left-out training animals: mean over labels of the log-probability.

    Args:
        training: units of the animals to learn from.
        settings: to choose from.
        scorer: makes the probe for a setting; its scores are log-probabilities.
        default: taken where there is only one animal to learn from.
    """
    folds = [f for f in _inner_folds(training) if f[0].label.size and np.isin(f[1].label, f[0].label).any()]
    if not folds:
        return default
    found = []
    for setting in settings:
        labels, values = [], []
        for inner, left in folds:
            known = np.isin(left.label, inner.label)
            scores = scorer(setting)(inner, left.values[known])
            labels.append(left.label[known])
            values.append(scores[np.arange(known.sum()), left.label[known]])
        label, value = np.concatenate(labels), np.concatenate(values)
        found.append(float(np.mean([value[label == k].mean() for k in np.unique(label)])))
    return settings[int(np.argmax(found))]


def _inner_folds(training: Labelled) -> Iterator[tuple[Labelled, Labelled]]:
    animals = np.unique(training.animal)
    if len(animals) < 2:
        return
    for animal in animals:
        out = training.animal == animal
        yield training.rows(~out), training.rows(out)


def linear_probe(n_labels: int) -> Scorer:
    """Multinomial logistic regression with an L2 penalty, labels weighted to count the same."""

    def with_penalty(strength: float) -> Scorer:
        def score(training: Labelled, values: np.ndarray) -> np.ndarray:
            mean, spread = training.values.mean(0), training.values.std(0)
            spread = np.where(spread > 0, spread, 1)
            scores = np.full((len(values), n_labels), -np.inf)
            if len(np.unique(training.label)) < 2:
                scores[:, np.unique(training.label)] = 0.0
                return scores
            probe = LogisticRegression(C=strength, class_weight="balanced", max_iter=200, tol=1e-2)
            probe.fit((training.values - mean) / spread, training.label)
            scores[:, probe.classes_] = probe.predict_log_proba((values - mean) / spread)
            return scores

        return score

    def probe(training: Labelled, values: np.ndarray) -> np.ndarray:
        chosen = tune(training, PENALTIES, with_penalty, default=PENALTIES[1])
        return with_penalty(chosen)(training, values)

    return probe


def nearest_neighbours(n_labels: int) -> Scorer:
    """Nearest neighbours in the features whitened by their scatter within labels (`ClassSpace`).

    A label's score is the log-share of the votes of the k nearest units, each weighted by the inverse of how many
    training units its label has; labels without a vote follow in order of their nearest unit.
    """

    def with_k(k: float) -> Scorer:
        def score(training: Labelled, values: np.ndarray) -> np.ndarray:
            space = ClassSpace(training, n_labels)
            there, here = space.project(training.values), space.project(values)
            distance = np.sqrt(((here**2).sum(1)[:, None] + (there**2).sum(1) - 2 * here @ there.T).clip(0))
            nearest = np.argsort(distance, 1, kind="stable")[:, : int(k)]
            weight = 1 / space.count[training.label]
            votes = np.zeros((len(values), n_labels))
            np.add.at(votes, (np.arange(len(values))[:, None], training.label[nearest]), weight[nearest])
            closest = np.full((len(values), n_labels), np.inf)
            for label in np.unique(training.label):
                closest[:, label] = distance[:, training.label == label].min(1)
            share = votes / votes.sum(1, keepdims=True)
            # Half a vote spread over all labels keeps the logarithm finite; distance decides among equals.
            floor = (space.count > 0) / max(1, (space.count > 0).sum()) / 2 / k
            with np.errstate(divide="ignore"):
                scores = np.log(share + floor) - np.log(1 + 0.5 / k)
            return np.where(space.count > 0, scores - 1e-6 * closest, -np.inf)

        return score

    def probe(training: Labelled, values: np.ndarray) -> np.ndarray:
        return with_k(tune(training, NEIGHBOURS, with_k, default=NEIGHBOURS[0]))(training, values)

    return probe


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
