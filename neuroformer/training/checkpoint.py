"""Checkpoints: a model with its vocabulary and settings, read without running any code in the file."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from neuroformer import __version__
from neuroformer.data import Vocabulary
from neuroformer.errors import UserError
from neuroformer.files import atomic_path
from neuroformer.model import ModelConfig, Neuroformer
from neuroformer.settings.context import AlignmentConfig, ContextConfig, ReadoutConfig, TaskConfig
from neuroformer.settings.data import DataConfig, SplitConfig
from neuroformer.settings.model import CouplingConfig, HistoryConfig, TrunkConfig
from neuroformer.settings.variables import LabelsConfig, VariableConfig
from neuroformer.training.build import build_model
from neuroformer.training.knowledge import Knowledge
from neuroformer.training.unit_encoder import UnitEncoder


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A model as it was saved.

    Attributes:
        model: in evaluation mode, on the CPU.
        vocabulary: its sessions.
        settings: the configuration of the run, as builtins.
        version: the version of neuroformer that wrote it.
        step: optimiser steps taken.
        knowledge: what a new animal is decoded with; None where nothing is inverted.
        unit_encoder: new units from their activity; None after fine-tuning of what all units share, and in checkpoints
            of before there was one.
    """

    model: Neuroformer
    vocabulary: Vocabulary
    settings: dict[str, Any]
    version: str
    step: int
    knowledge: Knowledge | None = None
    unit_encoder: UnitEncoder | None = None


def load_checkpoint(path: str | Path) -> TrainedModel:
    """Read a checkpoint that `pretrain.py` wrote.

    Raises:
        UserError: the file is missing, broken, not a checkpoint of this project, or holds code.
    """
    content = read_checkpoint(path)
    about = content["neuroformer"]
    try:
        version, step = about["version"], content.get("global_step", 0)
        if not isinstance(version, str) or type(step) is not int:
            raise ValueError("version or global_step is of another type")
        vocabulary = Vocabulary.from_state(about["vocabulary"])
        config = model_config(about["settings"]["model"])
        data_config(about["settings"]["data"])  # a reader of the run will need it
        model = build_model(config, vocabulary, n_levels=about["n_levels"])
        prefix = "model."
        weights = {k[len(prefix) :]: v for k, v in content["state_dict"].items() if k.startswith(prefix)}
        _check_weights(weights, model)
        model.load_state_dict(weights)
        knowledge = Knowledge.from_state(about["knowledge"]) if about.get("knowledge") else None
        encoder = UnitEncoder.from_state(about["unit_encoder"]) if about.get("unit_encoder") else None
    except (
        LookupError,
        TypeError,
        ValueError,
        RuntimeError,
        ArithmeticError,
        AttributeError,
        MemoryError,
    ) as error:
        reason = _reason(error)
        raise UserError(
            f"{path}: written by neuroformer {str(about.get('version', '(unknown)'))[:40]}, this version cannot "
            f"rebuild its model ({reason}); install that version or pretrain again"
        ) from error
    return TrainedModel(
        model=model.eval(),
        vocabulary=vocabulary,
        settings=about["settings"],
        version=version,
        step=step,
        knowledge=knowledge,
        unit_encoder=encoder,
    )


def _check_weights(weights: dict[str, Any], model: Neuroformer) -> None:
    """Refuse what loading would cast without a word, and what training that went wrong has left."""
    for name, wanted in model.state_dict().items():
        found = weights.get(name)
        if found is None:
            continue  # which loading names
        if (
            not isinstance(found, torch.Tensor)
            or found.dtype != wanted.dtype
            or found.layout != wanted.layout
        ):
            kind = found.dtype if isinstance(found, torch.Tensor) else "no tensor"
            raise ValueError(f"weights {name} are {kind}, expected {wanted.dtype}")
        if found.is_floating_point() and torch.isfinite(wanted).all() and not torch.isfinite(found).all():
            raise ValueError(f"weights {name} are NaN or infinite")


