"""Fine-tuning: new sessions in a pretrained model.

The vocabulary grows by the new sessions; their units get fresh embeddings (POYO's recipe for a new animal:
Azabou et al. 2023, arXiv 2310.16046, section 2.4), are encoded from their unlabelled events, get tuning by Bayes, or
all of it, in stages. With modes `encode`, `bayes` and `units` what belongs to other sessions stays as it is, bit by
bit.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from neuroformer.data import Recording, RecordingsModule, Span, Vocabulary, find_sessions
from neuroformer.data.grid import Grid, make_grid
from neuroformer.data.motion import make_motion, with_unknown
from neuroformer.data.variable_entries import learn_variable
from neuroformer.data.variables import Binned
from neuroformer.errors import UserError
from neuroformer.inversion.filtering import forward, sample_path
from neuroformer.inversion.likelihood import grid_log_likelihood
from neuroformer.inversion.onboarding import hold_labels, infer_tuning, set_tuning
from neuroformer.metrics import bits_per_spike
from neuroformer.model import Neuroformer
from neuroformer.model.observation import poisson_log_likelihood
from neuroformer.settings.data import DataConfig
from neuroformer.settings.finetune import GRADIENT_MODES, FinetuneConfig, finetune_data
from neuroformer.settings.training import PretrainConfig
from neuroformer.training.build import build_model, session_shape
from neuroformer.training.checkpoint import (
    TrainedModel,
    checkpoint_path,
    data_config,
    load_checkpoint,
    save_model,
    task_config,
)
from neuroformer.training.fit import epochs, fit
from neuroformer.training.knowledge import Knowledge, learn_knowledge, other_inputs
from neuroformer.training.ranks import starts_first
from neuroformer.training.resume import open_folder
from neuroformer.training.run import check_trainer_keys
from neuroformer.training.unit_encoder import tune_encoded


@dataclass(kw_only=True)
class _Job:
    """A fine-tuning on its way."""

    config: FinetuneConfig
    trained: TrainedModel
    model: Neuroformer
    data: RecordingsModule
    n_sessions: int
    """Sessions that the model knew before."""
    n_rows: int
    """Units that it knew before."""

    @cached_property
    def knowledge(self) -> Knowledge:
        """What the run knows of behaviour, the new labels included."""
        found = learn_knowledge(self.model, self.data, self.trained.knowledge)
        if found is None or self.trained.knowledge is None or make_grid(self.data.vocabulary) is None:
            raise UserError(
                f"{self.config.run}: no variable that it both encodes and decodes, which mode=bayes and self_training "
                "need; pretrain with data.variables.NAME.role=both"
            )
        return found

    @property
    def grid(self) -> Grid:
        """Of the variables that are inverted."""
        grid = make_grid(self.data.vocabulary)
        assert grid is not None
        return grid


def finetune(config: FinetuneConfig, *, command: str = "finetune.py") -> dict[str, Any]:
    """Add sessions to a pretrained model and tune it on them.

    Returns:
        The content of metrics.json.

    Raises:
        UserError: for bad files or settings; modes `encode`, `bayes` and `units` with sessions that the model knows
            already.
    """
    check_trainer_keys(config.trainer)
    job = _prepare(config)
    folder = open_folder(
        Path(config.out),
        overwrite=config.overwrite,
        command=command,
        config=config,
        begins=True,
        first=starts_first(),
    )
    started = time.monotonic()
    encoded: dict[str, Any] = {}
    if config.stages[0] == "encode":
        encoded = {"encoded": encode_new_units(job)}
        assert job.trained.unit_encoder is not None
        if len(config.stages) == 1:
            encoded["untold"] = job.trained.unit_encoder.untold()
    if "bayes" in config.stages:
        infer_new_units(job)
    stages = [stage for stage in config.stages if stage in GRADIENT_MODES]
    run = _run_settings(job)
    if not stages:
        validation = validate(job.model, job.data)
        save_model(
            folder.path / "checkpoints",
            model=job.model,
            vocabulary=job.data.vocabulary,
            settings=asdict(run),
            # Without a stage that uses labels, none is learned from.
            knowledge=job.knowledge if "bayes" in config.stages else job.trained.knowledge,
            unit_encoder=job.trained.unit_encoder,
            validation=validation,
        )
        metrics: dict[str, Any] = {
            "stages": config.stages,
            "steps": 0,
            "seconds": time.monotonic() - started,
            "val_bits_per_spike": validation.get("bits_per_spike"),
            **encoded,
        }
        folder.finish(metrics)
        return metrics
    for k, stage in enumerate(stages):
        hooks = freeze(job.model, stage, n_sessions=job.n_sessions, n_rows=job.n_rows)
        optim = replace(config.optim, steps=_stage_steps(config))
        if config.self_training:
            draw_behaviour(job, seed=config.seed + k)
        metrics = fit(
            replace(run, optim=optim, seed=config.seed + k),
            model=job.model.train(),
            data=job.data,
            folder=folder,
            before=job.trained.knowledge,
            # What all units share must be as it was when the encoder was learned.
            unit_encoder=None if {"heads", "full"} & set(config.stages) else job.trained.unit_encoder,
            more=encoded,
        )
        for hook in hooks:
            hook.remove()
    return metrics


def _prepare(config: FinetuneConfig) -> _Job:
    """Read the run, open the sessions, and make room for them."""
    trained = load_checkpoint(checkpoint_path(config.run, config.checkpoint))
    if config.stages[0] == "encode" and trained.unit_encoder is None:
        raise UserError(
            f"mode=encode: the checkpoint of {config.run} holds no unit encoder (it was fine-tuned with heads or "
            "full, or written before there was one); start from its pretrained run, pretrain again, or use mode=units"
        )
    model, vocabulary = trained.model, trained.vocabulary
    n_sessions, n_rows = len(vocabulary), vocabulary.n_rows
    settings = finetune_data(config, data_config(trained.settings["data"]))
    if config.variables:
        model = _with_variables(config, settings, trained)
    data = RecordingsModule(
        config=settings,
        context_bins=model.context,
        batches_per_epoch=epochs(_stage_steps(config), config.val_every)[1],
        vocabulary=vocabulary,
    )
    new = list(vocabulary)[n_sessions:]
    names = {entry.session_id for entry in new}
    known = [r.session_id for r in data.recordings if r.session_id not in names]
    if known and {"encode", "bayes", "units"} & set(config.stages):
        stage = next(s for s in config.stages if s in ("encode", "bayes", "units"))
        raise UserError(
            f"mode={stage}: session {known[0]!r} is in the model of {config.run} already; leave it out, or "
            "use mode=full"
        )
    if any(entry.n_levels > model.n_levels for entry in new):
        raise UserError(
            f"sessions: {config.sessions} have amplitude levels, the model of {config.run} has {model.n_levels}; "
            "pretrain with sessions that have amplitudes"
        )
    torch.manual_seed(config.seed)
    model.add_sessions([session_shape(entry) for entry in new])
    return _Job(config=config, trained=trained, model=model, data=data, n_sessions=n_sessions, n_rows=n_rows)


def _stage_steps(config: FinetuneConfig) -> int:
    """Steps of each stage that learns by gradient."""
    return max(1, config.optim.steps // max(1, sum(stage in GRADIENT_MODES for stage in config.stages)))


def _with_variables(config: FinetuneConfig, settings: DataConfig, trained: TrainedModel) -> Neuroformer:
    """The model with encoders and readouts of further variables; what it knew is copied."""
    vocabulary: Vocabulary = trained.vocabulary
    for name in config.variables:
        if name in vocabulary.variables:
            raise UserError(f"variables.{name}: the model of {config.run} knows it already; leave it out")
    recordings = [
        Recording(path, bin_s=settings.bin_s, split=settings.split, context_bins=trained.model.context,
                  variables=settings.variables, labels=settings.labels)
        for path in find_sessions(settings.sessions)
    ]  # fmt: skip
    for name, variable in config.variables.items():
        vocabulary.variables[name] = learn_variable(name, variable, recordings)
    torch.manual_seed(config.seed)
    model = build_model(trained.model.config, vocabulary, n_levels=trained.model.n_levels)
    old = trained.model.state_dict()
    fresh = model.state_dict()
    if "context_path.interact.weight" in fresh:  # what units are tuned to already must not change
        fresh["context_path.interact.weight"].zero_()
    model.load_state_dict({name: old.get(name, value) for name, value in fresh.items()})
    return model.eval()


def encode_new_units(job: _Job) -> dict[str, Any]:
    """Stage `encode`: all that the model keeps of the new units, from their events alone; what was done, by session."""
    encoder = job.trained.unit_encoder
    assert encoder is not None
    found = {}
    for k, recording in enumerate(job.data.recordings):
        rng = np.random.default_rng([job.config.seed, k])
        found[recording.session_id] = asdict(encoder.encode(job.model, job.data, recording, rng=rng))
    return found


@torch.no_grad()
def validate(model: Neuroformer, data: RecordingsModule) -> dict[str, float]:
    """Pooled bits per spike of the validation part, as training reports them; nothing where it holds no event."""
    model.eval()
    log_likelihood, null, events = 0.0, 0.0, 0.0
    for recording in data.recordings:
        log_rate = torch.as_tensor(data.vocabulary[recording.session_id].train_rate).log()
        for _, batch in data.in_order("val", [recording]):
            found = model.likelihood(batch)
            counted = batch.scored[:, batch.first_scored :, None] & batch.unit_mask[:, None]
            log_likelihood += float(found.cells.double().sum())
            null += float(
                (
                    poisson_log_likelihood(log_rate.expand(found.counts.shape), found.counts.double())
                    * counted
                ).sum()
            )
            events += float(found.counts.sum())
    return {"bits_per_spike": bits_per_spike(log_likelihood, null, events)} if events else {}


def infer_new_units(job: _Job) -> None:
    """Stage `bayes`: the tuning of the new sessions' units.

    Raises:
        UserError: the model's events depend on more than the decoded variables.
    """
    knowledge, grid = job.knowledge, job.grid
    others = other_inputs(job.model, grid)
    if others or knowledge.prior is None:
        raise UserError(
            f"mode=bayes: events of {job.config.run} also depend on {', '.join(others)}, which is not inverted; "
            "use mode=units"
        )
    for recording in job.data.recordings:
        missing = [name for name in grid.names if name not in recording.variables]
        if missing:
            raise UserError(
                f"{recording.session.path}: has no {missing[0]!r}, which mode=bayes needs; use mode=units"
            )
        session = job.data.vocabulary.index(recording.session_id)
        if job.config.stages[0] == "encode":
            tune_encoded(job.model, job.data, recording, grid, knowledge.prior)
            assert job.trained.unit_encoder is not None
            job.trained.unit_encoder.encode_tuned(job.model, session)
            continue
        tuning = infer_tuning(
            job.model,
            recording,
            grid,
            knowledge.motion,
            knowledge.prior,
            rounds=job.config.self_training,
            evidence=knowledge.evidence,
        )
        set_tuning(job.model, job.model.rows(session), tuning)


def draw_behaviour(job: _Job, *, seed: int) -> None:
    """Give the training bins without labels behaviour drawn from its posterior, for the steps that follow.

    Drawing (and not taking the best guess) keeps the uncertainty: over many draws the training sees the posterior: the
    stochastic form of expectation-maximisation (Celeux & Diebolt 1985).
    """
    knowledge, grid = job.knowledge, job.grid
    chain = with_unknown(make_motion(grid, knowledge.motion), knowledge.motion)
    generator = np.random.default_rng(seed)
    model = job.model.eval()
    for recording in job.data.recordings:
        if not all(name in recording.variables for name in grid.names):
            continue
        for span in recording.part("train"):
            log_likelihood = knowledge.evidence * torch.cat(
                [
                    grid_log_likelihood(model, batch, grid, unknown=True)[0]
                    for batch in job.data.batches_of(recording, _pieces(span, 4 * job.data.context_bins))
                ]
            ).double().numpy()  # fmt: skip
            cells = grid.cells({name: recording.variable(name, span) for name in grid.names})
            hold_labels(log_likelihood, cells)
            filtered, _ = forward(log_likelihood, chain)
            path = sample_path(filtered, chain, generator)
            for name in grid.names:
                values = grid.values(name)
                known = path < len(grid)
                drawn = values[path.clip(max=len(grid) - 1)]
                recording.draw(name, span, Binned(values=drawn, known=known))


def _pieces(span: Span, size: int) -> list[Span]:
    size = max(1, size)
    return [
        Span(epoch=span.epoch, start=a, stop=min(a + size, span.stop))
        for a in range(span.start, span.stop, size)
    ]


def freeze(model: Neuroformer, mode: str, *, n_sessions: int, n_rows: int) -> list[RemovableHandle]:
    """Let learn what a mode lets learn; returns hooks to be removed before another mode is chosen.

    Args:
        model: the model.
        mode: units, heads or full.
        n_sessions: sessions before the new ones.
        n_rows: units before the new ones.
    """
    if mode == "full":
        model.requires_grad_(True)
        return []
    hooks = learn_new_sessions_only(model, n_sessions=n_sessions, n_rows=n_rows)
    if mode == "heads" and model.readout is not None:
        for part in (model.readout.heads, model.readout.mix, model.readout.pool):
            part.requires_grad_(True)
    return hooks


def learn_new_sessions_only(model: Neuroformer, *, n_sessions: int, n_rows: int) -> list[RemovableHandle]:
    """Freeze everything but the rows of sessions past the first `n_sessions` and of units past the first `n_rows`.

    Tables keep one parameter for old and new rows, so the old rows' gradient is set to zero; without weight decay on
    tables, the optimiser then leaves them untouched.
    """
    model.requires_grad_(False)
    hooks: list[RemovableHandle] = []
    for tables, n_old in ((model.unit_tables(), n_rows), (model.session_tables(), n_sessions)):
        for parameter in tables:
            parameter.requires_grad_(True)
            hooks.append(parameter.register_hook(_zero_first(n_old)))
    for session in range(n_sessions, len(model.train_bins)):
        for parameter in model.own_parameters(session):
            parameter.requires_grad_(True)
    return hooks


def _zero_first(n: int) -> Any:
    def hook(gradient: Tensor) -> Tensor:
        if gradient.is_sparse:
            gradient = gradient.coalesce()
            values, rows = gradient.values().clone(), gradient.indices()
            values[rows[0] < n] = 0
            return torch.sparse_coo_tensor(
                rows, values, gradient.shape, check_invariants=False, is_coalesced=True
            )
        kept = gradient.clone()
        kept[:n] = 0
        return kept

    return hook


def _run_settings(job: _Job) -> PretrainConfig:
    config = job.config
    return PretrainConfig(
        out=config.out,
        overwrite=config.overwrite,
        data=job.data.config,
        model=job.model.config,
        tasks=config.tasks or task_config(job.trained.settings.get("tasks", {})),
        optim=config.optim,
        val_every=config.val_every,
        patience=config.patience,
        seed=config.seed,
        compile=config.compile,
        trainer=config.trainer,
    )
