"""`neuroformer decode`: behaviour in held-out time by every method, scored, written and drawn."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neuroformer.baselines.decoding import Target, decoders_for
from neuroformer.data import Part, Recording
from neuroformer.data.grid import make_grid
from neuroformer.decoding.arrays import Stretches, Truth, make_target, read_stretches, read_trials, read_truth
from neuroformer.decoding.figures import draw_behavior, draw_scores
from neuroformer.decoding.leak import Leak, check_leak, leak_sentence
from neuroformer.decoding.methods import DEFAULT_WEIGHT, Estimate, Inverter, fit_baseline, readout_estimate
from neuroformer.decoding.predict import Stretch, predict
from neuroformer.decoding.scoring import (
    HALF_WIDTH,
    Samples,
    Trials,
    find_trials,
    headline,
    inverted_trials,
    joined,
    known_samples,
    more_is_better,
    plain_scores,
    pooled_trials,
    score_samples,
    spread_factor,
)
from neuroformer.errors import UsageError, UserError
from neuroformer.evaluation.block_draws import BlockDraws, Score, time_blocks
from neuroformer.evaluation.trained_run import TrainedRun, load_run
from neuroformer.files import RunFolder, atomic_path
from neuroformer.plotting import method_label, save_figure
from neuroformer.settings.decode import DecodeConfig

ALL = "all"
"""Stands for all sessions together."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SessionDecoding:
    """One session, decoded.

    Attributes:
        session_id: whose.
        bin_s: width of a bin in seconds.
        targets: the variables.
        test: events of the scored part.
        truth: labels of the scored part, by variable.
        estimates: by variable and method.
        factors: that calibrate the spreads, by variable and method.
        trials: of variables that hold for a trial.
        trial_samples: one decision per trial, by variable and method.
        leaks: leak checks.
        about: what was chosen and counted, for metrics.json.
    """

    session_id: str
    bin_s: float
    targets: dict[str, Target]
    test: Stretches
    truth: dict[str, Truth]
    estimates: dict[str, dict[str, Estimate]]
    factors: dict[str, dict[str, np.ndarray]]
    trials: dict[str, Trials]
    trial_samples: dict[str, dict[str, Samples]]
    leaks: list[Leak]
    about: dict[str, Any]

    def save(self, path: Path) -> None:
        """Write time, stretch, VARIABLE.truth, VARIABLE.known and VARIABLE.METHOD.* to an npz file."""
        arrays: dict[str, np.ndarray] = {
            "time": np.concatenate(self.test.time),
            "stretch": np.repeat(np.arange(len(self.test.time)), [len(t) for t in self.test.time]),
        }
        for name, truth in self.truth.items():
            values, known = truth.flat()
            arrays |= {f"{name}.truth": values, f"{name}.known": known}
            for method, estimate in self.estimates[name].items():
                arrays |= {
                    f"{name}.{method}.{what}": values
                    for what, values in self.arrays_of(name, method, estimate).items()
                }
            for method, samples in self.trial_samples.get(name, {}).items():
                said = samples.mean if samples.mean is not None else samples.probability
                assert said is not None
                arrays |= {f"{name}.trial_truth": samples.truth, f"{name}.{method}.trial": said}
        with atomic_path(path) as temporary:
            np.savez_compressed(temporary, session_id=self.session_id, **arrays)

    def arrays_of(self, name: str, method: str, estimate: Estimate) -> dict[str, np.ndarray]:
        """Mean, spread (calibrated), lower and upper end of the 80 % interval; or probabilities; all stretches."""
        found: dict[str, np.ndarray] = {}
        if estimate.probability is not None:
            found["probability"] = np.concatenate(estimate.probability).astype(np.float32)
        if estimate.mean is not None:
            mean = found["mean"] = np.concatenate(estimate.mean)
            if estimate.spread is not None:
                spread = np.concatenate(estimate.spread) * self.factors[name].get(method, np.ones(1))
                period = self.targets[name].period
                lower, upper = mean - HALF_WIDTH * spread, mean + HALF_WIDTH * spread
                if period is not None:
                    lower, upper = lower % period, upper % period
                found |= {"spread": spread, "lower": lower, "upper": upper}
        if estimate.posterior is not None and estimate.axis is not None:
            found["posterior"] = np.concatenate(estimate.posterior).astype(np.float32)
            found["edges"] = estimate.axis.edges
        return found


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


