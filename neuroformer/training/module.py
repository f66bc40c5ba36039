"""The LightningModule: loss, validation score, optimiser."""

from __future__ import annotations

import math
from typing import Any, cast

import lightning as L
import torch
from torch import Tensor, nn

from neuroformer import __version__
from neuroformer.batch import Batch
from neuroformer.data import Vocabulary
from neuroformer.errors import UserError
from neuroformer.metrics import bits_per_spike
from neuroformer.model import Neuroformer
from neuroformer.model.attention import Block
from neuroformer.model.observation import poisson_log_likelihood
from neuroformer.model.tasks import draw_task, make_task
from neuroformer.settings.context import TaskConfig
from neuroformer.settings.training import OptimConfig


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
        self.validation: dict[str, float] = {}

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed the step."""
        torch.manual_seed(hash((self.seed, self.global_step, self.global_rank)) % 2**63)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Negative evidence lower bound per event."""
        task = draw_task(batch, self.model.variables, self.tasks) if self.model.variables else None
        parts = (
            self.model.loss(batch)
            if task is None
            else self.model.loss(task.seen, labels=task.labels, known=batch)
        )
        if not torch.isfinite(parts["loss"]):
            raise UserError(
                f"the loss at step {self.global_step} is {parts['loss'].item()}, not a finite number; lower optim.lr "
                "or optim.clip"
            )
        self.log("train_loss", parts["loss"], prog_bar=True)
        self.log("train_nll", parts["nll"])
        self.log("train_level_nll", parts["level_nll"])
        self.log("train_kl", parts["kl"])
        self.log("train_decode_nll", parts.get("decode_nll", torch.tensor(math.nan)))
        if self.model.alignment is not None:
            self.log("train_align", parts.get("align", torch.tensor(math.nan)))
        self.events_trained += int((batch.event_mask & batch.scored.gather(1, batch.event_bin)).sum())
        return parts["loss"]

    def on_validation_epoch_start(self) -> None:
        """Reset the sums."""
        self._validation = [0.0, 0.0, 0.0]
        self._decoding: list[float] = [0.0, 0.0]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the sums."""
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
        # Every rank scores all validation bins, so that nothing has to be gathered.
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
        """AdamW in three groups, one schedule."""
        optim = self.optim
        groups = parameter_groups(self.model, optim)
        optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99))
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
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting."""
        self.events_trained = checkpoint["neuroformer"]["events_trained"]


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
