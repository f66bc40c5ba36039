"""The LightningModule: loss, validation score, optimiser."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor, nn

from neuroformer import __version__
from neuroformer.batch import Batch
from neuroformer.data import Vocabulary
from neuroformer.metrics import bits_per_spike
from neuroformer.model import Neuroformer
from neuroformer.model.attention import Block
from neuroformer.model.loss import weighed
from neuroformer.model.observation import poisson_log_likelihood
from neuroformer.model.tasks import make_task
from neuroformer.settings.context import TaskConfig
from neuroformer.settings.training import OptimConfig
from neuroformer.training.bad_loss import LossGuard
from neuroformer.training.freed_memory import keep_freed_memory
from neuroformer.training.rank_tasks import draw_shared_task
from neuroformer.training.ranks import (
    rank_and_world,
    seed_generators,
    step_seed,
    sum_over_ranks,
    union_over_ranks,
)
from neuroformer.training.row_adamw import RowAdamW, clip_gradients
from neuroformer.training.sharding import ShardedStrategy, touch_all

SHOWN_EVERY = 10
"""Steps between two that the progress bar shows."""


class PretrainModule(L.LightningModule):
    """Trains a `Neuroformer` by its evidence lower bound.

    Args:
        model: the model.
        vocabulary: its sessions; travels in the checkpoint.
        optim: optimiser settings.
        settings: the run's resolved configuration as builtins; travels in the checkpoint.
        seed: the randomness of step k (task, dropout) is a function of (seed, k), so that a resumed run repeats it.
        tasks: odds of the tasks.
    """

    def __init__(
        self,
        *,
        model: Neuroformer,
        vocabulary: Vocabulary,
        optim: OptimConfig,
        settings: dict[str, Any],
        seed: int,
        tasks: TaskConfig | None = None,
    ) -> None:
        """See the class."""
        super().__init__()
        self.model = model
        self.vocabulary = vocabulary
        self.optim = optim
        self.settings = settings
        self.seed = seed
        self.tasks = tasks or TaskConfig()
        rate = torch.cat([torch.as_tensor(entry.train_rate, dtype=torch.float32) for entry in vocabulary])
        self.register_buffer("null_log_rate", rate.log(), persistent=False)
        self.null_log_rate: Tensor
        self._validation = [0.0, 0.0, 0.0]
        self.events_trained = 0
        self.guard = LossGuard(optim)
        self._loss = math.nan
        self.last: dict[str, float] = {}
        """Parts of the loss of the last step, over all processes; NaN where there is none."""
        self._untouched: list[str] = []
        self._shown: list[Tensor] = []  # sessions of the batches since the last step
        self.validation: dict[str, float] = {}

    def configure_model(self) -> None:
        """Spread the model over the processes, where the strategy is to."""
        if self._sharded():
            cast(ShardedStrategy, self.trainer.strategy).shard(self)

    def _sharded(self) -> bool:
        return self._trainer is not None and isinstance(self.trainer.strategy, ShardedStrategy)

    def on_fit_start(self) -> None:
        """Keep the memory of a step for the next."""
        keep_freed_memory()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed the step."""
        seed_generators(step_seed(self.seed, self.global_step), self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Negative evidence lower bound per event, over the rows of all processes.

        Lightning averages the processes' gradients. Their batches differ in events and labels, and a mean of means is
        not the mean over all: each process divides by what all have, so that the gradient is that of one process with
        the whole batch.
        """
        self._shown.append(batch.session)
        # Lightning's other strategies exchange gradients, or share them out, as dense tensors.
        alone = self._trainer is not None and isinstance(self.trainer.strategy, SingleDeviceStrategy)
        with self.model.rows_alone(batch) if alone and not self._scaled() else nullcontext(batch) as local:
            return self._training_loss(local)

    def _training_loss(self, batch: Batch) -> Tensor:
        model, (rank, world) = self.model, rank_and_world()
        task = draw_shared_task(batch, model.variables, self.tasks) if model.variables else None
        seen, labels = (batch, None) if task is None else (task.seen, task.labels)
        if world > 1:  # tasks are drawn alike, dropout is not
            seed_generators(step_seed(self.seed, self.global_step, rank), self.device)
        sums = model.loss_sums(seen, labels=labels, known=batch)
        events, n_labels = sum_over_ranks([batch.scored_events, sums.n_labels], self.device)
        parts = sums.parts(events=max(1.0, events) / world, labels=max(1.0, n_labels) / world)
        config = model.config
        loss = weighed(parts, decode=config.readout.weight, align=config.alignment.weight)
        if self._sharded():
            loss, self._untouched = touch_all(loss, self.model)
        self._log_parts(loss, parts)
        self.events_trained += int(events)
        return loss

    def _log_parts(self, loss: Tensor, parts: dict[str, Tensor]) -> None:
        """Log means over all processes."""
        world = rank_and_world()[1]
        found = {"loss": loss.detach(), **{name: part.detach() for name, part in parts.items()}}
        for name in ("decode_nll", "align"):
            found.setdefault(name, torch.tensor(math.nan))
        if world > 1:
            there = {name: name == "loss" or name in parts for name in found}
            sums = sum_over_ranks(
                [float(found[name]) if there[name] else 0.0 for name in found]
                + [float(there[name]) for name in found],
                self.device,
            )
            totals, counts = sums[: len(found)], sums[len(found) :]
            found = {
                name: torch.tensor(total / world if count else math.nan)
                for name, total, count in zip(found, totals, counts, strict=True)
            }
        self.last = {f"train_{name}": float(value) for name, value in found.items()}
        self._loss = self.last["train_loss"]
        # Lightning takes a millisecond for each name; without a logger only the progress bar looks.
        if self.trainer.loggers or self.global_step % SHOWN_EVERY == 0:
            shown = {
                k: v for k, v in self.last.items() if k != "train_align" or self.model.alignment is not None
            }
            self.log("train_loss", shown.pop("train_loss"), prog_bar=True)
            self.log_dict(shown)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip, and drop a step that must not be taken: without gradients the optimiser leaves everything as it is."""
        if self._untouched:
            named = dict(self.model.named_parameters())
            for name in self._untouched:
                named[name].grad = None
        sessions = torch.cat(self._shown).unique()
        trained = [group["params"] for group in optimizer.param_groups]
        if isinstance(optimizer, RowAdamW):
            optimizer.show(union_over_ranks(sessions, len(self.vocabulary)))
            trained = optimizer.shown()
        parameters = [p for group in trained for p in group if p.grad is not None]
        if self._scaled():  # half precision overflows now and then; its scaler drops such steps by itself
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
            norm: float = 0.0
        else:
            clip = math.inf if gradient_clip_val is None else gradient_clip_val
            found = clip_gradients(parameters, clip)
            norm = float(found.full_tensor() if hasattr(found, "full_tensor") else found)
        self._shown.clear()

        def names() -> list[str]:
            entries = list(self.vocabulary)
            return [entries[index].session_id for index in sessions.tolist()]

        if not self.guard.judge(loss=self._loss, norm=norm, step=self.global_step, sessions=names):
            for parameter in parameters:
                parameter.grad = None

    def _scaled(self) -> bool:
        return (
            self._trainer is not None and getattr(self.trainer.precision_plugin, "scaler", None) is not None
        )

    def on_validation_epoch_start(self) -> None:
        """Reset the sums."""
        self._validation = [0.0, 0.0, 0.0]
        self._decoding: list[float] = [0.0, 0.0]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the sums."""
        rank, world = rank_and_world()
        if world > 1 and batch_idx * world + rank >= self.trainer.datamodule.val_batches:  # type: ignore[attr-defined]
            return  # it was there for the processes to keep step
        for part, found in self.model.likelihoods(batch):
            null = poisson_log_likelihood(self.null_log_rate[part.unit_row].unsqueeze(1), found.counts)
            scored = part.scored[:, part.first_scored :, None] & part.unit_mask[:, None, :]
            for k, value in enumerate((found.cells, null * scored, found.counts)):
                self._validation[k] += float(value.double().sum())
        if self.model.readout is not None:
            task = make_task("decode", batch, self.model.variables)
            if task.labels is not None:
                outputs = self.model.readout_outputs(task.seen)
                for score, counted in self.model.readout.log_likelihood(outputs, task.labels).values():
                    self._decoding[0] -= float(score.double().sum())
                    self._decoding[1] += float(counted.sum())

    def on_validation_epoch_end(self) -> None:
        """Pooled bits per spike over all validation bins."""
        sums = sum_over_ranks([*self._validation, *self._decoding], self.device)
        self._validation, self._decoding = sums[:3], sums[3:]
        log_likelihood, null, events = self._validation
        score = bits_per_spike(log_likelihood, null, events)
        self.log("val_bits_per_spike", score, prog_bar=True)
        objective = score
        if self._decoding[1]:
            decode_nll = self._decoding[0] / self._decoding[1]
            self.log("val_decode_nll", decode_nll)
            # What training minimises, in bits: events and labels weigh as they do there.
            objective -= self.model.config.readout.weight * decode_nll / math.log(2)
        self.log("val_objective", objective)
        self.validation = {"bits_per_spike": score}
        if self._decoding[1]:
            self.validation["decode_nll"] = decode_nll

    def configure_optimizers(self) -> Any:  # Lightning's own return type is a union of a dozen shapes
        """AdamW in three groups, one schedule; with many units it leaves sessions that a batch does not show alone."""
        optim, betas = self.optim, (0.9, 0.99)
        groups = parameter_groups(self.model, optim)
        # In one pass on a CPU, where a small model spends as long on the optimiser's many steps as on a product.
        fused = (self.device.type == "cpu" and not self._scaled()) or None
        optimizer: torch.optim.Optimizer
        if self.model.is_large:
            optimizer = RowAdamW(
                groups,
                betas=betas,
                units=self.model.offsets.diff().tolist(),
                unit_tables=self.model.unit_tables(),
                session_tables=self.model.session_tables(),
                own=[self.model.own_parameters(k) for k in range(len(self.vocabulary))],
                fused=fused,
            )
        else:
            optimizer = torch.optim.AdamW(groups, betas=betas, fused=fused)

        def keep_choice(optimizer: torch.optim.Optimizer) -> None:
            for group in optimizer.param_groups:  # a checkpoint may come from another device
                group["fused"] = fused

        optimizer.register_load_state_dict_post_hook(keep_choice)
        rise = max(1, round(optim.warmup * optim.steps))

        def factor(step: int) -> float:
            if step < rise:
                return (step + 1) / rise
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, optim.steps - rise))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what a reader needs to rebuild the model: builtins and tensors only."""
        checkpoint["neuroformer"] = {
            "version": __version__,
            "settings": self.settings,
            "vocabulary": self.vocabulary.state(),
            "n_levels": self.model.n_levels,
            "events_trained": self.events_trained,
            "validation": self.validation,
            "guard": self.guard.state(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting."""
        self.events_trained = checkpoint["neuroformer"]["events_trained"]
        self.guard.load(checkpoint["neuroformer"]["guard"])


def parameter_groups(model: Neuroformer, optim: OptimConfig) -> list[dict[str, Any]]:
    """Blocks learn more slowly; only matrices of blocks and projections decay."""
    blocks: set[nn.Parameter] = set()
    projections: set[nn.Parameter] = set()
    for module in model.modules():
        if isinstance(module, Block):
            blocks |= set(module.parameters())
        if isinstance(module, nn.Linear):
            projections.add(cast(nn.Parameter, module.weight))
    rest = [p for p in model.parameters() if p.requires_grad and p not in blocks | projections]
    groups = [
        {
            "params": [p for p in model.parameters() if p in blocks],
            "lr": optim.block_lr,
            "weight_decay": optim.weight_decay,
        },
        {
            "params": [p for p in model.parameters() if p in projections - blocks],
            "lr": optim.lr,
            "weight_decay": optim.weight_decay,
        },
        {"params": rest, "lr": optim.lr, "weight_decay": 0.0},
    ]
    return [g for g in groups if g["params"]]
