"""Every feature set under every probe, leaving one animal out at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score

from neuroformer.identity.features import FeatureSet
from neuroformer.identity.matching import (
    STRENGTHS,
    assign,
    capacities,
    graph_match,
    label_graph,
)
from neuroformer.identity.probes import ClassSpace, Labelled, linear_probe, nearest_neighbours
from neuroformer.identity.scores import (
    LEAD,
    METRICS,
    Answers,
    chance_answers,
    intervals,
    mean_scores,
    permutation_p,
    score,
)
from neuroformer.identity.units import AskedLabels, UnitTable

CHANCE = "chance"
_CHANCE_DRAWS = 50


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """The question: units with labels, by animal and session.

    Attributes:
        label: (N,) int64, index of the label, -1 for units that take no part.
        classes: (C,) text.
        animal: (N,) text.
        session: (N,) text.
        animals: to hold out, in order.
        graphs: correlation of the units of each session, by session_id; empty if no probe needs them.
    """

    label: np.ndarray
    classes: np.ndarray
    animal: np.ndarray
    session: np.ndarray
    animals: tuple[str, ...]
    graphs: dict[str, np.ndarray]

    @classmethod
    def of(cls, units: UnitTable, asked: AskedLabels, graphs: dict[str, np.ndarray]) -> Asked:
        """Number the labels."""
        index = {name: k for k, name in enumerate(asked.classes)}
        return cls(
            label=np.array([index.get(name, -1) for name in asked.label]),
            classes=asked.classes,
            animal=units.subject,
            session=units.session,
            animals=asked.animals,
            graphs=graphs,
        )

    def training(self, held_out: str) -> np.ndarray:
        """(N,) labelled units of the other animals."""
        return (self.label >= 0) & (self.animal != held_out)

    def questions(self, held_out: str) -> np.ndarray:
        """(N,) labelled units of the animal whose label occurs in another one."""
        known = np.unique(self.label[self.training(held_out)])
        return (self.animal == held_out) & (self.label >= 0) & np.isin(self.label, known)

    def units_per_label(self) -> float:
        """Mean number of units that share a label within a session."""
        pairs = [(s, k) for s, k in zip(self.session, self.label, strict=True) if k >= 0]
        return len(pairs) / max(1, len(set(pairs)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """One feature set under one probe.

    Attributes:
        features: name of the set.
        probe: name of the probe.
        n_features: F.
        undefined: share of values that could not be computed.
        scores: by metric.
        intervals: 95 %, by metric.
        p: permutation p-value of the macro-F1; NaN for chance.
        by_animal: macro-F1 of each held-out animal.
        answers: by held-out animal.
    """

    features: str
    probe: str
    n_features: int
    undefined: float
    scores: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    p: float
    by_animal: dict[str, float]
    answers: tuple[Answers, ...]


def compare(
    asked: Asked,
    sets: Sequence[FeatureSet],
    probes: Sequence[str],
    *,
    permutations: int,
    draws: int,
    seed: int,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Result]:
    """Probe every feature set, and guess at random as well (features `chance`, for each probe the same).

    Args:
        asked: the question.
        sets: feature sets.
        probes: names of probes.
        permutations: for the p-values.
        draws: for the intervals.
        seed: of both.
        tell: called with a line when a set is done.
    """
    results = []
    for features in sets:
        for probe in probes:
            answers = [_answer(asked, features, probe, animal) for animal in asked.animals]
            answers = [a for a in answers if len(a.rows)]
            scores, rng = [score(a) for a in answers], np.random.default_rng(seed)
            results.append(
                Result(
                    features=features.name,
                    probe=probe,
                    n_features=features.values.shape[1],
                    undefined=features.undefined,
                    scores=mean_scores(scores),
                    intervals=intervals(scores, rng, draws=draws),
                    p=permutation_p(answers, rng, permutations=permutations),
                    by_animal={a.animal: found[LEAD] for a, found in zip(answers, scores, strict=True)},
                    answers=tuple(answers),
                )
            )
            tell(f"{features.name}, {probe}: {LEAD} {results[-1].scores[LEAD]:.3f}")
    return [*results, _chance(asked, results[0].answers, seed=seed)]


def difference(
    results: Sequence[Result], first: str, second: str, probe: str, *, draws: int, seed: int
) -> dict[str, object] | None:
    """How much better `first` is than `second` under a probe; None where one of them is missing.

    Returns:
        `value` and `interval` of the difference of macro-F1 (animals drawn together), `animals` in which it is above 0
        and `of` how many.
    """
    found = {r.features: r for r in results if r.probe == probe}
    if first not in found or second not in found:
        return None
    a, b = found[first], found[second]
    gained = []
    for mine, other in zip(a.answers, b.answers, strict=True):
        one, two = score(mine), score(other)
        gained.append({name: one[name] - two[name] for name in METRICS})
    low, high = intervals(gained, np.random.default_rng(seed), draws=draws)[LEAD]
    return {
        "probe": probe,
        "value": a.scores[LEAD] - b.scores[LEAD],
        "interval": [low, high],
        "animals": sum(a.by_animal[name] > b.by_animal[name] for name in a.by_animal),
        "of": len(a.by_animal),
    }


def session_accuracy(values: np.ndarray, session: np.ndarray, *, seed: int) -> dict[str, float]:
    """How well a linear probe tells the session from a unit's features, cross-validated over units.

    Near chance: sessions lie on top of one another. Near 1: each session has a place of its own, and what is learned in
    one need not mean the same in another.

    Args:
        values: (N, F).
        session: (N,).
        seed: of the folds.

    Returns:
        `accuracy` and `chance`, the share of the largest session; NaN with one session or fewer than five units in one.
    """
    _, counts = np.unique(session, return_counts=True)
    if len(counts) < 2 or counts.min() < 5:
        return {"accuracy": float("nan"), "chance": float("nan")}
    spread = values.std(0)
    values = (values - values.mean(0)) / np.where(spread > 0, spread, 1)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    found = cross_val_score(LogisticRegression(C=0.1, max_iter=300, tol=1e-3), values, session, cv=folds)
    return {"accuracy": float(found.mean()), "chance": float(counts.max() / counts.sum())}


def _answer(asked: Asked, features: FeatureSet, probe: str, held_out: str) -> Answers:
    """Learn from the other animals and name the units of this one, session by session where names are given out."""
    n_labels, rows = len(asked.classes), np.flatnonzero(asked.questions(held_out))
    training = _labelled(asked, features, asked.training(held_out))
    if probe in ("linear", "neighbours"):
        scorer = linear_probe(n_labels) if probe == "linear" else nearest_neighbours(n_labels)
        scores = scorer(training, features.values[rows])
        named = scores.argmax(1)
    else:
        strength = 0.0
        if probe == "graph_matching":
            strength = _choose_strength(asked, features, held_out)
        others = [a for a in asked.animals if a != held_out]
        ((scores, named),) = _match(asked, features, others, rows, strengths=[strength])
    truth = asked.label[rows]
    rank = (scores > scores[np.arange(len(rows)), truth][:, None]).sum(1)
    return Answers(animal=held_out, rows=rows, truth=truth, named=named, rank=rank)


def _labelled(asked: Asked, features: FeatureSet, chosen: np.ndarray) -> Labelled:
    return Labelled(values=features.values[chosen], label=asked.label[chosen], animal=asked.animal[chosen])


def _match(
    asked: Asked,
    features: FeatureSet,
    animals: Sequence[str],
    rows: np.ndarray,
    *,
    strengths: Sequence[float],
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Scores (U, C) and given labels (U,) of `rows`, learned from `animals`; each session is named as a whole.

    One pair for each weight of the graph; a weight of 0 leaves the graph out.
    """
    n_labels = len(asked.classes)
    chosen = (asked.label >= 0) & np.isin(asked.animal, list(animals))
    evidence = ClassSpace(_labelled(asked, features, chosen), n_labels).log_likelihood(features.values[rows])
    sessions = list(dict.fromkeys(asked.session[chosen]))
    labels = [asked.label[asked.session == s] for s in sessions]
    capacity = capacities(labels, n_labels)
    reference = None
    if any(strengths):
        reference = label_graph([asked.graphs[s] for s in sessions], labels, n_labels)
    results = []
    for strength in strengths:
        scores = evidence - evidence.max(1, keepdims=True)
        named = np.zeros(len(rows), int)
        for session in dict.fromkeys(asked.session[rows]):
            here = asked.session[rows] == session
            if reference is not None and strength > 0:
                units = rows[here] - int(np.flatnonzero(asked.session == session)[0])
                graph = asked.graphs[session][np.ix_(units, units)]
                scores[here] = graph_match(evidence[here], graph, reference, capacity, strength=strength)
            named[here] = assign(scores[here], capacity)
        results.append((scores, named))
    return results