def decode(config: DecodeConfig, *, command: str = "neuroformer decode") -> dict[str, Any]:
    """Decode the sessions of a run, score, write and draw.

    Returns:
        The content of metrics.json.

    Raises:
        UserError: the run or a file cannot be read, or nothing can be decoded.
        UsageError: a variable that the model does not decode.
    """
    started = time.monotonic()
    run = load_run(config.run, checkpoint=config.checkpoint, sessions=config.sessions)
    entries = {n: e for n, e in run.trained.vocabulary.variables.items() if e.is_decoded}
    if not entries:
        raise UserError(
            f"{config.run}: decodes nothing; pretrain with data.variables.NAME.role=both or target"
        )
    for name in config.variables:
        if name not in entries:
            raise UsageError(
                f"variables: {config.run} does not decode {name!r}; it decodes {', '.join(entries)}"
            )
    names = config.variables or list(entries)
    if not any(name in r.variables for r in run.data.recordings for name in names):
        files = ", ".join(str(r.session.path) for r in run.data.recordings[:3])
        raise UserError(f"no session has {' or '.join(names)} ({files}); name other sessions or variables")
    out = Path(config.out) if config.out else run.folder / "decode"
    folder = RunFolder.create(out, overwrite=config.overwrite, command=command, config=config)
    sessions, notes = [], []
    for recording in run.data.recordings:
        there = [name for name in names if name in recording.variables]
        if not there:
            notes.append(f"{recording.session_id}: has none of {', '.join(names)}")
            continue
        found, said = decode_session(run, recording, there, config)
        notes += said
        found.save(folder.path / "predictions" / f"{found.session_id}.npz")
        sessions.append(found)
    targets = {name: make_target(entries[name]) for name in names}
    results = [r for s in sessions for r in _session_results(s, config)] + _pooled_results(sessions, config)
    metrics = {
        "part": config.part,
        "when": config.when,
        "bin_s": run.data.config.bin_s,
        "variables": {
            name: {
                "kind": t.kind, "unit": t.unit, "period": t.period, "labels": list(t.labels), "headline": headline(t),
            }
            for name, t in targets.items()
        },
        "results": [result.plain() for result in results],
        "comparisons": (compared := _comparisons(targets, results)),
        "sentences": [_sentence(targets[c["variable"]], c) for c in compared],
        "leak_check": [{"session": s.session_id, **leak.plain()} for s in sessions for leak in s.leaks],
        "leak_sentences": _leak_sentences(targets, sessions),
        "sessions": {s.session_id: s.about for s in sessions},
        "notes": notes,
    }  # fmt: skip
    _write_table(folder.path / "table.csv", results, targets)
    for session in sessions[: config.shown]:
        for name, figure in draw_behavior(session, window_s=config.window_s).items():
            save_figure(figure, folder.figures / f"{name}_{session.session_id}.png")
    for name, figure in draw_scores(targets, results).items():
        save_figure(figure, folder.figures / f"scores_{name}.png")
    metrics["seconds"] = time.monotonic() - started
    folder.finish(metrics)
    return metrics