def _reason(error: Exception) -> str:
    """Why a model cannot be rebuilt, in one line for a user."""
    if isinstance(error, KeyError):
        return f"{error} is not there"
    if isinstance(error, TypeError | AttributeError):
        return "a part is of another type than expected"
    if isinstance(error, MemoryError) or "allocate" in str(error):
        return "its settings ask for more memory than there is"
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def checkpoint_path(run: str | Path, checkpoint: str) -> Path:
    """File of a run's checkpoint: `best`, `last`, or a file of any name."""
    named = checkpoint in ("best", "last")
    return Path(run) / "checkpoints" / f"{checkpoint}.ckpt" if named else Path(checkpoint)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The content of a checkpoint file: builtins and tensors; nothing in the file is executed."""
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise UserError(f"{path}: {what}; expected a checkpoint such as RUN/checkpoints/best.ckpt")
    try:
        # PyTorch looks at no checksum: weights with flipped bits would be taken for trained ones.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"{damaged} does not agree with its checksum")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError:
        raise
    except Exception as error:  # zipfile and the unpickler raise all kinds on broken files
        raise UserError(
            f"{path}: not a checkpoint that can be read safely (broken, or it holds code); use one that "
            "pretrain.py wrote"
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("neuroformer"), dict):
        raise UserError(
            f"{path}: a PyTorch file, but not a checkpoint of neuroformer; use one that pretrain.py wrote"
        )
    told = content["neuroformer"].pop("digest", None)  # checkpoints of before have none
    if told is not None and told != _digest(content):
        raise UserError(
            f"{path}: its content is not what was written (the file is damaged); use another checkpoint of the run, "
            "or train again"
        )
    return content


def write_checkpoint(content: dict[str, Any], path: str | Path) -> None:
    """Write a checkpoint, whole or not at all, with a digest of what it holds.

    Raises:
        UserError: the disk is full; a checkpoint that had the name is as it was.
    """
    content = {**content, "neuroformer": {**content["neuroformer"]}}
    content["neuroformer"]["digest"] = _digest(content)
    # Through a file of Python's, as torch's own writer loses the system's error number.
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file)


def _digest(content: Any) -> str:
    """SHA-256 of all keys, values and tensors: checksums of an archive's members do not tell when two are exchanged."""
    found = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            found.update(f"{value.dtype} {tuple(value.shape)};".encode())
            found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        elif isinstance(value, Mapping):
            for key, item in value.items():
                found.update(f"{key!r}:".encode())
                add(item)
            found.update(b"};")
        elif isinstance(value, list | tuple):
            for item in value:
                add(item)
            found.update(b"];")
        else:
            found.update(f"{value!r};".encode())

    add(content)
    return found.hexdigest()


def save_model(
    folder: Path,
    *,
    model: Neuroformer,
    vocabulary: Vocabulary,
    settings: dict[str, Any],
    knowledge: Knowledge | None,
    unit_encoder: UnitEncoder | None,
    validation: dict[str, float],
) -> None:
    """Write a model that no training step has touched as best.ckpt and last.ckpt of a run."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "state_dict": {f"model.{name}": value for name, value in model.state_dict().items()},
        "global_step": 0,
        "neuroformer": {
            "version": __version__,
            "settings": settings,
            "vocabulary": vocabulary.state(),
            "n_levels": model.n_levels,
            "events_trained": 0,
            "validation": validation,
            "knowledge": None if knowledge is None else knowledge.state(),
            "unit_encoder": None if unit_encoder is None else unit_encoder.state(),
        },
    }
    for name in ("best", "last"):
        write_checkpoint(content, folder / f"{name}.ckpt")


def add_knowledge(path: Path, knowledge: Knowledge | None, unit_encoder: UnitEncoder | None) -> None:
    """Write what was learned after training into a checkpoint."""
    content = read_checkpoint(path)
    for name, part in (("knowledge", knowledge), ("unit_encoder", unit_encoder)):
        if part is not None:
            content["neuroformer"][name] = part.state()
    write_checkpoint(content, path)


def task_config(settings: dict[str, Any]) -> TaskConfig:
    """The tasks from builtins."""
    return TaskConfig(**settings)


def model_config(settings: dict[str, Any]) -> ModelConfig:
    """The model's configuration from builtins."""
    return ModelConfig(
        coupling=CouplingConfig(**settings["coupling"]),
        history=HistoryConfig(**settings["history"]),
        trunk=TrunkConfig(**settings["trunk"]),
        context=ContextConfig(**settings.get("context", {})),
        readout=ReadoutConfig(**settings.get("readout", {})),
        alignment=AlignmentConfig(**settings.get("alignment", {})),
    )


def data_config(settings: dict[str, Any]) -> DataConfig:
    """The data settings from builtins."""
    parts = {
        "split": SplitConfig(**settings["split"]),
        "labels": LabelsConfig(**settings.get("labels", {})),
        "variables": {name: VariableConfig(**value) for name, value in settings.get("variables", {}).items()},
    }
    return DataConfig(**{**settings, **parts})
