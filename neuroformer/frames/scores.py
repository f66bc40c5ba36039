"""Scores of all methods with intervals, paired differences from each control, and whether text weights helped.

Intervals draw blocks of test time and, with several, sessions and seeds too, alike for all methods: a difference
between two methods is paired. With one session they are of that session; with one seed they leave out what another
draw of initial weights would change, and say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neuroformer.evaluation.behavior_scores import continuous_scores
from neuroformer.evaluation.block_draws import BlockDraws, Score

METRICS = ("r2", "correlation", "rmse")
DRAWS = 1000


class Scores:
    """Scores of every target and method.

    Args:
        results: of the cells.
        seed: of the draws.
    """

    def __init__(self, results: Sequence[dict[str, Any]], *, seed: int = 0) -> None:
        """See the class."""
        self.methods = list(dict.fromkeys(r["method"] for r in results))
        self.sessions = list(dict.fromkeys(r["session"] for r in results))
        self.targets = list(results[0]["targets"])
        self.about: dict[str, dict[str, Any]] = {}
        for r in results:
            self.about.setdefault(r["method"], r)
        rng = np.random.default_rng(seed)
        self._session = rng.integers(len(self.sessions), size=(DRAWS, len(self.sessions)))
        if len(self.sessions) == 1:
            self._session[:] = 0
        seeds = max(len({r["seed"] for r in results if r["method"] == m}) for m in self.methods)
        self.n_seeds = seeds
        self._seed = rng.integers(seeds, size=(DRAWS, seeds))
        cells: dict[tuple[str, str, str], list[dict[str, Score]]] = {}
        for r in results:
            for target, found in r["targets"].items():
                cells.setdefault((r["method"], target, r["session"]), []).append(
                    cell_scores(found, r["block"], seed)
                )
        self.scores = {
            (target, metric, method): self._pool([cells[method, target, s] for s in self.sessions], metric)
            for target in self.targets
            for metric in METRICS
            for method in self.methods
        }
        self.by_session = {
            (target, metric, method): [
                float(np.mean([c[metric].value for c in cells[method, target, s]])) for s in self.sessions
            ]
            for target in self.targets
            for metric in METRICS
            for method in self.methods
        }

    def _pool(self, cells: list[list[dict[str, Score]]], metric: str) -> Score:
        """Mean over sessions and seeds; draws of blocks within the sessions and seeds that are drawn."""
        value = np.mean([np.mean([c[metric].value for c in seeds]) for seeds in cells])
        n_blocks = [c[metric].n_blocks for seeds in cells for c in seeds]
        if any(not len(c[metric].draws) for seeds in cells for c in seeds):
            return Score(float(value), np.empty(0), min(n_blocks))
        draws = np.stack(
            [np.stack([c[metric].draws for c in seeds]) for seeds in cells]
        )  # (sessions, seeds, R)
        if draws.shape[1] > 1:
            draws = draws[:, self._seed.T, np.arange(DRAWS)]  # (sessions, seeds drawn, R)
        drawn = draws.mean(1)[self._session.T, np.arange(DRAWS)].mean(0)
        return Score(float(value), drawn, len(cells) if len(cells) > 1 else min(n_blocks))

    def controls_of(self, language_model: str) -> list[str]:
        """Methods that text weights must beat: all but other language models and theirs, and but those that see more.

        A causal model is not asked to beat a method that looks ahead.
        """
        causal = self.about[language_model]["causal"]
        return [
            m
            for m in self.methods
            if m != language_model
            and self.about[m]["language_model"] in ("", language_model)
            and (self.about[m]["causal"] or not causal)
        ]

    @property
    def language_models(self) -> list[str]:
        """Methods with text weights."""
        return [m for m in self.methods if m == self.about[m]["language_model"]]

    def difference(self, target: str, metric: str, ours: str, other: str) -> Score:
        """Paired, ours − other."""
        return self.scores[target, metric, ours] - self.scores[target, metric, other]

    def unbeaten(self, target: str, language_model: str) -> list[str]:
        """Controls over which the R² of a language model has no advantage whose interval lies above 0."""
        found = []
        for control in self.controls_of(language_model):
            interval = self.difference(target, "r2", language_model, control).interval
            if interval is None or not interval[0] > 0:
                found.append(control)
        return found

    def rows(self) -> list[dict[str, Any]]:
        """One row per target, metric and method; of language models with the difference from each control."""
        found = []
        for (target, metric, method), score in self.scores.items():
            row: dict[str, Any] = {
                "target": target,
                "metric": metric,
                "method": method,
                "mean": score.value,
                "interval": score.interval,
                "by_session": self.by_session[target, metric, method],
            }
            if method in self.language_models:
                row["minus"] = {
                    control: {"mean": d.value, "interval": d.interval}
                    for control in self.controls_of(method)
                    for d in [self.difference(target, metric, method, control)]
                }
            found.append(row)
        return found


def cell_scores(found: dict[str, Any], block: Sequence[int], seed: int) -> dict[str, Score]:
    """R² and correlation (pooled over the numbers of a target) and RMSE in its unit, over the known bins of a cell."""
    truth, mean = np.array(found["truth"], float), np.array(found["mean"], float)
    known = np.isfinite(truth).all(1)
    draws = BlockDraws(np.asarray(block)[known], draws=DRAWS, seed=seed)
    truth, mean = truth[known], mean[known]
    scores = continuous_scores(truth, mean, draws)
    sums = draws.sums(np.stack([((mean - truth) ** 2).mean(1), np.ones(len(truth))], 1))
    return {
        "r2": scores["r2"],
        "correlation": scores["correlation"],
        "rmse": draws.score(np.sqrt(sums[:, 0] / sums[:, 1])),
    }


def sentence(scores: Scores) -> str:
    """Whether text weights helped beyond all controls, for each language model and target."""
    if not scores.language_models:
        return "No language model was in this run, so nothing is said of text weights."
    parts = []
    for name in scores.language_models:
        helped = [t for t in scores.targets if not scores.unbeaten(t, name)]
        rest = []
        for target in scores.targets:
            if target in helped:
                continue
            told = []
            for control in scores.unbeaten(target, name):
                d = scores.difference(target, "r2", name, control)
                interval = d.interval
                told.append(
                    f"{control} ({d.value:+.2f}"
                    + (f" [{interval[0]:+.2f}, {interval[1]:+.2f}])" if interval else ", no interval)")
                )
            rest.append(f"{target}, where it does not beat {_listed(told)}")
        words = f"{name} decodes {_listed(helped)} better than all of its controls" if helped else ""
        if rest:
            words += f"{' but not ' if helped else f'{name} does not better its controls in '}{'; nor in '.join(rest)}"
        parts.append(words)
    everywhere = all(not scores.unbeaten(t, n) for n in scores.language_models for t in scores.targets)
    nowhere = all(scores.unbeaten(t, n) for n in scores.language_models for t in scores.targets)
    start = "helped" if everywhere else "did not help beyond the controls" if nowhere else "helped in part"
    n, seeds = len(scores.sessions), scores.n_seeds
    about = f"differences of R², 95 % intervals, {n} session{'s' * (n > 1)}, {seeds} seed{'s' * (seeds > 1)}"
    if seeds == 1:
        about += ", so that chance in training is not in the intervals"
    return f"Text weights {start} ({about}): {'; '.join(parts)}."


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
