"""Scores of all methods as results: a session at a time, all together, ours against the baselines, as a table."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neuroformer.baselines.decoding import Target
from neuroformer.decoding.scoring import (
    headline,
    joined,
    known_samples,
    more_is_better,
    plain_scores,
    score_samples,
)
from neuroformer.decoding.session import SessionDecoding
from neuroformer.evaluation.block_draws import BlockDraws, Score, time_blocks
from neuroformer.files import atomic_path
from neuroformer.plotting import method_label
from neuroformer.settings.decode import BASELINES, OURS, DecodeConfig

ALL = "all"
"""Stands for all sessions together."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """Scores of one method.

    Attributes:
        session: whose; `all` for all together.
        variable: that was decoded.
        level: bin or trial.
        method: that decoded it.
        n: bins or trials.
        scores: by name.
    """

    session: str
    variable: str
    level: str
    method: str
    n: int
    scores: dict[str, Score] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """For metrics.json."""
        return {
            "session": self.session,
            "variable": self.variable,
            "level": self.level,
            "method": self.method,
            "n": self.n,
            "scores": plain_scores(self.scores),
        }


def session_results(session: SessionDecoding, config: DecodeConfig) -> Iterator[Result]:
    """Scores of one session, bin by bin and, where a variable holds for a trial, trial by trial."""
    for name, target in session.targets.items():
        truth = session.truth[name]
        if truth.n_known:
            draws = BlockDraws(_blocks(session, name, config), draws=config.draws, seed=config.seed)
            for method, estimate in session.estimates[name].items():
                samples = known_samples(truth, estimate, session.factors[name].get(method))
                yield Result(session=session.session_id, variable=name, level="bin", method=method,
                             n=truth.n_known, scores=score_samples(target, samples, draws))  # fmt: skip
        if name in session.trials:
            n = len(session.trials[name])
            draws = BlockDraws(np.arange(n), draws=config.draws, seed=config.seed)
            for method, samples in session.trial_samples[name].items():
                yield Result(session=session.session_id, variable=name, level="trial", method=method, n=n,
                             scores=score_samples(target, samples, draws))  # fmt: skip


def pooled_results(sessions: list[SessionDecoding], config: DecodeConfig) -> list[Result]:
    """All sessions together, where there are several, for methods that all of them have."""
    results = []
    for name in dict.fromkeys(name for s in sessions for name in s.targets):
        having = [s for s in sessions if name in s.targets and s.truth[name].n_known]
        trialled = [s for s in having if name in s.trials]
        for level, group in (("bin", having), ("trial", trialled)):
            if len(sessions) < 2 or not group:
                continue
            blocks, offset = [], 0
            for s in group:
                block = _blocks(s, name, config) if level == "bin" else np.arange(len(s.trials[name]))
                blocks.append(block + offset)
                offset += int(block.max()) + 1
            draws = BlockDraws(np.concatenate(blocks), draws=config.draws, seed=config.seed)
            tables = [s.estimates[name] if level == "bin" else s.trial_samples[name] for s in group]
            for method in [m for m in tables[0] if all(m in table for table in tables)]:
                samples = joined(
                    [
                        known_samples(s.truth[name], s.estimates[name][method], s.factors[name].get(method))
                        if level == "bin"
                        else s.trial_samples[name][method]
                        for s in group
                    ]
                )
                results.append(
                    Result(
                        session=ALL,
                        variable=name,
                        level=level,
                        method=method,
                        n=len(samples.truth),
                        scores=score_samples(group[0].targets[name], samples, draws),
                    )
                )
    return results


def _blocks(session: SessionDecoding, name: str, config: DecodeConfig) -> np.ndarray:
    """Block of time of each labelled bin."""
    known = session.truth[name].known
    block = time_blocks([len(k) for k in known], bin_s=session.bin_s, block_s=config.block_s)
    found: np.ndarray = block[np.concatenate(known)]
    return found


def comparisons(targets: dict[str, Target], results: list[Result]) -> list[dict[str, Any]]:
    """Each of our methods against each baseline, on the same draws, in the headline score."""
    found = []
    sessions = {r.session for r in results}
    for name, target in targets.items():
        score = headline(target)
        for level in ("bin", "trial"):
            for session in sorted(sessions):
                group = {
                    r.method: r for r in results if (r.session, r.variable, r.level) == (session, name, level)
                }
                for ours in (m for m in OURS if m in group):
                    for other in (m for m in BASELINES if m in group):
                        difference = group[ours].scores[score] - group[other].scores[score]
                        found.append(
                            {
                                "session": session,
                                "variable": name,
                                "level": level,
                                "score": score,
                                "method": ours,
                                "baseline": other,
                                "values": [group[ours].scores[score].value, group[other].scores[score].value],
                                "difference": difference.value,
                                "interval": difference.interval,
                            }
                        )
    return _main(targets, found)


def _main(targets: dict[str, Target], found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mark, for each variable, session and level, the comparison that is told in a sentence.

    Ours is the first of combined, inversion, readout that is there, named before any score is seen; the baseline is the
    one with the best score.
    """
    keys = dict.fromkeys((c["session"], c["variable"], c["level"]) for c in found)
    for key in keys:
        group = [c for c in found if (c["session"], c["variable"], c["level"]) == key]
        for method in ("combined", "inversion", "readout", "inversion_causal"):
            of_method = [c for c in group if c["method"] == method and np.isfinite(c["values"]).all()]
            if of_method:
                sign = 1 if more_is_better(of_method[0]["score"]) else -1
                max(of_method, key=lambda c: sign * c["values"][1])["told"] = True
                break
    return found


def sentence(target: Target, c: dict[str, Any]) -> str | None:
    """Who wins, in one sentence; None for a comparison that is not told."""
    if not c.get("told"):
        return None
    ours, other = c["values"]
    unit = f" {target.unit}" if target.unit and c["score"] == "mean_error" else ""
    words = c["score"].replace("_", " ")
    better = more_is_better(c["score"])
    if c["interval"] is None:
        verdict = "too little time for an interval"
    elif c["interval"][0] > 0 or c["interval"][1] < 0:
        verdict = "better" if (c["difference"] > 0) == better else "worse"
    else:
        verdict = "no difference that can be told"
    interval = "" if c["interval"] is None else f" [{c['interval'][0]:+.3g}, {c['interval'][1]:+.3g}]"
    per = " per trial" if c["level"] == "trial" else ""
    whose = "all sessions" if c["session"] == ALL else c["session"]
    return (
        f"{target.name}{per}, {whose}: {method_label(c['method'])} has {words} {ours:.3g}{unit}, the best baseline, "
        f"{method_label(c['baseline'])}, {other:.3g}{unit}; difference {c['difference']:+.3g}{interval}: {verdict}"
    )


def write_table(path: Path, results: list[Result], targets: dict[str, Target]) -> None:
    """A row per session, variable, method and score."""
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["session", "variable", "level", "method", "n", "score", "value", "low", "high", "unit"]
        )
        for r in results:
            for name, score in r.scores.items():
                ends = score.interval or (float("nan"), float("nan"))
                numbers = [f"{x:.6g}" if np.isfinite(x) else "" for x in (score.value, *ends)]
                in_unit = any(word in name for word in ("error", "width", "bias", "crps"))
                unit = targets[r.variable].unit if in_unit else ""
                writer.writerow([r.session, r.variable, r.level, r.method, r.n, name, *numbers, unit])
