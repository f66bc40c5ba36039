"""Scores of predicted labels, their intervals over animals, and how likely chance would do as well.

Every held-out animal has scores of its own; what is reported is their mean, so that animals count the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

METRICS = ("macro_f1", "accuracy", "balanced_accuracy", "top5")
LEAD = "macro_f1"


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """What a probe said of the asked units of one held-out animal.

    Attributes:
        animal: its name.
        rows: (U,) rows of the unit table.
        truth: (U,) int64, index of the label.
        named: (U,) int64, the label given.
        rank: (U,) int64, place of the true label in order of the scores, 0 for the highest.
    """

    animal: str
    rows: np.ndarray
    truth: np.ndarray
    named: np.ndarray
    rank: np.ndarray


def score(answers: Answers) -> dict[str, float]:
    """Macro-F1, accuracy, balanced accuracy and top-5 accuracy of one animal's units.

    `macro_f1` and `balanced_accuracy` are means over the labels that were asked in this animal.
    """
    truth, named = answers.truth, answers.named
    labels, where = np.unique(truth, return_inverse=True)
    support = np.bincount(where)
    hits = np.bincount(where, weights=truth == named)
    given = np.array([(named == k).sum() for k in labels])
    return {
        "macro_f1": float((2 * hits / (support + given)).mean()),
        "accuracy": float(hits.sum() / support.sum()),
        "balanced_accuracy": float((hits / support).mean()),
        "top5": float((answers.rank < 5).mean()),
    }


def intervals(
    by_animal: Sequence[dict[str, float]], rng: np.random.Generator, *, draws: int
) -> dict[str, tuple[float, float]]:
    """95 % intervals of the means over animals, by drawing animals with replacement; NaN for a single one.

    With few animals such intervals are too narrow: they know nothing of animals unlike those at hand.

    Args:
        by_animal: scores, or differences of scores, of each held-out animal.
        rng: source of the draws.
        draws: how many.
    """
    if len(by_animal) < 2:
        return dict.fromkeys(METRICS, (math.nan, math.nan))
    chosen = rng.integers(len(by_animal), size=(draws, len(by_animal)))
    found = {}
    for name in METRICS:
        values = np.array([scores[name] for scores in by_animal])[chosen].mean(1)
        low, high = np.quantile(values, (0.025, 0.975))
        found[name] = (float(low), float(high))
    return found


def mean_scores(by_animal: Sequence[dict[str, float]]) -> dict[str, float]:
    """Means over held-out animals."""
    return {name: float(np.mean([scores[name] for scores in by_animal])) for name in METRICS}


def permutation_p(answers: Sequence[Answers], rng: np.random.Generator, *, permutations: int) -> float:
    """p-value of the macro-F1 under the hypothesis that features say nothing about labels within an animal.

    In every held-out animal its labels are permuted and its predictions held: given the other animals' labels that is
    exact. The animals' p-values are not independent (each animal's labels are also learned from), so they are joined by
    e times their geometric mean, valid under any dependence (Vovk & Wang 2020, Biometrika 107:791).
    """
    logs = []
    for found in answers:
        labels, where = np.unique(found.truth, return_inverse=True)
        support = np.bincount(where)
        given = np.array([(found.named == k).sum() for k in labels])
        worth = 2 / (support + given) / len(labels)
        place = np.searchsorted(labels, found.named).clip(0, len(labels) - 1)
        asked = labels[place] == found.named  # a label that no unit of this animal has is always wrong
        worth = np.where(asked, worth[place], 0.0)
        value = worth[found.named == found.truth].sum()
        drawn = np.array(
            [worth[found.named == rng.permutation(found.truth)].sum() for _ in range(permutations)]
        )
        logs.append(math.log((1 + (drawn >= value - 1e-12).sum()) / (1 + permutations)))
    return min(1.0, math.e * math.exp(float(np.mean(logs))))


def chance_answers(
    answers: Sequence[Answers], shares: Sequence[np.ndarray], rng: np.random.Generator
) -> list[Answers]:
    """Answers drawn at random, by how often the labels occur in the animals that were learned from.

    Args:
        answers: of any probe, for the units that are asked.
        shares: per held-out animal, (C,) share of each label among the training units.
        rng: source of the draws.
    """
    guessed = []
    for found, share in zip(answers, shares, strict=True):
        keys = np.log(np.maximum(share, 1e-300)) + rng.gumbel(size=(len(found.truth), len(share)))
        keys[:, share == 0] = -np.inf
        # Gumbel keys: the first is a draw by the shares, the order a draw without replacement.
        named = keys.argmax(1)
        rank = (keys > keys[np.arange(len(named)), found.truth][:, None]).sum(1)
        guessed.append(
            Answers(animal=found.animal, rows=found.rows, truth=found.truth, named=named, rank=rank)
        )
    return guessed