def decode_session(
    run: TrainedRun, recording: Recording, names: list[str], config: DecodeConfig
) -> tuple[SessionDecoding, list[str]]:
    """Decode one session by every method.

    Args:
        run: the model and its data.
        recording: the session.
        names: its variables that are decoded.
        config: settings.

    Returns:
        The session, and notes on what was left out.
    """
    part: Part = config.part
    entries, bin_s, notes = run.trained.vocabulary.variables, recording.bin_s, []
    targets = {name: make_target(entries[name]) for name in names}
    on_validation = part == "val"  # then it is left for nothing else
    test = read_stretches(recording, recording.part(part), lead=run.data.context_bins)
    truth = {n: read_truth(recording, n, test.spans, when=config.when) for n in names}
    held: Stretches | None = None
    held_truth: dict[str, Truth] = {}
    if not on_validation:
        held = read_stretches(recording, recording.part("val"), lead=run.data.context_bins)
        held_truth = {n: read_truth(recording, n, held.spans, when=config.when) for n in names}
    estimates: dict[str, dict[str, Estimate]] = {name: {} for name in names}
    calibrating: dict[str, dict[str, Estimate]] = {name: {} for name in names}
    model = _Model.of(run, recording, test, held, config) if config.methods else None
    if model is not None:
        for method in config.methods:
            for name, (said, said_held) in model.estimates(method, names).items():
                estimates[name][method] = said
                if said_held is not None:
                    calibrating[name][method] = said_held
        notes += model.notes
    train = read_stretches(recording, recording.part("train"))
    labels = {n: read_truth(recording, n, train.spans, when=config.when, all_labels=False) for n in names}
    scored = [test] if held is None else [test, held]
    for name in names:
        if not labels[name].n_known:
            notes.append(f"{recording.session_id}: no label of {name} in the training part, so no baseline")
            continue
        n_dims = len(entries[name].shape) and entries[name].shape[0]
        able = decoders_for(targets[name], n_dims=n_dims or 1)
        for method in (m for m in config.baselines if m in able):
            found = fit_baseline(
                method, targets[name], (train, labels[name]), scored,
                bin_s=bin_s, config=config.decoders, seed=config.seed,
            )  # fmt: skip
            estimates[name][method] = found[0]
            if held is not None:
                calibrating[name][method] = found[1]
    factors: dict[str, dict[str, np.ndarray]] = {name: {} for name in names}
    if config.calibrate and not on_validation:
        for name in names:
            for method, estimate in calibrating[name].items():
                factor = spread_factor(targets[name], held_truth[name], estimate)
                if factor is not None:
                    factors[name][method] = factor
    trials, trial_samples = _trials(recording, test, truth, estimates, targets, model, config)
    for name in names:
        if not truth[name].n_known:
            notes.append(f"{recording.session_id}: no label of {name} in the {part} part to score by")
    leaks = []
    if config.leak_check:
        for name in names:
            if truth[name].n_known and labels[name].n_known:
                leaks.append(
                    check_leak(
                        targets[name],
                        (train, labels[name]),
                        (test, truth[name]),
                        bin_s=bin_s,
                        block_s=config.block_s,
                        draws=config.draws,
                        config=config.decoders,
                        seed=config.seed,
                    )  # fmt: skip
                )
    about = {
        "seconds": sum(len(span) for span in test.spans) * bin_s,
        "train_label_s": {n: labels[n].n_known * bin_s for n in names},
        "validation_labels": {n: held_truth[n].n_known for n in held_truth},
        "scored_bins": {n: truth[n].n_known for n in names},
        "readout_weight": None if model is None else model.weight,
        "evidence": None if model is None or model.inverter is None else model.inverter.evidence,
        "spread_factors": factors,
    }
    session = SessionDecoding(
        session_id=recording.session_id,
        bin_s=bin_s,
        targets=targets,
        test=test,
        truth=truth,
        estimates=estimates,
        factors=factors,
        trials=trials,
        trial_samples=trial_samples,
        leaks=leaks,
        about=about,
    )
    return session, notes


@dataclass(kw_only=True, eq=False)
class _Model:
    """What the model says of a session's scored and validation parts."""

    config: DecodeConfig
    test: list[Stretch]
    held: list[Stretch]
    inverter: Inverter | None
    weight: float | None
    notes: list[str]

    @classmethod
    def of(
        cls,
        run: TrainedRun,
        recording: Recording,
        test: Stretches,
        held: Stretches | None,
        config: DecodeConfig,
    ) -> _Model:
        knowledge = run.trained.knowledge
        grid = make_grid(run.trained.vocabulary) if knowledge is not None else None
        wants_grid = any(method != "readout" for method in config.methods)
        notes = []
        if wants_grid and grid is None:
            notes.append(f"{config.run}: no variable has role=both and a grid, so nothing is inverted")
        inverter = Inverter(grid, knowledge) if wants_grid and grid and knowledge else None
        used = inverter.grid if inverter is not None else None

        def said(spans: list[Any]) -> list[Stretch]:
            return predict(run.trained.model, run.data, recording, spans, used, unknown=True)

        found = cls(config=config, test=said(test.spans), held=[] if held is None else said(held.spans),
                    inverter=inverter, weight=None, notes=notes)  # fmt: skip
        if inverter is not None and "combined" in config.methods:
            found.weight = DEFAULT_WEIGHT
            if held is not None and all(name in recording.variables for name in inverter.grid.names):
                found.weight = inverter.choose_weight(
                    found.held, _cells(inverter, recording, held, config.when), smoothed=config.smooth
                )
        return found

    def estimates(self, method: str, names: list[str]) -> dict[str, tuple[Estimate, Estimate | None]]:
        """Of the scored part and, if there is one, of validation, by variable."""
        if method == "readout":
            return {
                name: (
                    readout_estimate(name, self.test),
                    readout_estimate(name, self.held) if self.held else None,
                )
                for name in names
            }
        if self.inverter is None or (method == "inversion_causal" and not self._differs):
            return {}
        there = [name for name in names if name in self.inverter.grid.names]
        smoothed = self.config.smooth and method != "inversion_causal"
        weight = (self.weight or 0.0) if method == "combined" else 0.0
        parts = [
            [self.inverter.posterior(s, smoothed=smoothed, weight=weight) for s in stretches]
            for stretches in (self.test, self.held)
        ]
        return {
            name: (
                self.inverter.estimate(name, parts[0]),
                self.inverter.estimate(name, parts[1]) if self.held else None,
            )
            for name in there
        }

    @property
    def _differs(self) -> bool:
        """Whether the causal inversion is a method of its own."""
        return self.config.smooth or "inversion" not in self.config.methods


