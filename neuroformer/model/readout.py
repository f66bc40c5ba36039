"""Behaviour from events: a query per bin, read out as mean and spread, or as probabilities.

The state of a query is built from the events up to its bin, the present one included: a sum of the units' embeddings
through exponential filters, what the query finds among the single events by cross-attention (if it has a window), and
the tokens of variables that are given (role context). Variables that are decoded are no input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from neuroformer.batch import Batch, Variable
from neuroformer.model.context import CrossAttention, _key
from neuroformer.model.dropout import Dropout
from neuroformer.model.encoders import VariableShape
from neuroformer.model.tables import append_rows


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """What a readout says of one variable in each bin.

    Attributes:
        mean: (B, T', D) in the variable's unit; None for a categorical one.
        spread: (B, T', D) standard deviation in the variable's unit (of a circular one: of the wrapped normal).
        log_probability: (B, T', K) of the labels of a categorical one, else None.
    """

    mean: Tensor | None = None
    spread: Tensor | None = None
    log_probability: Tensor | None = None


class Readout(nn.Module):
    """Decodes all variables that are to be decoded.

    Args:
        variables: those that are decoded.
        context_width: width of the tokens of given variables.
        width: of a query's state.
        time_constants: of the filters, in bins.
        window: bins back that a query looks at single events; 0 for none.
        heads: of that attention.
        unit_dropout: share of units hidden in a training step.
        dropout: on the state in training.
    """

    def __init__(
        self,
        *,
        variables: Sequence[VariableShape],
        context_width: int,
        width: int,
        time_constants: list[float],
        window: int,
        heads: int,
        unit_dropout: float,
        dropout: float,
    ) -> None:
        """See the class."""
        super().__init__()
        self.shapes = {shape.name: shape for shape in variables}
        self.time_constants, self.window, self.unit_dropout = time_constants, window, unit_dropout
        self.unit = nn.Parameter(torch.zeros(0, width))
        self.session = nn.Parameter(torch.zeros(0, width))
        self.pool = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in time_constants)
        self.given = nn.Linear(context_width, width, bias=False)
        self.attention = CrossAttention(width=width, heads=heads, longest=window) if window else None
        self.mix = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), Dropout(dropout),
            nn.Linear(2 * width, width),
        )  # fmt: skip
        self.heads = nn.ModuleDict({_key(s.name): nn.Linear(width, _n_outputs(s)) for s in variables})
        for head in self.heads.values():
            assert isinstance(head, nn.Linear)
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        self.register_buffer("events_per_bin", torch.zeros(0))
        self.events_per_bin: Tensor

    @property
    def n_lags(self) -> int:
        """Bins of the past (the present included) that a query depends on."""
        return max(math.ceil(4 * max(self.time_constants)), self.window)

    def add_session(self, n_units: int, events_per_bin: float) -> None:
        """Make room for a session; `events_per_bin` is the mean over its training bins, all units together."""
        device, width = self.unit.device, self.unit.shape[1]
        append_rows(self, "unit", 0.1 * torch.randn(n_units, width, device=device))
        append_rows(self, "session", torch.zeros(1, width))
        append_rows(self, "events_per_bin", torch.tensor([events_per_bin]))

    def forward(self, batch: Batch, weight: Tensor, given: Tensor | None) -> dict[str, Tensor]:
        """Raw outputs of every variable's head, (B, T', O).

        Args:
            batch: the chunks; values of decoded variables are not looked at.
            weight: (B, E) what each event counts.
            given: (B, T', context width) tokens of variables that are given, or None.
        """
        state = self.state(batch, weight, given)
        return {name: self.heads[_key(name)](state) for name in self.shapes}

    def state(self, batch: Batch, weight: Tensor, given: Tensor | None) -> Tensor:
        """(B, T', W) state of the queries."""
        first = batch.first_scored
        tokens = self.unit[batch.unit_row.gather(1, batch.event_unit)]  # (B, E, W)
        if self.training and self.unit_dropout:
            kept = torch.rand(batch.unit_row.shape, device=tokens.device) >= self.unit_dropout
            weight = weight * kept.gather(1, batch.event_unit) / (1 - self.unit_dropout)
        level = self.events_per_bin[batch.session].clamp(min=0.1).rsqrt()[:, None, None]
        per_bin = batch.sum_per_bin(tokens * weight.unsqueeze(-1))
        state = self.session[batch.session].unsqueeze(1)
        for tau, pool in zip(self.time_constants, self.pool, strict=True):
            n_lags = math.ceil(4 * tau)
            lag = torch.arange(n_lags, device=per_bin.device, dtype=per_bin.dtype)
            kernel = torch.exp(-lag / tau) / math.sqrt(tau)
            state = state + pool(level * _with_present(kernel, per_bin, first))
        if given is not None:
            state = state + self.given(given)
        if self.attention is not None:
            time = torch.arange(first, batch.n_bins, device=tokens.device).expand(len(tokens), -1)
            ago = time.unsqueeze(-1) - batch.event_bin.unsqueeze(1)
            mask = (ago >= 0) & (ago < self.window) & (batch.event_mask & (weight > 0)).unsqueeze(1)
            state = state + self.attention(state, time, tokens, batch.event_bin, mask)
        found: Tensor = state + self.mix(state)
        return found

    def decoded(self, outputs: dict[str, Tensor]) -> dict[str, Decoded]:
        """Heads' outputs in the variables' units."""
        found = {}
        for name, raw in outputs.items():
            shape = self.shapes[name]
            if shape.kind == "categorical":
                found[name] = Decoded(log_probability=raw.log_softmax(-1))
            elif shape.period is not None:
                turn = shape.period / (2 * math.pi)
                cosine, sine = raw.chunk(2, -1)
                kappa = torch.hypot(cosine, sine).clamp(min=1e-3)
                # Spread of the wrapped normal with the same mean resultant length I1(κ) / I0(κ).
                length = torch.special.i1e(kappa) / torch.special.i0e(kappa)
                found[name] = Decoded(
                    mean=torch.atan2(sine, cosine).remainder(2 * math.pi) * turn,
                    spread=(-2 * length.log()).clamp(min=0).sqrt() * turn,
                )
            else:
                mean, log_scale = raw.chunk(2, -1)
                centre, scale = (mean.new_tensor(x) for x in (shape.mean, shape.scale))
                found[name] = Decoded(mean=centre + scale * mean, spread=scale * log_scale.clamp(-6, 6).exp())
        return found

    def log_likelihood(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
        """Log-density of the known values, each as (B, T') nats (0 where not counted) and what is counted.

        Continuous values are in standard deviations, angles in radians.
        """
        first = batch.first_scored
        found = {}
        for name, raw in outputs.items():
            variable = batch.variables.get(name)
            if variable is None:
                continue
            counted = variable.known[:, first:] & batch.scored[:, first:]
            values = variable.values[:, first:]
            density = self._density(self.shapes[name], raw, values)
            found[name] = (torch.where(counted, density, torch.zeros_like(density)), counted)
        return found

    def _density(self, shape: VariableShape, raw: Tensor, values: Tensor) -> Tensor:
        if shape.kind == "categorical":
            return raw.log_softmax(-1).gather(-1, values.unsqueeze(-1)).squeeze(-1)
        if shape.period is not None:
            angle = values * (2 * math.pi / shape.period)
            cosine, sine = raw.chunk(2, -1)  # concentration times mean direction: smooth where it is 0
            kappa = (cosine.square() + sine.square() + 1e-12).sqrt()
            log_norm = math.log(2 * math.pi) + torch.special.i0e(kappa).log() + kappa
            return (cosine * angle.cos() + sine * angle.sin() - log_norm).sum(-1)
        mean, log_scale = raw.chunk(2, -1)
        log_scale = log_scale.clamp(-6, 6)
        centre, scale = (values.new_tensor(x) for x in (shape.mean, shape.scale))
        z = ((values - centre) / scale - mean) * torch.exp(-log_scale)
        return (-0.5 * z.square() - log_scale - 0.5 * math.log(2 * math.pi)).sum(-1)


def hidden(variable: Variable) -> Variable:
    """A variable of which nothing is known."""
    return variable.hide(torch.ones(len(variable.known), dtype=torch.bool, device=variable.known.device))


def _with_present(kernel: Tensor, x: Tensor, first: int) -> Tensor:
    """y[b, t] = Σ_{lag = 0…L−1} kernel[lag] · x[b, t − lag]: (B, T, W) → (B, T − first, W)."""
    time = torch.arange(x.shape[1], device=x.device)
    lag = time[first:, None] - time
    over_time = kernel[lag.clamp(0, len(kernel) - 1)] * ((lag >= 0) & (lag < len(kernel)))
    return torch.einsum("ts,bsc->btc", over_time, x)


def _n_outputs(shape: VariableShape) -> int:
    if shape.kind == "categorical":
        return shape.n_labels
    return 2 * shape.shape[0]  # mean and log of the spread, or a direction's two