def _choose_strength(asked: Asked, features: FeatureSet, held_out: str) -> float:
    """The weight of the graph that names most units of the training animals right, each left out in turn."""
    training = [animal for animal in asked.animals if animal != held_out]
    if len(training) < 2:
        return STRENGTHS[1]
    without = dataclasses.replace(
        asked, label=np.where(asked.animal == held_out, -1, asked.label), animals=tuple(training)
    )
    right = np.zeros(len(STRENGTHS))
    for animal in training:
        rows = np.flatnonzero(without.questions(animal))
        if len(rows):
            others = [a for a in training if a != animal]
            found = _match(without, features, others, rows, strengths=STRENGTHS)
            right += [(named == asked.label[rows]).sum() for _, named in found]
    return STRENGTHS[int(right.argmax())]


def _chance(asked: Asked, answers: Sequence[Answers], *, seed: int) -> Result:
    rng = np.random.default_rng(seed)
    shares = []
    for found in answers:
        counts = np.bincount(asked.label[asked.training(found.animal)], minlength=len(asked.classes))
        shares.append(counts / counts.sum())
    drawn = [[score(guess) for guess in chance_answers(answers, shares, rng)] for _ in range(_CHANCE_DRAWS)]
    means = [mean_scores(scores) for scores in drawn]
    ends = {name: np.quantile([m[name] for m in means], (0.025, 0.975)).tolist() for name in METRICS}
    return Result(
        features=CHANCE,
        probe="",
        n_features=0,
        undefined=0.0,
        scores={name: float(np.mean([m[name] for m in means])) for name in METRICS},
        intervals={name: (low, high) for name, (low, high) in ends.items()},
        p=float("nan"),
        by_animal={
            a.animal: float(np.mean([scores[i][LEAD] for scores in drawn])) for i, a in enumerate(answers)
        },
        answers=(),
    )
