"""`neuroformer decode`: behaviour in held-out time by every method, scored, written and drawn."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuroformer.baselines.decoding import Target, decoders_for
from neuroformer.data import Part, Recording
from neuroformer.data.grid import make_grid
from neuroformer.decoding.arrays import (
    Stretches,
    Truth,
    holds,
    make_target,
    read_stretches,
    read_trials,
    read_truth,
)
from neuroformer.decoding.figures import draw_behavior, draw_scores
from neuroformer.decoding.leak import check_leak, leak_sentence
from neuroformer.decoding.methods import DEFAULT_WEIGHT, Estimate, Inverter, fit_baseline, readout_estimate
from neuroformer.decoding.predict import Stretch, predict
from neuroformer.decoding.results import comparisons, pooled_results, sentence, session_results, write_table
from neuroformer.decoding.scoring import (
    Samples,
    Trials,
    find_trials,
    headline,
    inverted_trials,
    pooled_trials,
    spread_factor,
)
from neuroformer.decoding.session import SessionDecoding
from neuroformer.errors import UsageError, UserError
from neuroformer.evaluation.trained_run import TrainedRun, load_run
from neuroformer.files import RunFolder
from neuroformer.plotting import save_figure
from neuroformer.settings.decode import DecodeConfig


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
    if config.when:
        for (
            recording
        ) in run.data.recordings:  # a name that no session has is a fault of the command, not of its results
            holds(recording, config.when, recording.part(config.part)[0])
    out = Path(config.out) if config.out else run.folder / "decode"
    folder = RunFolder.create(out, overwrite=config.overwrite, command=command, config=config)
    sessions: list[SessionDecoding] = []
    notes: list[str] = []
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
    results = [r for s in sessions for r in session_results(s, config)] + pooled_results(sessions, config)
    metrics: dict[str, Any] = {
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
        "comparisons": (compared := comparisons(targets, results)),
        "sentences": [sentence(targets[c["variable"]], c) for c in compared],
        "leak_check": [{"session": s.session_id, **leak.plain()} for s in sessions for leak in s.leaks],
        "leak_sentences": _leak_sentences(targets, sessions),
        "sessions": {s.session_id: s.about for s in sessions},
        "notes": notes,
    }  # fmt: skip
    write_table(folder.path / "table.csv", results, targets)
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
    entries, bin_s = run.trained.vocabulary.variables, recording.bin_s
    notes: list[str] = []
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
                        validation=None if held is None else (held, held_truth[name]),
                    )
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


def _leak_sentences(targets: dict[str, Target], sessions: list[SessionDecoding]) -> list[str]:
    found = []
    for name, target in targets.items():
        checks = [leak for s in sessions for leak in s.leaks if leak.target.name == name]
        if checks:
            found.append(leak_sentence(target, checks))
    return found
