"""A pretraining run from its configuration to its folder of results."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import logging
import math
import shutil
import signal
import time
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import Logger

from neuroformer.data import RecordingsModule, Vocabulary
from neuroformer.errors import UsageError, UserError
from neuroformer.files import RunFolder
from neuroformer.model import Neuroformer, context_bins
from neuroformer.settings.data import DataConfig
from neuroformer.settings.model import ModelConfig
from neuroformer.settings.training import PretrainConfig
from neuroformer.training.build import build_model, variable_shape
from neuroformer.training.checkpoint import add_knowledge, load_checkpoint, read_checkpoint
from neuroformer.training.knowledge import Knowledge, learn_knowledge, learn_readouts, warm_start
from neuroformer.training.log_file import LogFile
from neuroformer.training.module import PretrainModule
from neuroformer.training.unit_encoder import UnitEncoder, learn_unit_encoder

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
    """
    check_trainer_keys(config.trainer)
    data = _read(config, context_of(config.model, config.data))
    context = context_of(config.model, config.data, data.vocabulary)
    if context > data.context_bins:  # a frame stays longer than anything else is looked back at
        data = _read(config, context)
    if config.resume is not None:
        check_resume(config, data.vocabulary)
    folder = RunFolder.create(Path(config.out), overwrite=config.overwrite, command=command, config=config)
    if config.overwrite:
        drop_results(folder.path)
    torch.manual_seed(config.seed)
    model = build_model(config.model, data.vocabulary)
    if data.vocabulary.variables and config.resume is None:
        warm_start(model, data)
    return fit(config, model=model, data=data, folder=folder, learn_encoder=True)


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


