"""``neuroformer connectivity``: who drives whom, by every estimator, scored where the wiring is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neuroformer.cli.command import Command
from neuroformer.connectivity import (
    ConnectivityMap,
    ConnectivityScores,
    SessionConnectivity,
    from_lag_profile,
    mean_scores,
    score_connectivity,
    write_connectivity,
)
from neuroformer.connectivity.cross_correlation import cross_correlation
from neuroformer.connectivity.gallery import session_figures
from neuroformer.connectivity.table import calls, render_calls, render_summary
from neuroformer.errors import UsageError, UserError
from neuroformer.files import RunFolder
from neuroformer.plotting import save_figure
from neuroformer.session import Session

if TYPE_CHECKING:
    from neuroformer.evaluation.trained_run import TrainedRun

MODEL_ESTIMATORS = ("coupling", "self_attention", "poisson_glm")
CLASSICAL_ESTIMATORS = ("cross_correlation",)
Q = 0.05  # false-discovery rate at which pairs are called
SEED = 0  # of the bootstrap; the same for every estimator, so that their draws are paired


@dataclass(kw_only=True)
class ConnectivityConfig:
    """Settings of ``neuroformer connectivity``."""

    run: str = ""
    """Folder of a pretrain run whose model is read out; empty for the classical estimators alone."""
    data: list[str] = field(default_factory=list)
    """Session files; by default those that the run was trained on."""
    out: str = ""
    """Folder for the results; by default the folder `connectivity` inside the run."""
    overwrite: bool = False
    """Replace the results of a finished run in the same folder."""
    estimators: list[str] = field(default_factory=list)
    """Any of coupling, self_attention, poisson_glm (these need run=), cross_correlation; by default all."""
    checkpoint: str = "best"
    """Checkpoint of the run: `best`, `last`, or a file."""
    bin_s: float | None = None
    """Width of a bin of the cross-correlation in seconds; by default the model's, or 0.005 without one."""
    lags: int | None = None
    """Longest lag of the cross-correlation in bins; by default the model's, or 0.1 s without one."""

    def __post_init__(self) -> None:
        """Check what depends on more than one key."""
        known = (*MODEL_ESTIMATORS, *CLASSICAL_ESTIMATORS)
        self.estimators = list(dict.fromkeys(self.estimators))
        for name in self.estimators:
            if name not in known:
                raise UsageError(f"estimators: unknown {name!r}; expected any of {', '.join(known)}")
            if name in MODEL_ESTIMATORS and not self.run:
                raise UsageError(
                    f"estimators: {name} reads a trained model; add run=FOLDER of a pretrain run"
                )
        if not self.run and not self.data:
            raise UsageError(
                "run, data: both empty; name a pretrain run (run=FOLDER) or session files (data=[FILE,...])"
            )
        if not self.run and not self.out:
            raise UsageError(
                "out: empty; name the folder for the results (out=DIR), it is known only when run= is given"
            )
        if self.bin_s is not None and self.bin_s <= 0:
            raise UsageError(f"bin_s={self.bin_s:g}: expected seconds above 0")
        if self.lags is not None and self.lags < 1:
            raise UsageError(f"lags={self.lags}: expected 1 or more bins")


