"""A finished pretraining run: its model and the data it was trained on, split as it was then."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from neuroformer.data import Recording, RecordingsModule
from neuroformer.errors import UserError
from neuroformer.training.checkpoint import TrainedModel, checkpoint_path, data_config, load_checkpoint


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """What `load_run` returns.

    Attributes:
        folder: the run.
        trained: the model with its vocabulary and settings.
        data: the sessions, with the split of the run.
    """

    folder: Path
    trained: TrainedModel
    data: RecordingsModule

    def session_index(self, recording: Recording) -> int:
        """Index of a recording's session in the model."""
        return self.trained.vocabulary.index(recording.session_id)

    def glm_path(self, recording: Recording) -> Path:
        """Where the Poisson GLM of a session is kept."""
        return self.folder / "baselines" / f"poisson_glm_{recording.session_id}.pt"


def load_run(run: str | Path, *, checkpoint: str = "best", sessions: list[str] | None = None) -> TrainedRun:
    """Load a run's model and open its sessions.

    Args:
        run: folder of a pretrain run.
        checkpoint: `best`, `last` or a file.
        sessions: other session files; they must be in the model's vocabulary.

    Raises:
        UserError: the folder is no run, or a file is missing or unknown to the model.
    """
    folder = Path(run)
    if not (folder / "checkpoints").is_dir():
        raise UserError(
            f"{folder}: not the folder of a pretrain run (no checkpoints/ in it); name the `out` of pretrain.py"
        )
    trained = load_checkpoint(checkpoint_path(folder, checkpoint))
    settings = data_config(trained.settings["data"])
    if sessions:
        settings = dataclasses.replace(settings, sessions=list(sessions))
    data = RecordingsModule(
        config=settings, context_bins=trained.model.context, vocabulary=trained.vocabulary, grow=False
    )
    return TrainedRun(folder=folder, trained=trained, data=data)
