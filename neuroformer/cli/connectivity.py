"""``neuroformer connectivity``: who drives whom, by every estimator, scored where the wiring is known."""

from __future__ import annotations

import dataclasses
import glob
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroformer.cli.command import Command
from neuroformer.connectivity import (
    ConnectivityScores,
    SessionConnectivity,
    mean_scores,
    score_connectivity,
    write_connectivity,
)
from neuroformer.connectivity.gallery import session_figures
from neuroformer.connectivity.table import calls, render_calls, render_summary
from neuroformer.errors import UserError
from neuroformer.files import RunFolder
from neuroformer.plotting import save_figure
from neuroformer.session import Session
from neuroformer.settings.connectivity import (
    BLOCK_ESTIMATORS,
    CLASSICAL_ESTIMATORS,
    GLM_ESTIMATORS,
    MODEL_ESTIMATORS,
    ConnectivityConfig,
)

if TYPE_CHECKING:
    from neuroformer.evaluation.trained_run import TrainedRun


def run(config: ConnectivityConfig) -> None:
    """Estimate, write, score, draw, and print one table."""
    trained = None
    names = [*GLM_ESTIMATORS, *CLASSICAL_ESTIMATORS]
    if config.run:
        from neuroformer.evaluation.trained_run import load_run

        trained = load_run(config.run, checkpoint=config.checkpoint, sessions=config.data)
        files = [Path(recording.session.path) for recording in trained.data.recordings]
        trained_bin_s, window_s = (
            trained.data.config.bin_s,
            trained.trained.model.config.coupling.window_s,
        )
        names = [*MODEL_ESTIMATORS, *(BLOCK_ESTIMATORS if _has_blocks(trained) else ()), *names]
    else:
        files, trained_bin_s, window_s = find_files(config.data), 0.005, 0.1
    missing = [name for name in config.estimators if name not in names]
    if missing:
        raise UserError(
            f"estimators: {missing[0]}, but the model of {config.run} has no transformer block; leave it out"
        )
    names = config.estimators or names
    bin_s = config.bin_s or trained_bin_s
    lags = config.lags or max(1, round(window_s / bin_s))
    check_unique(files)
    out = Path(config.out or Path(config.run) / "connectivity")
    folder = RunFolder.create(out, overwrite=config.overwrite, command=COMMAND.name, config=config)

    config = dataclasses.replace(config, bin_s=bin_s, lags=lags)
    sessions, seconds = [], {}
    for file in files:
        session, taken = estimate_session(file, names, trained, config)
        sessions.append(session)
        seconds[session.session_id] = taken
    write_connectivity(folder.path / "connectivity.h5", sessions)
    scores = {session.session_id: score_session(session, config) for session in sessions if session.scorable}
    for file, session in zip(files, sessions, strict=True):
        for kind, figure in session_figures(session, q=config.q, positions=_positions(file)):
            save_figure(figure, folder.figures / f"{kind}_{session.session_id}.png")

    pooled = {
        name: mean_scores(
            [by_name[name] for by_name in scores.values()], rng=np.random.default_rng(config.seed)
        )
        for name in names
        if scores
    }
    unscored = [session for session in sessions if not session.scorable]
    print(render_summary(pooled, n_scored=len(scores), n_sessions=len(sessions), q=config.q))
    if unscored:
        print(render_calls(unscored, q=config.q))
    print(f"matrices and figures: {folder.path}")
    folder.finish(
        {
            "connectivity": _as_dicts(pooled),
            "sessions": {session_id: _as_dicts(by_name) for session_id, by_name in scores.items()},
            "calls": calls(sessions, q=config.q),
            "seconds": seconds,
        }
    )


def _as_dicts(scores: Mapping[str, ConnectivityScores]) -> dict[str, dict[str, Any]]:
    return {name: score.as_dict() for name, score in scores.items()}


def _has_blocks(run: TrainedRun) -> bool:
    trunk = run.trained.model.trunk
    return trunk is not None and len(trunk.blocks) > 0


def estimate_session(
    file: Path, names: Sequence[str], run: TrainedRun | None, config: ConnectivityConfig
) -> tuple[SessionConnectivity, dict[str, float]]:
    """Run the named estimators on one session file; also the seconds that each took."""
    from neuroformer.connectivity.methods import Subject, estimate_all

    maps, seconds = estimate_all(Subject(file=file, config=config, run=run), names)
    with Session(file) as session:
        truth = session.truth
        return SessionConnectivity(
            session_id=session.session_id,
            unit_ids=session.units.get("id", np.arange(session.n_units)),
            maps=tuple(maps[name] for name in names),
            weights=None if truth is None else truth.weights,
            delays=None if truth is None else truth.delays,
        ), seconds


def _positions(file: Path) -> np.ndarray | None:
    """(N, 2 or 3) positions of the units, where the file has them for all."""
    with Session(file) as session:
        positions = session.units.get("position")
    if positions is None or positions.ndim != 2 or positions.shape[1] < 2 or not np.isfinite(positions).all():
        return None
    return positions


def score_session(session: SessionConnectivity, config: ConnectivityConfig) -> dict[str, ConnectivityScores]:
    """Score every estimate of a session whose wiring is known."""
    assert session.weights is not None
    scores = {}
    for estimate in session.maps:
        try:
            scores[estimate.name] = score_connectivity(
                estimate, session.weights, session.delays, q=config.q, rng=np.random.default_rng(config.seed)
            )
        except UserError as error:
            raise UserError(f"{session.session_id}, {estimate.name}: {error}") from error
    return scores


def find_files(patterns: Sequence[str]) -> list[Path]:
    """The files that names and wildcards stand for, in the order given."""
    files: list[Path] = []
    for pattern in patterns:
        found = sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]  # noqa: PTH207
        if not found:
            raise UserError(f"data: no file matches {pattern!r}; check the name, or quote it for the shell")
        files += map(Path, found)
    return files


def check_unique(files: Sequence[Path]) -> None:
    """Refuse a session without pairs, and two files that hold the same one, as results are kept by session id."""
    seen: dict[str, Path] = {}
    for file in files:
        with Session(file) as session:
            session_id, n_units = session.session_id, session.n_units
        if n_units < 2:
            raise UserError(f"{file}: has {n_units} unit; expected 2 or more, there is no pair to estimate")
        if session_id in seen:
            raise UserError(
                f"{file}: holds session {session_id!r}, and so does {seen[session_id]}; "
                "expected each session once, drop one of the files"
            )
        seen[session_id] = file


COMMAND = Command(
    name="neuroformer connectivity",
    summary="Estimate who drives whom, and score it where the wiring is known.",
    config=ConnectivityConfig,
    run=run,
    positional="data",
    examples=(
        "neuroformer connectivity run=out/circuit",
        "neuroformer connectivity circuit.h5 out=out/connectivity lags=10",
    ),
)