def fit(
    config: PretrainConfig,
    *,
    model: Neuroformer,
    data: RecordingsModule,
    folder: RunFolder,
    before: Knowledge | None = None,
    unit_encoder: UnitEncoder | None = None,
    learn_encoder: bool = False,
    more: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Train a model that is built already; the rest as `pretrain`.

    Args:
        config: the settings.
        model: the model.
        data: its sessions.
        folder: for the results.
        before: what was known of behaviour before.
        unit_encoder: to be kept with the model.
        learn_encoder: learn one from the sessions of `data` instead, which are all that the model knows.
        more: further entries of metrics.json.
    """
    n_epochs, per_epoch = epochs(config.optim.steps, config.val_every)
    module = PretrainModule(
        model=model,
        vocabulary=data.vocabulary,
        optim=dataclasses.replace(config.optim, steps=n_epochs * per_epoch),
        settings=dataclasses.asdict(config),
        seed=config.seed,
        tasks=config.tasks,
    )
    where: dict[str, Any] = {
        "dirpath": folder.path / "checkpoints",
        "save_on_train_epoch_end": True,
        "enable_version_counter": False,
    }
    best = ModelCheckpoint(filename="best", monitor="val_objective", mode="max", **where)
    # A checkpoint of its own: Lightning's `save_last` writes only when the best is written.
    last = ModelCheckpoint(filename="last", **where)
    log_file = LogFile(folder.path / "log.csv", every=max(1, per_epoch // 10))
    callbacks: list[Callback] = [log_file, best, last]
    if config.patience:
        callbacks.append(
            EarlyStopping(
                "val_objective", mode="max", patience=config.patience, check_on_train_epoch_end=True
            )
        )
    if config.trainer.get("enable_progress_bar", True):
        callbacks.append(TQDMProgressBar(leave=False))
    settings = {
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
        **config.trainer,
    }
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # no advertisements
    logger = _wandb(config, folder) if config.wandb else False
    try:
        trainer = L.Trainer(
            **settings,
            max_epochs=n_epochs,
            gradient_clip_val=config.optim.clip,
            use_distributed_sampler=False,
            callbacks=callbacks,
            logger=logger,
            default_root_dir=folder.path,
        )
    except (
        MisconfigurationException,
        TypeError,
        ValueError,
    ) as error:  # no such device, precision, strategy …
        raise UsageError(
            f"trainer: Lightning refuses these settings: {' '.join(str(error).split())}"
        ) from error
    started = time.monotonic()
    with warnings.catch_warnings():
        # Lightning's own use of a deprecated name of torch, and advice on its loaders: nothing for a user to act on.
        warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`")
        warnings.filterwarnings("ignore", message=r".*does not have many workers")
        # A resumed or replaced run, as is meant.
        warnings.filterwarnings("ignore", message=r"Checkpoint directory .* exists and is not empty")
        on_interrupt = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(module, datamodule=data, ckpt_path=config.resume, weights_only=True)
        except (
            SystemExit
        ) as stop:  # Lightning answers Ctrl-C with an exit that says nothing, and ignores the next
            signal.signal(signal.SIGINT, on_interrupt)
            raise UserError(
                f"{folder.path}: interrupted at step {trainer.global_step}; "
                + (
                    f"go on with resume={last.best_model_path}"
                    if last.best_model_path
                    else "no checkpoint was written yet"
                )
            ) from stop
    seconds = time.monotonic() - started
    validation = (
        read_checkpoint(best.best_model_path)["neuroformer"]["validation"] if best.best_model_path else {}
    )
    metrics = {
        "val_bits_per_spike": validation.get("bits_per_spike"),
        **({"val_decode_nll": validation["decode_nll"]} if "decode_nll" in validation else {}),
        "steps": trainer.global_step,
        "events_trained": module.events_trained,
        "events_per_s": module.events_trained / seconds,
        "seconds": seconds,
        "parameters": sum(p.numel() for p in model.parameters()),
        "sessions": [
            {
                "session_id": entry.session_id,
                "file": str(recording.session.path),
                "units": entry.n_units,
                "train_events": int(entry.train_counts.sum()),
                "train_s": entry.train_bins * data.config.bin_s,
            }
            for recording in data.recordings
            for entry in [data.vocabulary[recording.session_id]]
        ],
        "device": str(trainer.strategy.root_device),
        "torch": torch.__version__,
        "seed": config.seed,
        **(more or {}),
    }
    if trainer.is_global_zero:
        paths = {Path(path) for path in (best.best_model_path, last.best_model_path) if path}
        readouts = learn_readouts(data, config.linear_readout)
        for path in sorted(paths):
            trained = load_checkpoint(path).model
            known = learn_knowledge(trained, data, before, readouts) if data.vocabulary.variables else None
            if learn_encoder:
                unit_encoder = learn_unit_encoder(trained, data, seed=config.seed)
                metrics["unit_encoder"] = unit_encoder.gains()
            add_knowledge(path, known, unit_encoder)
        folder.finish(metrics)
    return metrics


def check_resume(config: PretrainConfig, vocabulary: Vocabulary) -> None:
    """Refuse to go on from a checkpoint of another model or of other sessions.

    Raises:
        UserError: what differs; or the checkpoint cannot be read.
    """
    assert config.resume is not None
    about = read_checkpoint(config.resume)["neuroformer"]
    cure = "resume= continues the same run; give it the run's own config.yaml, or use finetune.py"
    if about["settings"]["model"] != dataclasses.asdict(config.model):
        raise UserError(f"{config.resume}: its model has other settings than model.* now; {cure}")
    found, expected = (
        [(s["session_id"], s["n_units"]) for s in state["sessions"]]
        for state in (about["vocabulary"], vocabulary.state())
    )
    if found != expected or about["vocabulary"]["bin_s"] != vocabulary.bin_s:
        raise UserError(f"{config.resume}: was trained on other sessions or another data.bin_s; {cure}")
    if about["vocabulary"].get("variables", []) != vocabulary.state()["variables"]:
        raise UserError(f"{config.resume}: was trained with other data.variables or data.labels; {cure}")


def drop_results(run: Path) -> None:
    """Remove what other commands computed from the model that is replaced; it would pass for the new one's."""
    for stage in ("evaluate", "connectivity", "baselines", "decode", "latents", "fewshot", "identity*"):
        for folder in run.glob(stage):
            shutil.rmtree(folder, ignore_errors=True)


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


def epochs(steps: int, val_every: int) -> tuple[int, int]:
    """Training epochs, each ended by a validation, and steps in each; steps are rounded up to whole epochs."""
    n_epochs = math.ceil(steps / val_every)
    return n_epochs, math.ceil(steps / n_epochs)


def _wandb(config: PretrainConfig, folder: RunFolder) -> Logger:
    try:
        from lightning.pytorch.loggers import WandbLogger

        return WandbLogger(project=config.wandb, save_dir=folder.path)
    except ModuleNotFoundError as error:
        raise UserError(
            "wandb: the package is not installed; pip install 'neuroformer[wandb]' or leave the key out"
        ) from error
