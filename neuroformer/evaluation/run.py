"""`neuroformer evaluate`: held-out scores of a run, written as tables, figures' data and metrics."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuroformer.baselines.glm import PoissonGLM, fit_glm
from neuroformer.batch import Batch
from neuroformer.data import Part, Recording, Span
from neuroformer.evaluation.blocks import LogIntensity, score_blocks
from neuroformer.evaluation.summary import NULL, SessionScores, session_scores, summarize, unit_bits
from neuroformer.evaluation.trained_run import TrainedRun, load_run
from neuroformer.files import RunFolder, atomic_path
from neuroformer.settings.evaluation import EvaluateConfig
from neuroformer.settings.glm import GLMConfig


def evaluate(config: EvaluateConfig, *, command: str = "neuroformer evaluate") -> dict[str, Any]:
    """Score a run and write RUN/evaluate.

    Returns:
        The content of metrics.json.
    """
    part: Part = "val" if config.part == "val" else "test"
    run = load_run(config.run, checkpoint=config.checkpoint, sessions=config.sessions)
    out = Path(config.out) if config.out else run.folder / "evaluate"
    folder = RunFolder.create(out, overwrite=config.overwrite, command=command, config=config)
    started = time.monotonic()
    sessions, levels = [], []
    for recording in run.data.recordings:
        methods: dict[str, LogIntensity] = {"model": lambda batch: run.trained.model(batch)[0]}
        if config.glm:
            methods["poisson_glm"] = session_glm(run, recording, config.glm_settings).log_intensity
        rate = run.trained.vocabulary[recording.session_id].train_rate
        methods[NULL] = constant_rate(rate)
        blocks = score_blocks(run.data, recording, methods, part=part, block_s=min(1.0, config.block_s))
        sessions.append(session_scores(recording, blocks, rate / run.data.config.bin_s))
        if run.trained.vocabulary[recording.session_id].n_levels > 1:
            levels.append(level_bits(run, recording, part))
    block_s = sessions_block_s(run, config)
    rng = np.random.default_rng(config.seed)
    group = max(1, round(config.block_s / block_s))
    summary = summarize(sessions, group=group, rng=rng)
    summary["sessions"] = {s.session_id: summarize([s], group=group, rng=rng) for s in sessions}
    if levels:
        events, bits = np.sum(levels, axis=0)
        summary["level_bits_per_event"] = float(bits / events)
    summary["part"] = config.part
    summary["seconds"] = time.monotonic() - started
    _write_units(folder.path / "per_unit.csv", run, sessions)
    _write_raster(folder.path / "raster.npz", run, part, config.raster_s)
    folder.finish(summary)
    return summary


def sessions_block_s(run: TrainedRun, config: EvaluateConfig) -> float:
    """Seconds of the blocks in which the sessions were scored."""
    truth = run.data.recordings[0].session.truth
    return truth.block_s if truth is not None and len(truth.block_starts) else min(1.0, config.block_s)


def constant_rate(rate: np.ndarray) -> LogIntensity:
    """The homogeneous Poisson process at the given events per bin (N,)."""
    log_rate = torch.as_tensor(np.log(rate), dtype=torch.float32)

    def log_intensity(batch: Batch) -> Tensor:
        return log_rate.expand(len(batch.session), batch.n_bins - batch.first_scored, -1)

    return log_intensity


def session_glm(run: TrainedRun, recording: Recording, config: GLMConfig) -> PoissonGLM:
    """The Poisson GLM of a session: fitted on its training part, or read back if that was done since the run began.

    One that was fitted to other events is never read back: a generated session carries the name of the one it imitates.
    """
    path = run.glm_path(recording)
    model = run.trained.model.config
    config = dataclasses.replace(
        config,
        window_s=config.window_s or model.coupling.window_s,
        history_window_s=config.history_window_s or model.history.window_s,
    )
    wanted = {**dataclasses.asdict(config), "events": _digest(recording)}
    if path.exists() and path.stat().st_mtime >= (run.folder / "config.yaml").stat().st_mtime:
        kept = PoissonGLM.load(path)
        if kept.settings == wanted:
            return kept
    glm = fit_glm(recording, config=config)
    glm.settings = wanted
    glm.save(path)
    return glm


def _digest(recording: Recording) -> str:
    """Stands for the events of the training part."""
    found = hashlib.sha256()
    for span in recording.part("train"):
        tokens = recording.tokens(span)
        found.update(f"{span.epoch} {span.start} {span.stop}".encode())
        for values in (tokens.bins, tokens.units):
            found.update(np.ascontiguousarray(values, np.int64).tobytes())
    return found.hexdigest()


def level_bits(run: TrainedRun, recording: Recording, part: Part) -> tuple[float, float]:
    """Events, and bits that the model's level head gains over each level's frequency in training."""
    entry = run.trained.vocabulary[recording.session_id]
    null = np.log(np.maximum(entry.level_counts, 0.5) / entry.level_counts.sum())
    events = nats = 0.0
    with torch.no_grad():
        for _, batch in run.data.in_order(part, [recording]):
            found = run.trained.model.likelihood(batch).levels.double()
            counted = batch.event_mask & batch.scored.gather(1, batch.event_bin)
            base = torch.as_tensor(null)[batch.event_level[counted]]
            events += float(counted.sum())
            nats += float(found[counted].sum() - base.sum())
    return events, nats / math.log(2)


def _write_units(path: Path, run: TrainedRun, sessions: list[SessionScores]) -> None:
    methods = [name for name in sessions[0].bits if name != NULL]
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["session_id", "unit", "unit_id", "n_events", *methods])
        for session in sessions:
            ids = run.trained.vocabulary[session.session_id].unit_ids
            scores = [unit_bits(session, name) for name in methods]
            for unit, n in enumerate(session.events.sum(0)):
                row = [f"{score[unit]:.6g}" if n else "" for score in scores]
                writer.writerow([session.session_id, unit, ids[unit], int(n), *row])


def _write_raster(path: Path, run: TrainedRun, part: Part, seconds: float) -> None:
    """Data and prediction of the first seconds of the first session's part."""
    recording = run.data.recordings[0]
    span = recording.part(part)[0]
    n_bins = max(1, round(seconds / recording.bin_s))
    span = Span(epoch=span.epoch, start=span.start, stop=min(span.stop, span.start + n_bins))
    batch = next(run.data.batches_of(recording, [span]))
    with torch.no_grad():
        intensity = run.trained.model(batch)[0].exp()[0]
    epoch = recording.epochs[span.epoch]
    with atomic_path(path) as temporary:
        np.savez_compressed(
            temporary,
            time=epoch.start + np.arange(span.start, span.stop) * epoch.bin_s,
            counts=recording.counts(span),
            intensity=intensity.numpy().astype(np.float32),
            bin_s=recording.bin_s,
            session_id=recording.session_id,
        )
