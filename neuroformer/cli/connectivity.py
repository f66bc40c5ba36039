"""``neuroformer connectivity``: who drives whom, by every estimator, scored where the wiring is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neuroformer.cli.command import Command
from neuroformer.connectivity import (
    ConnectivityMap,
    ConnectivityScores,
    SessionConnectivity,
    mean_scores,
    score_connectivity,
    write_connectivity,
)
from neuroformer.connectivity.cross_correlation import cross_correlation
from neuroformer.connectivity.figures import draw_matrices, draw_precision_recall
from neuroformer.errors import UsageError, UserError
from neuroformer.files import RunFolder
from neuroformer.plotting import save_figure
from neuroformer.session import Session

MODEL_ESTIMATORS = ("coupling", "self_attention", "poisson_glm")
CLASSICAL_ESTIMATORS = ("cross_correlation",)


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
    bin_s: float = 0.005
    """Width of a bin of the cross-correlation, in seconds."""
    lags: int = 20
    """Longest lag of the cross-correlation, in bins."""
    seed: int = 0
    """Seed of whatever is drawn at random."""

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
        if self.bin_s <= 0 or self.lags < 1:
            raise UsageError(
                f"bin_s={self.bin_s:g}, lags={self.lags}: expected a positive width and at least one lag"
            )


def run(config: ConnectivityConfig) -> None:
    """Estimate, write, score, draw, and print one table."""
    names = config.estimators or [*(MODEL_ESTIMATORS if config.run else ()), *CLASSICAL_ESTIMATORS]
    files = [Path(file) for file in config.data] or training_sessions(Path(config.run))
    check_unique(files)
    out = Path(config.out or Path(config.run) / "connectivity")
    folder = RunFolder.create(out, overwrite=config.overwrite, command=COMMAND.name, config=config)

    sessions = [estimate_session(file, names, config) for file in files]
    write_connectivity(folder.path / "connectivity.h5", sessions)
    scores = {session.session_id: score_session(session) for session in sessions if session.scorable}
    for session in sessions:
        session_id = session.session_id
        save_figure(draw_matrices(session), folder.figures / f"matrices_{session_id}.png")
        if session.scorable:
            save_figure(draw_precision_recall(session), folder.figures / f"precision_recall_{session_id}.png")

    pooled = {name: mean_scores([by_name[name] for by_name in scores.values()]) for name in names if scores}
    print(render_summary(pooled, n_scored=len(scores), n_sessions=len(sessions)))
    print(f"matrices and figures: {folder.path}")
    folder.finish(
        {
            "connectivity": _as_dicts(pooled),
            "sessions": {session_id: _as_dicts(by_name) for session_id, by_name in scores.items()},
        }
    )


def _as_dicts(scores: Mapping[str, ConnectivityScores]) -> dict[str, dict[str, float]]:
    return {name: asdict(score) for name, score in scores.items()}


def estimate_session(file: Path, names: Sequence[str], config: ConnectivityConfig) -> SessionConnectivity:
    """Run the named estimators on one session file."""
    with Session(file) as session:
        maps = model_estimates(session, [name for name in names if name in MODEL_ESTIMATORS], config)
        if "cross_correlation" in names:
            maps["cross_correlation"] = cross_correlation(session, bin_s=config.bin_s, n_lags=config.lags)
        truth = session.truth
        return SessionConnectivity(
            session_id=session.session_id,
            unit_ids=session.units.get("id", np.arange(session.n_units)),
            maps=tuple(maps[name] for name in names),
            weights=None if truth is None else truth.weights,
            delays=None if truth is None else truth.delays,
        )


# ----------------------------------------------------------------------------------------------------------
# The part that knows the model: to be filled where the model's estimators are wired in.


def training_sessions(run: Path) -> list[Path]:
    """Return the session files that a pretrain run was trained on."""
    raise NotImplementedError


def model_estimates(
    session: Session, names: Sequence[str], config: ConnectivityConfig
) -> dict[str, ConnectivityMap]:
    """Return the named estimates that read the run's model, or are fitted on its training part, by name."""
    if names:
        raise NotImplementedError
    return {}


# ----------------------------------------------------------------------------------------------------------


def score_session(session: SessionConnectivity) -> dict[str, ConnectivityScores]:
    """Score every estimate of a session whose wiring is known."""
    assert session.weights is not None
    scores = {}
    for estimate in session.maps:
        try:
            scores[estimate.name] = score_connectivity(estimate.matrix, session.weights)
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


def render_summary(means: Mapping[str, ConnectivityScores], *, n_scored: int, n_sessions: int) -> str:
    """Lay out the scores as a table with a line per estimator, best average precision first."""
    if not means:
        return "no session has known wiring with edges in it: estimates are written, nothing is scored"
    first = next(iter(means.values()))
    header = ["estimator", "AP", "AUROC", "AP exc", "AP inh", "direction", "sign"]
    rows = [
        [name, score.average_precision, score.auroc, score.average_precision_excitatory,
         score.average_precision_inhibitory, score.direction_accuracy, score.sign_accuracy]
        for name, score in sorted(means.items(), key=lambda item: -item[1].average_precision)
    ]  # fmt: skip
    rows.append(["chance", first.chance, 0.5, first.chance_excitatory, first.chance_inhibitory, 0.5, 0.5])
    return f"{n_scored} of {n_sessions} sessions with known wiring\n" + align_table(header, rows)


def align_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Align names to the left and numbers, with three decimals, to the right."""
    cells = [list(header), *([str(name), *(f"{value:.3f}" for value in values)] for name, *values in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


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
