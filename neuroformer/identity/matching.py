"""Naming all units of a recording at once: each label given out at most as often as an animal can have it.

Two forms. `match` takes each unit's own evidence. `graph_match` also asks whether the units that would carry two labels
are correlated as the units with these labels are in other animals: mean-field inference in a pairwise model, a
probabilistic form of graph matching, which is how named neurons are matched between worms by position (Chaudhary et al.
2021, eLife 10:e60321), here with activity alone.

U = units to name, C = labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

STRENGTHS = (0.0, 0.1, 0.3)
_ROUNDS = 30
_DAMPING = 0.3
_SINKHORN = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """How units of two labels are correlated in the labelled sessions.

    Attributes:
        mean: (C, C) expected correlation of a unit of label c with another of label d.
        variance: (C, C) of a new session's correlation around it.
    """

    mean: np.ndarray
    variance: np.ndarray


def label_graph(graphs: Sequence[np.ndarray], labels: Sequence[np.ndarray], n_labels: int) -> Graph:
    """Pool the correlations of labelled units over sessions, each pair of labels shrunk to the mean of all.

    Args:
        graphs: (N_k, N_k) correlation of each session.
        labels: (N_k,) index of each unit's label, -1 for none.
        n_labels: C.
    """
    shape = (n_labels, n_labels)
    sums, squares, count = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for graph, label in zip(graphs, labels, strict=True):
        rows = np.flatnonzero(label >= 0)
        a, b = np.meshgrid(rows, rows, indexing="ij")
        off = a != b
        at = (label[a[off]], label[b[off]])
        np.add.at(sums, at, graph[a[off], b[off]])
        np.add.at(squares, at, graph[a[off], b[off]] ** 2)
        np.add.at(count, at, 1)
    seen, repeated = count > 0, count > 1
    if not seen.any():
        return Graph(mean=np.zeros(shape), variance=np.ones(shape))
    mean = sums / count.clip(1)
    centre = float(mean[seen].mean())
    spread = float(mean[seen].var())
    if repeated.any():
        within = float((squares - count * mean**2)[repeated].sum() / (count - 1)[repeated].sum())
        between = max(float(mean[repeated].var()) - within * float((1 / count[repeated]).mean()), 1e-4)
    else:
        within, between = max(spread / 2, 1e-4), max(spread / 2, 1e-4)
    within = max(within, 1e-6)
    trust = between * count / (between * count + within)
    return Graph(mean=centre + trust * (mean - centre), variance=within + between * (1 - trust))


def capacities(sessions: Sequence[np.ndarray], n_labels: int) -> np.ndarray:
    """(C,) most units that any session has with each label.

    Args:
        sessions: (N_k,) index of each unit's label, -1 for none, per session.
        n_labels: C.
    """
    counts = [np.bincount(label[label >= 0], minlength=n_labels) for label in sessions]
    return np.max(counts, 0) if counts else np.zeros(n_labels, int)


def assign(scores: np.ndarray, capacity: np.ndarray) -> np.ndarray:
    """(U,) the labels of highest summed score, none given out more often than its capacity (Hungarian algorithm).

    Where there are fewer places than units, the units left over take their best label.

    Args:
        scores: (U, C); -inf for labels that cannot be given.
        capacity: (C,) how often each label may be given out.
    """
    best = scores.argmax(1)
    slot = np.repeat(np.arange(scores.shape[1]), np.where(np.isfinite(scores).any(0), capacity, 0))
    if not len(slot):
        return best
    finite = scores[np.isfinite(scores)]
    cost = -np.where(np.isfinite(scores), scores, finite.min() - 1e3)[:, slot]
    rows, places = linear_sum_assignment(cost)
    named = best.copy()
    named[rows] = slot[places]
    return named


def graph_match(
    evidence: np.ndarray, graph: np.ndarray, labels: Graph, capacity: np.ndarray, *, strength: float
) -> np.ndarray:
    """(U, C) log-probability of each label for each unit, by evidence of its own and by its correlations.

    Args:
        evidence: (U, C) log-likelihood of each unit's own features; -inf for labels that cannot be given.
        graph: (U, U) correlation of the units.
        labels: what is expected of pairs of labels.
        capacity: (C,) how often each label may be given out.
        strength: weight of a pair's log-likelihood; a unit's pairs are far from independent, so well below 1.
    """
    evidence = evidence - evidence.max(1, keepdims=True)
    possible = np.isfinite(evidence)
    others = 1 - np.eye(len(graph))
    graph = graph * others
    precision = 1 / labels.variance
    first, second = labels.mean * precision, labels.mean**2 * precision + np.log(labels.variance)
    belief = _give_out(np.where(possible, 0.5 * evidence, -np.inf), capacity)
    field = evidence
    for _ in range(_ROUNDS):
        pairs = (
            (graph @ belief) @ first.T
            - 0.5 * (others @ belief) @ second.T
            - 0.5 * (graph**2 @ belief) @ precision.T
        )
        field = np.where(possible, evidence + strength * pairs, -np.inf)
        belief = (1 - _DAMPING) * belief + _DAMPING * _give_out(field, capacity)
    field = field - field.max(1, keepdims=True)
    return field - np.log(np.exp(field).sum(1, keepdims=True))


def _give_out(log_weights: np.ndarray, capacity: np.ndarray) -> np.ndarray:
    """(U, C) probabilities with rows of 1 and, as far as there are places, columns of at most their capacity."""
    belief = np.exp(log_weights - log_weights.max(1, keepdims=True))
    for _ in range(_SINKHORN):
        belief = belief / np.maximum(belief.sum(0) / np.maximum(capacity, 1), 1)
        belief = belief / belief.sum(1, keepdims=True).clip(1e-300)
    return belief
