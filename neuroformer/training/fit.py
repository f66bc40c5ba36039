"""Training a model that is built: the trainer, its checkpoints and log, and what is learned when it ends."""

from __future__ import annotations

import dataclasses
import inspect
import logging
import math
import signal
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, EarlyStopping, TQDMProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.nn.parallel import DistributedDataParallel

from neuroformer.data import RecordingsModule
from neuroformer.errors import UsageError, UserError
from neuroformer.files import RunFolder
from neuroformer.model import Neuroformer
from neuroformer.settings.training import PretrainConfig
from neuroformer.training.checkpoint import add_knowledge, load_checkpoint, read_checkpoint
from neuroformer.training.compiled import compiled_blocks
from neuroformer.training.knowledge import Knowledge, learn_knowledge, learn_readouts
from neuroformer.training.log_file import LogFile
from neuroformer.training.module import SHOWN_EVERY, PretrainModule
from neuroformer.training.run_checkpoints import MONITOR, AtomicCheckpointIO, RunCheckpoints
from neuroformer.training.sharding import sharded_strategy
from neuroformer.training.stop import StopSignals
from neuroformer.training.unit_encoder import UnitEncoder, learn_unit_encoder


def fit(
    config: PretrainConfig,
    *,
    model: Neuroformer,
    data: RecordingsModule,
    folder: RunFolder,
    resume: Path | None = None,
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
        resume: checkpoint to go on from.
        before: what was known of behaviour before.
        unit_encoder: to be kept with the model.
        learn_encoder: learn one from the sessions of `data` instead, which are all that the model knows.
        more: further entries of metrics.json.

    Raises:
        UserError: the loss is no number, the disk is full, Ctrl-C, or nothing can be compiled.
        RunStoppedError: a signal asked for it.
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
    log_file = LogFile(folder.path / "log.csv", every=max(1, per_epoch // 10))
    with StopSignals() as signals:
        checkpoints = RunCheckpoints(
            folder.path / "checkpoints",
            every=config.checkpoint_every,
            signals=signals,
            go_on="the same command with resume=auto goes on"
            if learn_encoder
            else "a fine-tuning is begun again, by the same command with overwrite=true",
        )
        trainer = make_trainer(config, folder, n_epochs=n_epochs, callbacks=[log_file, checkpoints])
        device = trainer.strategy.root_device
        with compiled_blocks(model, device) if config.compile else nullcontext():
            train(trainer, module, data, checkpoints, resume=resume)
    validation = (
        read_checkpoint(checkpoints.best)["neuroformer"]["validation"]
        if checkpoints.best_score is not None
        else {}
    )
    metrics = {
        "val_bits_per_spike": validation.get("bits_per_spike"),
        **({"val_decode_nll": validation["decode_nll"]} if "decode_nll" in validation else {}),
        "steps": trainer.global_step,
        "events_trained": module.events_trained,
        "events_per_s": module.events_trained / log_file.seconds,
        "seconds": log_file.seconds,
        "skipped_steps": module.guard.skipped,
        "parameters": sum(math.prod(p.shape) for p in model.parameters()),
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
        **({"processes": trainer.world_size} if trainer.world_size > 1 else {}),
        **(more or {}),
    }
    if trainer.is_global_zero:
        torch.manual_seed(config.seed)  # what follows must not depend on how often training was interrupted
        paths = [path for path in (checkpoints.best, checkpoints.last) if path.exists()]
        readouts = learn_readouts(data, config.linear_readout)
        for path in paths:
            trained = load_checkpoint(path).model
            known = learn_knowledge(trained, data, before, readouts) if data.vocabulary.variables else None
            if learn_encoder:
                unit_encoder = learn_unit_encoder(trained, data, seed=config.seed)
                metrics["unit_encoder"] = unit_encoder.gains()
            add_knowledge(path, known, unit_encoder)
        folder.finish(metrics)
    return metrics


def make_trainer(
    config: PretrainConfig, folder: RunFolder, *, n_epochs: int, callbacks: list[Callback]
) -> L.Trainer:
    """Lightning's Trainer for a run.

    Raises:
        UsageError: Lightning refuses the settings.
    """
    callbacks = list(callbacks)
    if config.patience:
        callbacks.append(
            EarlyStopping(MONITOR, mode="max", patience=config.patience, check_on_train_epoch_end=True)
        )
    if config.trainer.get("enable_progress_bar", True):
        callbacks.append(TQDMProgressBar(refresh_rate=SHOWN_EVERY, leave=False))
    settings = {
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
        **config.trainer,
    }
    plugins: list[Any] = [AtomicCheckpointIO()]
    if SLURMEnvironment.detect() and "plugins" not in settings:
        # Lightning's own answer to SLURM's signals writes a checkpoint in the middle of whatever is being computed.
        plugins.append(SLURMEnvironment(auto_requeue=False))
    extra = settings.pop("plugins", None) or []
    plugins += extra if isinstance(extra, list) else [extra]
    settings["strategy"] = sharded_strategy(settings.get("strategy", "auto"))
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # no advertisements
    logger = _wandb(config, folder) if config.wandb else False
    try:
        trainer = L.Trainer(
            **settings,
            max_epochs=n_epochs,
            gradient_clip_val=config.optim.clip,
            use_distributed_sampler=False,
            callbacks=callbacks,
            plugins=plugins,
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
    if isinstance(trainer.strategy, DDPStrategy):
        # A batch uses what belongs to its sessions and to its task, no more; and buffers never change.
        trainer.strategy._ddp_kwargs.setdefault("find_unused_parameters", True)
        known = inspect.signature(DistributedDataParallel).parameters
        name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        trainer.strategy._ddp_kwargs.setdefault(name, False)
    return trainer


def train(
    trainer: L.Trainer,
    module: PretrainModule,
    data: RecordingsModule,
    checkpoints: RunCheckpoints,
    *,
    resume: Path | None,
) -> None:
    """Train, and turn the ways in which training is stopped into errors that say how to go on.

    Raises:
        RunStoppedError: a signal asked for it.
        UserError: Ctrl-C.
    """
    with warnings.catch_warnings():
        # Lightning's own use of a deprecated name of torch, and advice on its loaders: nothing for a user to act on.
        warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`")
        warnings.filterwarnings("ignore", message=r".*does not have many workers")
        # The sampler itself goes on in the middle of an epoch, without Lightning knowing.
        warnings.filterwarnings(
            "ignore", message=r"You're resuming from a checkpoint that ended before the epoch"
        )
        # What is logged is the same in every process already.
        warnings.filterwarnings("ignore", message=r"It is recommended to use `self.log\(.*sync_dist=True")
        warnings.filterwarnings("ignore", message=r"find_unused_parameters=True was specified in DDP")
        on_interrupt = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
        except SIGTERMException as stop:  # the signal came before training began
            raise checkpoints.stopped(trainer.global_step) from stop
        except (
            SystemExit
        ) as stop:  # Lightning answers Ctrl-C with an exit that says nothing, and ignores the next
            signal.signal(signal.SIGINT, on_interrupt)
            raise UserError(
                f"{checkpoints.folder.parent}: interrupted at step {trainer.global_step}; "
                + (
                    f"go on with resume={checkpoints.last}"
                    if checkpoints.last.exists()
                    else "no checkpoint was written yet"
                )
            ) from stop


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