def run(config: ConnectivityConfig) -> None:
    """Estimate, write, score, draw, and print one table."""
    reader = None
    if config.run:
        from neuroformer.evaluation.trained_run import load_run

        reader = ModelReader(run=load_run(config.run, checkpoint=config.checkpoint, sessions=config.data))
        files = [Path(recording.session.path) for recording in reader.run.data.recordings]
        trained_bin_s = reader.run.data.config.bin_s
        window_s = reader.run.trained.model.config.coupling.window_s
    else:
        files, trained_bin_s, window_s = [Path(file) for file in config.data], 0.005, 0.1
    bin_s = config.bin_s or trained_bin_s
    lags = config.lags or max(1, round(window_s / bin_s))
    available = reader.available() if reader else []
    names = config.estimators or [*available, *CLASSICAL_ESTIMATORS]
    if "self_attention" in names and "self_attention" not in available:
        raise UserError(
            f"estimators: self_attention, but the model of {config.run} has no transformer block; leave it out"
        )
    check_unique(files)
    out = Path(config.out or Path(config.run) / "connectivity")
    folder = RunFolder.create(out, overwrite=config.overwrite, command=COMMAND.name, config=config)

    sessions = [estimate_session(file, names, reader, bin_s=bin_s, lags=lags) for file in files]
    write_connectivity(folder.path / "connectivity.h5", sessions)
    scores = {session.session_id: score_session(session) for session in sessions if session.scorable}
    for session in sessions:
        for kind, figure in session_figures(session, q=Q):
            save_figure(figure, folder.figures / f"{kind}_{session.session_id}.png")

    pooled = {
        name: mean_scores([by_name[name] for by_name in scores.values()], rng=np.random.default_rng(SEED))
        for name in names
        if scores
    }
    unscored = [session for session in sessions if not session.scorable]
    print(render_summary(pooled, n_scored=len(scores), n_sessions=len(sessions)))
    if unscored:
        print(render_calls(unscored, q=Q))
    print(f"matrices and figures: {folder.path}")
    folder.finish(
        {
            "connectivity": _as_dicts(pooled),
            "sessions": {session_id: _as_dicts(by_name) for session_id, by_name in scores.items()},
            "calls": calls(sessions, q=Q),
        }
    )


def _as_dicts(scores: Mapping[str, ConnectivityScores]) -> dict[str, dict[str, float]]:
    return {name: score.as_dict() for name, score in scores.items()}


def estimate_session(
    file: Path, names: Sequence[str], reader: ModelReader | None, *, bin_s: float, lags: int
) -> SessionConnectivity:
    """Run the named estimators on one session file."""
    with Session(file) as session:
        maps = reader.estimates(session.session_id, names) if reader else {}
        if "cross_correlation" in names:
            maps["cross_correlation"] = cross_correlation(session, bin_s=bin_s, n_lags=lags)
        truth = session.truth
        return SessionConnectivity(
            session_id=session.session_id,
            unit_ids=session.units.get("id", np.arange(session.n_units)),
            maps=tuple(maps[name] for name in names),
            weights=None if truth is None else truth.weights,
            delays=None if truth is None else truth.delays,
        )


@dataclass(frozen=True, kw_only=True)
class ModelReader:
    """Reads the estimates of a trained run, session by session."""

    run: TrainedRun

    def available(self) -> list[str]:
        """Estimators that this model has; a trunk without blocks has no self-attention."""
        trunk = self.run.trained.model.trunk
        return [
            name
            for name in MODEL_ESTIMATORS
            if name != "self_attention" or (trunk is not None and trunk.blocks)
        ]

    def estimates(self, session_id: str, names: Sequence[str]) -> dict[str, ConnectivityMap]:
        """The named estimates of one session."""
        from neuroformer.connectivity.model_maps import coupling, self_attention
        from neuroformer.evaluation.run import session_glm
        from neuroformer.settings.glm import GLMConfig

        recording = next(r for r in self.run.data.recordings if r.session_id == session_id)
        model, index = self.run.trained.model, self.run.session_index(recording)
        maps = {}
        if "coupling" in names:
            maps["coupling"] = coupling(model, index)
        if "self_attention" in names:
            maps["self_attention"] = self_attention(model, self.run.data, recording)
        if "poisson_glm" in names:
            maps["poisson_glm"] = from_lag_profile(
                "poisson_glm",
                session_glm(self.run, recording, GLMConfig()).coupling_map().double().numpy(),
                recording.bin_s,
                description="change of the target's log-intensity after an event of the source, its size over lags",
            )
        return maps


def score_session(session: SessionConnectivity) -> dict[str, ConnectivityScores]:
    """Score every estimate of a session whose wiring is known."""
    assert session.weights is not None
    scores = {}
    for estimate in session.maps:
        try:
            scores[estimate.name] = score_connectivity(
                estimate, session.weights, session.delays, rng=np.random.default_rng(SEED)
            )
        except UserError as error:
            raise UserError(f"{session.session_id}, {estimate.name}: {error}") from error
    return scores


def check_unique(files: Sequence[Path]) -> None:
    """Refuse two files that hold the same session, because results are kept by session id."""
    seen: dict[str, Path] = {}
    for file in files:
        with Session(file) as session:
            session_id = session.session_id
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