def _cells(inverter: Inverter, recording: Recording, part: Stretches, when: str) -> list[np.ndarray]:
    """(T,) true cell of each bin of each stretch, −1 where unknown or where the condition does not hold."""
    grid = inverter.grid
    found = []
    for span in part.spans:
        cells = grid.cells({name: recording.variable(name, span, all_labels=True) for name in grid.names})
        truth = [read_truth(recording, name, [span], when=when).known[0] for name in grid.names]
        found.append(np.where(np.all(truth, axis=0), cells, -1))
    return found


def _trials(
    recording: Recording,
    test: Stretches,
    truth: dict[str, Truth],
    estimates: dict[str, dict[str, Estimate]],
    targets: dict[str, Target],
    model: _Model | None,
    config: DecodeConfig,
) -> tuple[dict[str, Trials], dict[str, dict[str, Samples]]]:
    """One decision per trial for variables that hold for a trial."""
    found: dict[str, Trials] = {}
    samples: dict[str, dict[str, Samples]] = {}
    for name, target in targets.items():
        if recording.variables[name].config.source != "trials":
            continue
        trials = find_trials(truth[name], read_trials(recording, test.spans))
        if not len(trials):
            continue
        found[name], samples[name] = trials, {}
        for method, estimate in estimates[name].items():
            if (
                method in ("inversion", "combined", "inversion_causal")
                and model is not None
                and model.inverter
            ):
                weight = (model.weight or 0.0) if method == "combined" else 0.0
                samples[name][method] = inverted_trials(
                    name, model.inverter, model.test, trials, weight=weight
                )
            else:
                samples[name][method] = pooled_trials(target, estimate, trials)
    return found, samples


def _session_results(session: SessionDecoding, config: DecodeConfig) -> Iterator[Result]:
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


def _pooled_results(sessions: list[SessionDecoding], config: DecodeConfig) -> list[Result]:
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
                    )  # fmt: skip
                )
    return results


def _blocks(session: SessionDecoding, name: str, config: DecodeConfig) -> np.ndarray:
    """Block of time of each labelled bin."""
    known = session.truth[name].known
    block = time_blocks([len(k) for k in known], bin_s=session.bin_s, block_s=config.block_s)
    found: np.ndarray = block[np.concatenate(known)]
    return found


def _comparisons(targets: dict[str, Target], results: list[Result]) -> list[dict[str, Any]]:
    """Each of our methods against each baseline, on the same draws, in the headline score."""
    from neuroformer.settings.decode import BASELINES, OURS

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
                            }  # fmt: skip
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


def _sentence(target: Target, c: dict[str, Any]) -> str | None:
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


def _leak_sentences(targets: dict[str, Target], sessions: list[SessionDecoding]) -> list[str]:
    found = []
    for name, target in targets.items():
        checks = [leak for s in sessions for leak in s.leaks if leak.target.name == name]
        if checks:
            found.append(leak_sentence(target, checks))
    return found


def _write_table(path: Path, results: list[Result], targets: dict[str, Target]) -> None:
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
