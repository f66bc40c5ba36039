"""The leak check: what a baseline would score if bins were split at random.

Behaviour and the windows of decoders last longer than a bin. Under a random split the neighbours of a test bin are in
training with almost the same behaviour and almost the same window of events, and the drift of the recording from
training to test is hidden too; the score is then not that of new data. Both splits have the same number of training and
of test bins here and the same decoder. Its settings are chosen as one does under either split: by cross-validation over
blocks of time, or on bins drawn at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuroformer.baselines.decoding import Target, build_decoder
from neuroformer.decoding.arrays import Stretches, Truth
from neuroformer.decoding.methods import Estimate
from neuroformer.decoding.scoring import known_samples, plain_scores, score_samples
from neuroformer.evaluation.block_draws import BlockDraws, Score, time_blocks
from neuroformer.settings.decoding import DecodersConfig

_INFLATED = 0.02  # of R² or accuracy
_INFLATED_ERROR = 0.05  # of the error, as a part of it


@dataclass(frozen=True, kw_only=True, eq=False)
class Leak:
    """A baseline under two splits.

    Attributes:
        target: what is decoded.
        method: the baseline.
        n_train: labelled bins fitted to, in both.
        n_test: labelled bins scored, in both.
        random: scores under the random split.
        blocked: scores under the blocked split.
    """

    target: Target
    method: str
    n_train: int
    n_test: int
    random: dict[str, Score]
    blocked: dict[str, Score]

    def plain(self) -> dict[str, Any]:
        """For metrics.json."""
        name = leak_score(self.target)
        return {
            "variable": self.target.name,
            "method": self.method,
            "n_train": self.n_train,
            "n_test": self.n_test,
            "score": name,
            "inflation": inflation(name, self.random[name].value, self.blocked[name].value),
            "random": plain_scores(self.random),
            "blocked": plain_scores(self.blocked),
        }


def leak_method(target: Target) -> str:
    """The baseline that is checked."""
    return "naive_bayes" if target.kind == "categorical" else "ridge"


def leak_score(target: Target) -> str:
    """The score that is shown; a circular variable has no R²."""
    if target.kind == "categorical":
        return "balanced_accuracy"
    return "r2" if target.period is None else "mean_error"


def inflation(score: str, random: float, blocked: float) -> float:
    """How much better the random split looks: a difference, of errors as a part of the blocked error."""
    return 1 - random / blocked if score == "mean_error" else random - blocked


def is_inflated(score: str, amount: float) -> bool:
    """Whether the random split looks better by enough to mention."""
    return amount > (_INFLATED_ERROR if score == "mean_error" else _INFLATED)


def check_leak(
    target: Target,
    train: tuple[Stretches, Truth],
    test: tuple[Stretches, Truth],
    *,
    bin_s: float,
    block_s: float,
    draws: int,
    config: DecodersConfig,
    seed: int,
    validation: tuple[Stretches, Truth] | None = None,
) -> Leak:
    """Score a baseline under both splits.

    Args:
        target: what is decoded.
        train: features and labels of the training part.
        test: of the scored part.
        bin_s: width of a bin.
        block_s: of the blocks of time drawn for the intervals.
        draws: number of draws.
        config: settings of the baselines.
        seed: of the random split.
        validation: the validation part, whose bins are dealt with the others under the random split, and as many choose
            the settings; without it a fifth of the training bins do.
    """
    method = leak_method(target)
    n_train, n_test = train[1].n_known, test[1].n_known

    def score(
        fit: tuple[list[Any], list[Any]],
        x: list[Any],
        truth: Truth,
        cut: Sequence[int],
        choose: tuple[list[Any], list[Any]] | None = None,
    ) -> dict[str, Score]:
        decoder = build_decoder(method, target, bin_s=bin_s, config=config)
        decoder.fit(*fit, validation=choose, seed=seed)
        said = decoder.predict(x)

        def scored(arrays: list[np.ndarray] | None) -> list[np.ndarray] | None:
            return None if arrays is None else [a[lead:] for a, lead in zip(arrays, cut, strict=True)]

        # The cells of a grid are not labels.
        labels = said.probability if target.kind == "categorical" else None
        estimate = Estimate(mean=scored(said.mean), probability=scored(labels))
        block = time_blocks([len(k) for k in truth.known], bin_s=bin_s, block_s=block_s)
        counted = np.concatenate(truth.known)
        return score_samples(
            target, known_samples(truth, estimate), BlockDraws(block[counted], draws=draws, seed=seed)
        )

    fill = -1 if target.kind == "categorical" else np.nan
    blocked = score((train[0].x, train[0].led(train[1].values, fill)), test[0].x, test[1], test[0].lead)
    parts = [train, test] if validation is None else [train, test, validation]
    pool = Truth(
        values=[v for _, truth in parts for v in truth.values],
        known=[k for _, truth in parts for k in truth.known],
    )
    lead = [n for part, _ in parts for n in part.lead]
    x = [a for part, _ in parts for a in part.x]
    n_choose = n_train // 5 if validation is None else validation[1].n_known
    n_fit = n_train - n_choose if validation is None else n_train
    fitted, choosing, rest = deal_bins(pool.known, [n_fit, n_choose, n_test], seed=seed)
    choose = (x, _labels(pool, choosing, lead, fill)) if n_choose else None
    random = score((x, _labels(pool, fitted, lead, fill)), x, _only(pool, rest), lead, choose)
    return Leak(target=target, method=method, n_train=n_train, n_test=n_test, random=random, blocked=blocked)


def deal_bins(known: Sequence[np.ndarray], sizes: Sequence[int], *, seed: int) -> list[list[np.ndarray]]:
    """Deal known bins at random into sets of given sizes: of each set (T,) bool of each stretch."""
    flat = np.flatnonzero(np.concatenate(list(known)))
    drawn = np.random.default_rng(seed).permutation(flat)
    cuts = np.cumsum([len(k) for k in known])
    found = []
    for first, size in zip(np.cumsum([0, *sizes]), sizes, strict=False):
        chosen = np.zeros(cuts[-1], bool)
        chosen[drawn[first : first + size]] = True
        found.append(np.split(chosen, cuts[:-1]))
    return found


def leak_sentence(target: Target, checks: Sequence[Leak]) -> str:
    """What the check says, sessions averaged, in plain words."""
    name = leak_score(target)
    words = {"r2": "R²", "balanced_accuracy": "balanced accuracy", "mean_error": "mean error"}[name]
    random = float(np.mean([c.random[name].value for c in checks]))
    blocked = float(np.mean([c.blocked[name].value for c in checks]))
    amount = inflation(name, random, blocked)
    start = (
        f"{target.name}: {checks[0].method} has {words} {random:.3f} under a random split of bins and {blocked:.3f} "
        f"under the blocked split{f' (means of {len(checks)} sessions)' if len(checks) > 1 else ''}, as many training "
        "bins in both"
    )
    if not is_inflated(name, amount):
        return f"leak check, {start}: here a random split would not flatter."
    by = f"{amount:.0%} of the error" if name == "mean_error" else f"{amount:.3f}"
    return (
        f"WARNING, leak check, {start}: random bins would flatter it by {by}, because the neighbours of a test bin, "
        "with almost the same behaviour and events, are in training. Report the blocked number."
    )


def _only(truth: Truth, known: Sequence[np.ndarray]) -> Truth:
    values = []
    for value, there in zip(truth.values, known, strict=True):
        if value.ndim == 1:
            values.append(np.where(there, value, -1))
        else:
            values.append(np.where(there[:, None], value, np.nan))
    return Truth(values=values, known=list(known))


def _labels(pool: Truth, chosen: Sequence[np.ndarray], lead: Sequence[int], fill: float) -> list[np.ndarray]:
    """Labels of the chosen bins, unknown elsewhere and in the lead-ins."""
    return [
        np.concatenate([np.full((n, *v.shape[1:]), fill, v.dtype), v])
        for n, v in zip(lead, _only(pool, chosen).values, strict=True)
    ]
