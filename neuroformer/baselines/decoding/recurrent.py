"""A small gated recurrent network, as in Glaser et al. 2020 (eNeuro 7:ENEURO.0506-19.2020)."""

from __future__ import annotations

import copy
import math
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neuroformer.baselines.decoding.decoder import Decoder, with_floor
from neuroformer.baselines.decoding.history import History, Scaler
from neuroformer.baselines.decoding.samples import Samples
from neuroformer.baselines.decoding.target import Prediction, Target
from neuroformer.settings.decoding import GRUConfig


class GRUDecoder(Decoder):
    """Standardised running means → linear → GRU → linear, trained on chunks with early stopping.

    Without validation the last fifth of the labelled bins is kept for stopping. The spread is that of the errors on
    whatever it was stopped by.
    """

    name = "gru"

    def __init__(self, target: Target, *, bin_s: float, config: GRUConfig | None = None) -> None:
        """See the class."""
        super().__init__(target, bin_s=bin_s)
        self.config = config or GRUConfig()

    def _fit(self, samples: Samples, validation: Samples | None, seed: int) -> None:
        c, target, n = self.config, self.target, len(samples)
        generator = torch.Generator().manual_seed(seed)
        self._history = History(max(1, round(c.window_s / self.bin_s)), centered=c.centered)
        self._scaler = Scaler(samples.x)
        if target.kind == "continuous":
            z = target.encode(samples.y)
            self._center = z.mean(0)
            self._scale = np.where(z.std(0) > 1e-9 * np.maximum(1, np.abs(self._center)), z.std(0), 1.0)
        n_out = target.n_classes if target.kind == "categorical" else len(self._center)
        self._net = _Net(samples.n_units, n_out, c, generator)
        if target.kind == "categorical":
            counts = np.bincount(samples.y, minlength=n_out) + 1.0
            self._net.out.bias.data = torch.from_numpy(np.log(counts / counts.sum())).float()
        inputs = self._inputs(samples.x)
        labels, known = self._labels(samples)
        if validation is not None:
            held_inputs = self._inputs(validation.x)
            held_labels, held_known = self._labels(validation)
            trained = known
        else:
            # The last fifth; where there are too few labels, all of them do both.
            cut = n - n // 5 if n >= 10 else 0
            held_inputs, held_labels = inputs, labels
            flat = np.cumsum(np.concatenate([k.numpy() for k in known])) - 1
            edges = np.cumsum([0, *map(len, known)])
            order = [torch.from_numpy(flat[a:b]) for a, b in pairwise(edges)]
            held_known = [k & (o >= cut) for k, o in zip(known, order, strict=True)]
            trained = [k & (o < cut) for k, o in zip(known, order, strict=True)] if cut else known
        bins = min(200, max(50, round(c.chunk_s / self.bin_s)), max(map(len, samples.x)))
        held_out = _tiles(held_inputs, held_labels, held_known, bins)
        best = self._held_out_loss(held_out)
        state = copy.deepcopy(self._net.state_dict())
        self.chosen = {"steps": 0, "loss": best}
        optimizer = torch.optim.AdamW(self._net.parameters(), lr=c.rate, weight_decay=c.decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=c.rate, total_steps=c.steps + 1, pct_start=0.1, cycle_momentum=False
        )
        place = [np.flatnonzero(k.numpy()) for k in trained]
        which = torch.from_numpy(np.repeat(np.arange(len(place)), [len(p) for p in place]))
        where = torch.from_numpy(np.concatenate(place))
        for step in range(1, c.steps + 1):
            # A chunk about a labelled bin drawn at random.
            drawn = torch.randint(len(where), (c.batch,), generator=generator)
            offset = torch.randint(bins, (c.batch,), generator=generator)
            rows = [
                _cut(inputs[k], labels[k], trained[k], int(t) - int(o), bins)
                for k, t, o in zip(which[drawn].tolist(), where[drawn], offset, strict=True)
            ]
            x, y, mask = (torch.stack(parts) for parts in zip(*rows, strict=True))
            optimizer.zero_grad()
            loss = self._loss(self._net(x, generator), y, mask)
            loss.backward()
            nn.utils.clip_grad_norm_(self._net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            if step % c.check_every == 0 or step == c.steps:
                found = self._held_out_loss(held_out)
                if found < best:
                    best, state = found, copy.deepcopy(self._net.state_dict())
                    self.chosen = {"steps": step, "loss": found}
        self._net.load_state_dict(state)
        if target.kind == "continuous":
            said = [
                self._mean(x)[known.numpy()]
                for x, known in zip(held_inputs, held_known, strict=True)
                if known.any()
            ]
            judged = validation if validation is not None else samples
            truth = judged.y if validation is not None else samples.y[cut:]
            error = target.error(truth, np.concatenate(said))
            self._spread = np.sqrt((error**2).mean(0))
        self._n = n

    def _inputs(self, x: list[np.ndarray]) -> list[Tensor]:
        """Running means of each stretch, float32."""
        return [
            torch.from_numpy(
                (self._history.rows(part, np.arange(len(part))) / math.sqrt(self._history.window)).astype(
                    np.float32
                )
            )
            for part in self._scaler(x)
        ]

    def _labels(self, samples: Samples) -> tuple[list[Tensor], list[Tensor]]:
        """What the network is to say in each bin, and where that is known."""
        labels, known, first = [], [], 0
        for x, rows in zip(samples.x, samples.rows, strict=True):
            mask = torch.zeros(len(x), dtype=torch.bool)
            mask[rows] = True
            y = samples.y[first : first + len(rows)]
            first += len(rows)
            if self.target.kind == "categorical":
                label = torch.zeros(len(x), dtype=torch.int64)
                label[rows] = torch.from_numpy(y)
            else:
                z = (self.target.encode(y) - self._center) / self._scale
                label = torch.zeros(len(x), z.shape[1])
                label[rows] = torch.from_numpy(z.astype(np.float32))
            labels.append(label)
            known.append(mask)
        return labels, known

    def _loss(self, said: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        """Mean over labelled bins of the squared error, or of the cross-entropy."""
        if self.target.kind == "categorical":
            return F.cross_entropy(said[mask], y[mask])
        return F.mse_loss(said[mask], y[mask])

    def _held_out_loss(self, held_out: tuple[Tensor, Tensor, Tensor]) -> float:
        x, y, mask = held_out
        with torch.no_grad():
            return float(self._loss(self._net(x), y, mask))

    def _mean(self, x: Tensor) -> np.ndarray:
        with torch.no_grad():
            said = self._net(x[None])[0].double().numpy()
        return self.target.decode(said * self._scale + self._center)

    def _predict(self, x: list[np.ndarray]) -> Prediction:
        inputs = self._inputs(x)
        if self.target.kind == "categorical":
            with torch.no_grad():
                said = [torch.softmax(self._net(part[None])[0].double(), -1).numpy() for part in inputs]
            return Prediction(probability=[with_floor(p, self._n) for p in said])
        means = [self._mean(part) for part in inputs]
        return Prediction(mean=means, spread=[np.tile(self._spread, (len(mean), 1)) for mean in means])


def _cut(x: Tensor, y: Tensor, known: Tensor, start: int, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """A chunk that holds as much of the stretch as it can, unlabelled after its end."""
    start = max(0, min(start, len(x) - bins))
    x, y, known = x[start : start + bins], y[start : start + bins], known[start : start + bins]
    missing = bins - len(x)
    if missing:
        x = torch.cat([x, x.new_zeros(missing, x.shape[1])])
        y = torch.cat([y, y.new_zeros(missing, *y.shape[1:])])
        known = torch.cat([known, known.new_zeros(missing)])
    return x, y, known


def _tiles(
    inputs: list[Tensor], labels: list[Tensor], known: list[Tensor], bins: int
) -> tuple[Tensor, Tensor, Tensor]:
    """All that is known, cut into pieces of `bins`, each after as long a lead-in, so that they run side by side."""
    rows = []
    for x, y, mask in zip(inputs, labels, known, strict=True):
        for first in range(0, len(x), bins):
            here = torch.zeros_like(mask)
            here[first : first + bins] = mask[first : first + bins]
            if here.any():
                rows.append(_cut(x, y, here, first - bins, 2 * bins))
    found = [torch.stack(parts) for parts in zip(*rows, strict=True)]
    return found[0], found[1], found[2]


class _Net(nn.Module):
    """Dropout masks and first weights come from the generator, and none is drawn when there is no generator."""

    def __init__(self, n_in: int, n_out: int, config: GRUConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.dropout = config.dropout
        with torch.random.fork_rng(devices=[]):  # torch's own first weights, replaced below, leave no trace
            self.into = nn.Linear(n_in, config.width)
            self.recurrent = nn.GRU(
                config.width, config.state, batch_first=True, bidirectional=config.centered
            )
            self.out = nn.Linear(config.state * (2 if config.centered else 1), n_out)
        with torch.no_grad():
            nn.init.zeros_(self.out.weight)  # before training it says the mean, or how frequent each class is
            nn.init.zeros_(self.out.bias)
            for module in (self.into, self.recurrent):
                fan = module.hidden_size if isinstance(module, nn.GRU) else module.in_features
                for parameter in module.parameters():
                    parameter.uniform_(-(fan**-0.5), fan**-0.5, generator=generator)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """(B, T, K) from (B, T, N)."""
        h = torch.tanh(self.into(self._drop(x, generator)))
        h, _ = self.recurrent(h)
        out: Tensor = self.out(self._drop(h, generator))
        return out

    def _drop(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """One mask a row for all of time, so that the recurrence cannot average it out."""
        if generator is None or not self.dropout:
            return x
        mask = torch.rand(x.shape[0], 1, x.shape[2], generator=generator) >= self.dropout
        return x * mask / (1 - self.dropout)
