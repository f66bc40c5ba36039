"""`neuroformer forecast`: forecasts of all sessions by all methods, their scores, tables and figures."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuroformer.baselines.glm import PoissonGLM, fit_glm
from neuroformer.data import Part, Recording
from neuroformer.data.module import find_sessions
from neuroformer.errors import UserError
from neuroformer.evaluation.block_draws import BlockDraws
from neuroformer.evaluation.run import session_glm
from neuroformer.evaluation.trained_run import TrainedRun, load_run
from neuroformer.files import RunFolder, atomic_path
from neuroformer.forecasting import baselines
from neuroformer.forecasting.direct import DirectPrior, direct_forecasts
from neuroformer.forecasting.figure import draw_curves, draw_examples
from neuroformer.forecasting.glm_rollout import glm_rollout
from neuroformer.forecasting.problem import Forecast, Problem
from neuroformer.forecasting.rollout import rollout
from neuroformer.forecasting.scores import METRICS, origin_blocks, score_forecast
from neuroformer.forecasting.series import Kind, read_series
from neuroformer.forecasting.summary import Summary
from neuroformer.plotting import save_figure
from neuroformer.settings.data import SplitConfig
from neuroformer.settings.forecast import BASELINES, OURS, ForecastConfig

_PLAIN = {
    "mean": baselines.mean,
    "last": baselines.last,
    "decay": baselines.decay,
    "autoregression": baselines.autoregression,
    "linear": baselines.linear,
}


def forecast(
    config: ForecastConfig, *, command: str = "neuroformer forecast"
) -> tuple[Summary, dict[str, Any]]:
    """Forecast, score, and write everything to the folder of the results.

    Returns:
        The scores, and the content of metrics.json.
    """
    experiment = Experiment(config)
    out = Path(config.out) if config.out else Path(config.run) / "forecast"
    folder = RunFolder.create(out, overwrite=config.overwrite, command=command, config=config)
    forecasts = experiment.forecasts()
    summary = experiment.score(forecasts)
    if experiment.prior is not None:
        experiment.prior.save(folder.path / "head.npz")
    for k, problem in enumerate(experiment.problems):
        ours = {name: found[k] for name, found in forecasts.items() if name in OURS}
        _write_forecasts(
            folder.path / "forecasts" / f"{problem.series.recording.session_id}.npz", problem, ours
        )
    _write_table(folder.path / "scores.csv", summary)
    save_figure(draw_curves(summary, experiment.kind), folder.figures / "forecast.png", dpi=150)
    shown = draw_examples(
        experiment.problems[0], {name: found[0] for name, found in forecasts.items()}, config.shown
    )
    if shown is not None:
        save_figure(shown, folder.figures / "examples.png", dpi=150)
    metrics = experiment.metrics(summary, forecasts)
    folder.finish(metrics)
    return summary, {**metrics, "out": str(folder.path)}


class Experiment:
    """Sessions and methods, checked before anything is fitted.

    Args:
        config: settings.

    Attributes:
        kind: traces or counts.
        problems: one for each session.
        names: of the methods, ours first.
        prior: of the direct head, once it is fitted.
    """

    def __init__(self, config: ForecastConfig) -> None:
        """See the class."""
        self.config = config
        self.run: TrainedRun | None = None
        recordings = self._recordings()
        seen: set[str] = set()
        for recording in recordings:
            if recording.session_id in seen:
                raise UserError(
                    f"{recording.session.path}: session_id {recording.session_id!r} occurs twice; give every session "
                    "its own"
                )
            seen.add(recording.session_id)
        self.kind: Kind = self._kind(recordings)
        self.condition = self._condition(recordings)
        self.names = self._names()
        part: Part = "val" if config.part == "val" else "test"
        self.problems = [
            Problem(
                read_series(recording, self.kind),
                config.horizon,
                part=part,
                stride=config.stride,
                most=config.rows,
            )
            for recording in recordings
        ]
        self.given_prior = (
            DirectPrior.load(config.prior, kind=self.kind, bin_s=recordings[0].bin_s, horizon=config.horizon)
            if config.prior
            else None
        )
        self.prior: DirectPrior | None = None
        for problem in self.problems:
            assert len(problem.origins)  # refuses parts that are too short before anything is fitted
            for rows in (problem.train, problem.val):
                problem.series.reach(rows, config.horizon)

    def _recordings(self) -> Sequence[Recording]:
        config = self.config
        if config.run:
            if config.bin_s is not None or config.split is not None:
                raise UserError("bin_s and split are those of the run; leave them out, or leave out run")
            self.run = load_run(config.run, checkpoint=config.checkpoint, sessions=config.sessions or None)
            return self.run.data.recordings
        if config.bin_s is None:
            raise UserError("bin_s: expected the width of a bin in seconds, such as bin_s=0.6 (or run=DIR)")
        return [
            Recording(path, bin_s=config.bin_s, split=config.split or SplitConfig(), context_bins=0)
            for path in find_sessions(config.sessions)
        ]

    def _kind(self, recordings: Sequence[Recording]) -> Kind:
        lacking = [str(r.session.path) for r in recordings if not r.session.has_traces]
        if self.config.target == "traces" and lacking:
            raise UserError(f"{lacking[0]}: has no traces; use target=counts")
        return "counts" if self.config.target == "counts" or lacking else "traces"

    def _condition(self, recordings: Sequence[Recording]) -> str:
        name = self.config.condition
        if name and name != "trials":
            for recording in recordings:
                if name not in recording.session.stimulus_names:
                    raise UserError(
                        f"{recording.session.path}: condition={name}: no such stimulus; it has "
                        f"{', '.join(recording.session.stimulus_names) or 'none'}"
                    )
            return name
        lacking = [r for r in recordings if not len(r.session.trials.get("start", ()))]
        if name and lacking:
            raise UserError(f"{lacking[0].session.path}: condition=trials: the session has no trials")
        return "" if lacking else "trials"

    def _names(self) -> list[str]:
        config = self.config
        windows = config.glm.window_s is not None and config.glm.history_window_s is not None
        cannot = {}
        if self.run is None:
            cannot["rollout"] = "needs run=DIR"
            if not windows:
                cannot["glm_rollout"] = "needs run=DIR, or glm.window_s and glm.history_window_s"
        if self.kind == "traces":
            cannot["glm_rollout"] = "forecasts counts; use target=counts"
        if not self.condition:
            cannot["conditioned_mean"] = "needs trials, or condition=STIMULUS"
        for name in (*config.methods, *config.baselines):
            if name in cannot:
                raise UserError(f"{name}: {cannot[name]}")
        return [
            *(config.methods or [m for m in OURS if m not in cannot]),
            *(config.baselines or [m for m in BASELINES if m not in cannot]),
        ]

    def forecasts(self) -> dict[str, list[Forecast]]:
        """Of every method, for each session."""
        return {name: self._forecast(name) for name in self.names}

    def _forecast(self, name: str) -> list[Forecast]:
        config = self.config
        if name == "direct":
            found, self.prior = direct_forecasts(self.problems, config.head, self.given_prior)
            return found
        if name == "rollout":
            assert self.run is not None
            return [
                rollout(
                    p, self.run, samples=config.samples, seed=config.seed, level_s=config.head.population_s
                )
                for p in self.problems
            ]
        if name == "glm_rollout":
            return [
                glm_rollout(p, self._glm(p.series.recording), samples=config.samples, seed=config.seed)
                for p in self.problems
            ]
        if name == "conditioned_mean":
            return [baselines.conditioned_mean(p, self.condition) for p in self.problems]
        return [_PLAIN[name](p) for p in self.problems]

    def _glm(self, recording: Recording) -> PoissonGLM:
        if self.run is not None:
            return session_glm(self.run, recording, self.config.glm)
        return fit_glm(recording, config=dataclasses.replace(self.config.glm))

    def score(self, forecasts: dict[str, list[Forecast]]) -> Summary:
        """Scores of all forecasts; all methods of a session by the same draws."""
        config = self.config
        bin_s = self.problems[0].series.recording.bin_s
        block_s = config.block_s or config.horizon * bin_s
        curves = {}
        for k, problem in enumerate(self.problems):
            draws = BlockDraws(origin_blocks(problem, block_s), draws=config.draws, seed=config.seed)
            curves[problem.series.recording.session_id] = {
                name: score_forecast(problem, found[k].values, draws, standardize=config.standardize)
                for name, found in forecasts.items()
            }
        return Summary(curves=curves, bin_s=bin_s)

    def metrics(self, summary: Summary, forecasts: dict[str, list[Forecast]]) -> dict[str, Any]:
        """What metrics.json says."""
        every = list(next(iter(next(iter(summary.curves.values())).values())).scores)
        main = METRICS[self.kind]
        return {
            "target": self.kind,
            "part": self.config.part,
            "condition": self.condition or None,
            "bin_s": summary.bin_s,
            "horizon_s": [summary.bin_s * (h + 1) for h in range(summary.horizon)],
            "origins": {p.series.recording.session_id: len(p.origins) for p in self.problems},
            "median": {
                method: {metric: summary.median(method, metric).tolist() for metric in every}
                for method in summary.methods
            },
            "sessions": {
                session: {
                    method: {
                        metric: {
                            "value": [s.value for s in curve.scores[metric]],
                            "interval": [s.interval for s in curve.scores[metric]],
                        }
                        for metric in every
                    }
                    for method, curve in found.items()
                }
                for session, found in summary.curves.items()
            },
            "compared": {metric: summary.compared(metric) for metric in main},
            "sentence": " ".join(summary.sentence(metric) for metric in (main[0], main[-1])),
            "chosen": {
                problem.series.recording.session_id: {
                    name: found[k].chosen for name, found in forecasts.items() if found[k].chosen
                }
                for k, problem in enumerate(self.problems)
            },
        }


def _write_forecasts(path: Path, problem: Problem, found: dict[str, Forecast]) -> None:
    """Ours and what happened, in the file's unit: (O, H, N) float32 with the time of each origin."""
    series, rows = problem.series, problem.origins
    path.parent.mkdir(parents=True, exist_ok=True)
    epochs = series.recording.epochs
    ours: dict[str, Any] = {name: series.stored(one.values).astype(np.float32) for name, one in found.items()}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            origin_s=[float(epochs[e].time_of(t + 1)) for e, t in zip(rows.epoch, rows.at, strict=True)],
            horizon_s=series.recording.bin_s * np.arange(1, problem.horizon + 1),
            truth=series.stored(problem.truth).astype(np.float32),
            **ours,
        )


def _write_table(path: Path, summary: Summary) -> None:
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["session_id", "method", "metric", "horizon", "horizon_s", "value", "low", "high"])
        for session, methods in summary.curves.items():
            for method, curve in methods.items():
                for metric, scores in curve.scores.items():
                    for h, score in enumerate(scores, 1):
                        low, high = score.interval or ("", "")
                        value = score.value if np.isfinite(score.value) else ""
                        writer.writerow(
                            [session, method, metric, h, f"{h * summary.bin_s:.6g}", value, low, high]
                        )
