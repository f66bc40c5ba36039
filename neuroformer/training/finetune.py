"""Fine-tuning: new sessions in a pretrained model.

The vocabulary grows by the new sessions; their units get fresh embeddings (POYO's recipe for a new animal:
Azabou et al. 2023,
arXiv 2310.16046, section 2.4). With mode `units` only rows of the new sessions learn.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuroformer.data import RecordingsModule
from neuroformer.errors import UserError
from neuroformer.files import RunFolder
from neuroformer.model import Neuroformer
from neuroformer.settings.finetune import FinetuneConfig, finetune_data
from neuroformer.settings.training import PretrainConfig
from neuroformer.training.build import session_shape
from neuroformer.training.checkpoint import data_config, load_checkpoint
from neuroformer.training.run import check_trainer_keys, drop_results, fit


def finetune(config: FinetuneConfig, *, command: str = "finetune.py") -> dict[str, Any]:
    """Add sessions to a pretrained model and tune it on them.

    Returns:
        The content of metrics.json.

    Raises:
        UserError: for bad files or settings; mode `units` with sessions that the model knows already.
    """
    check_trainer_keys(config.trainer)
    folder_in = Path(config.run)
    path = (
        folder_in / "checkpoints" / f"{config.checkpoint}.ckpt"
        if config.checkpoint in ("best", "last")
        else Path(config.checkpoint)
    )
    trained = load_checkpoint(path)
    model, vocabulary = trained.model, trained.vocabulary
    n_old = len(vocabulary)
    data = RecordingsModule(
        config=finetune_data(config, data_config(trained.settings["data"])),
        context_bins=model.context,
        batches_per_epoch=min(config.val_every, config.optim.steps),
        vocabulary=vocabulary,
    )
    new = list(vocabulary)[n_old:]
    if config.mode == "units" and len(new) < len(data.recordings):
        known = next(r.session_id for r in data.recordings if r.session_id not in {e.session_id for e in new})
        raise UserError(
            f"mode=units: session {known!r} is in the model of {config.run} already; leave it out, or use mode=full"
        )
    if any(entry.n_levels > model.n_levels for entry in new):
        raise UserError(
            f"sessions: {config.sessions} have amplitude levels, the model of {config.run} has {model.n_levels}; "
            "pretrain with sessions that have amplitudes"
        )
    run = PretrainConfig(
        out=config.out,
        overwrite=config.overwrite,
        data=data.config,
        model=model.config,
        optim=config.optim,
        val_every=config.val_every,
        patience=config.patience,
        seed=config.seed,
        trainer=config.trainer,
    )
    folder = RunFolder.create(Path(config.out), overwrite=config.overwrite, command=command, config=config)
    if config.overwrite:
        drop_results(folder.path)
    torch.manual_seed(config.seed)
    old_rows = int(model.offsets[-1])
    for entry in new:
        model.add_session(session_shape(entry))
    if config.mode == "units":
        learn_new_sessions_only(model, n_sessions=n_old, n_rows=old_rows)
    return fit(run, model=model.train(), data=data, folder=folder)


def learn_new_sessions_only(model: Neuroformer, *, n_sessions: int, n_rows: int) -> None:
    """Freeze everything but the rows of sessions past the first `n_sessions` and of units past the first `n_rows`.

    Tables keep one parameter for old and new rows, so the old rows' gradient is set to zero; without weight decay on
    tables, Adam then leaves them untouched.
    """
    model.requires_grad_(False)
    for tables, n_old in ((model.unit_tables(), n_rows), (model.session_tables(), n_sessions)):
        for parameter in tables:
            parameter.requires_grad_(True)
            parameter.register_hook(_zero_first(n_old))
    for session in range(n_sessions, len(model.train_bins)):
        for parameter in model.own_parameters(session):
            parameter.requires_grad_(True)


def _zero_first(n: int) -> Any:
    def hook(gradient: Tensor) -> Tensor:
        kept = gradient.clone()
        kept[:n] = 0
        return kept

    return hook
