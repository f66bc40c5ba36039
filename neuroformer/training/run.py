"""A pretraining run from its configuration to its folder of results."""

from __future__ import annotations

import difflib
import inspect
import logging
from pathlib import Path
from typing import Any

import lightning as L
import torch

from neuroformer.data import RecordingsModule, Vocabulary
from neuroformer.errors import UsageError
from neuroformer.files import read_json
from neuroformer.model import context_bins
from neuroformer.settings.data import DataConfig
from neuroformer.settings.model import ModelConfig
from neuroformer.settings.training import PretrainConfig
from neuroformer.training.build import build_model, variable_shape
from neuroformer.training.fit import epochs, fit
from neuroformer.training.knowledge import warm_start
from neuroformer.training.ranks import starts_first
from neuroformer.training.resume import check_resume, find_resume, is_finished, open_folder

# What the run sets itself, and the key to change instead.
_OWN_TRAINER_KEYS = {
    "max_steps": "optim.steps",
    "max_epochs": "optim.steps",
    "callbacks": "patience, val_every",
    "logger": "wandb",
    "gradient_clip_val": "optim.clip",
    "default_root_dir": "out",
    "use_distributed_sampler": "nothing (batches are shared out over ranks already)",
    "check_val_every_n_epoch": "val_every",
    "val_check_interval": "val_every",
}


def pretrain(config: PretrainConfig, *, command: str = "pretrain.py") -> dict[str, Any]:
    """Pretrain a model on the sessions of `config.data` and leave everything in `config.out`.

    Args:
        config: the settings.
        command: name of the command, for metrics.json.

    Returns:
        The content of metrics.json.

    Raises:
        UserError: for bad files or settings, and if the loss is no number any more.
        RunStoppedError: a signal asked for it; the run can be gone on with.
    """
    check_trainer_keys(config.trainer)
    if is_finished(config):
        logging.getLogger("neuroformer").warning("%s: is finished, nothing is left to do", config.out)
        found: dict[str, Any] = read_json(Path(config.out) / "metrics.json")
        return found
    resume = find_resume(config)
    data = _read(config, context_of(config.model, config.data))
    context = context_of(config.model, config.data, data.vocabulary)
    if context > data.context_bins:  # a frame stays longer than anything else is looked back at
        data = _read(config, context)
    if resume is not None:
        n_epochs, per_epoch = epochs(config.optim.steps, config.val_every)
        check_resume(config, resume, data.vocabulary, steps=n_epochs * per_epoch)
    folder = open_folder(
        Path(config.out),
        overwrite=config.overwrite,
        command=command,
        config=config,
        begins=resume is None,
        first=starts_first(),
    )
    torch.manual_seed(config.seed)
    model = build_model(config.model, data.vocabulary)
    if data.vocabulary.variables and resume is None:
        warm_start(model, data)
    return fit(config, model=model, data=data, folder=folder, resume=resume, learn_encoder=True)


def _read(config: PretrainConfig, context: int) -> RecordingsModule:
    return RecordingsModule(
        config=config.data,
        context_bins=context,
        batches_per_epoch=epochs(config.optim.steps, config.val_every)[1],
    )


def context_of(model: ModelConfig, data: DataConfig, vocabulary: Vocabulary | None = None) -> int:
    """Bins of the past that a model of these settings looks at.

    Args:
        model: its settings.
        data: those of the data.
        vocabulary: says how long frames stay, where there are any.
    """
    variables = data.variables.values()
    entries = [] if vocabulary is None else vocabulary.variables.values()
    stays = [variable_shape(entry, data.bin_s).horizon * data.bin_s for entry in entries if entry.is_input]
    return context_bins(
        model,
        data.bin_s,
        horizons_s=[*(variable.horizon_s for variable in variables if variable.role != "target"), *stays],
        decodes=any(variable.role != "context" for variable in variables),
        aligns=bool(variables) and model.alignment.weight > 0,
    )


def check_trainer_keys(settings: dict[str, Any]) -> None:
    """Refuse keys that Lightning's Trainer does not have, or that the run sets itself.

    Raises:
        UsageError: with the nearest valid key, or with the key to use instead.
    """
    known = list(inspect.signature(L.Trainer.__init__).parameters)[1:]
    for key in settings:
        if key in _OWN_TRAINER_KEYS:
            raise UsageError(f"trainer.{key}: set by the run itself; change {_OWN_TRAINER_KEYS[key]} instead")
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = (
                f"; did you mean trainer.{near[0]}?"
                if near
                else "; see the documentation of Lightning's Trainer"
            )
            raise UsageError(f"trainer.{key}: Lightning's Trainer has no such setting{hint}")
