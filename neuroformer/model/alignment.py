"""Contrastive alignment: latents of events, stimulus and behaviour of one moment lie close, those of others apart.

Every latent is blind to the other modalities. That of the events comes from the readouts' state (events up to the bin,
the present one included; no variable), those of stimulus and behaviour from the tokens of their own variables, in the
bin and averaged over the bins before it. The loss is InfoNCE in both directions with a learned temperature (CLIP:
Radford et al. 2021, arXiv 2103.00020; between activity, stimulus and behaviour: Neuroformer, arXiv 2311.00136). The
encoders of stimulus and behaviour are those of all animals, and rows of all animals are negatives of one another: what
animals share is what pays.

In training the events of the latent are changed as another animal or another day would: units are dropped, events
thinned, and what a unit's events count is shifted.

Legend: B rows, T bins, T' = T − first, K drawn bins, W width of a state, L of a latent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neuroformer.batch import Batch
from neuroformer.model.context import Context, _key
from neuroformer.model.encoders import VariableShape, make_encoder
from neuroformer.model.readout import Readout, _with_present

MODALITIES = ("events", "stimulus", "behavior")
_HIGHEST_SCALE = 100.0  # of the logits, as in CLIP


class Alignment(nn.Module):
    """Latents of the modalities and their loss.

    Args:
        variables: all variables of the model.
        stimulus: names of trial columns that are stimulus; other trial columns are behaviour.
        events: makes the state of the events, if the model has no readout that does.
        events_width: width of that state.
        context_width: width of the variables' tokens.
        width: of a latent.
        time_constants: of the averages over tokens, in bins.
        n_bins: bins drawn of each row for the loss.
        gap: bins of one row that are no further apart than this are no negatives of each other.
        temperature: at first.
        drop_units: share of the units that are dropped.
        thin_events: share of the events that are dropped.
        shift_weights: standard deviation of the logarithm of what a unit's events count.
    """

    def __init__(
        self,
        *,
        variables: Sequence[VariableShape],
        stimulus: Sequence[str],
        events: Readout | None,
        events_width: int,
        context_width: int,
        width: int,
        time_constants: Sequence[float],
        n_bins: int,
        gap: int,
        temperature: float,
        drop_units: float,
        thin_events: float,
        shift_weights: float,
    ) -> None:
        """See the class."""
        super().__init__()
        self.shapes: dict[str, list[VariableShape]] = {"stimulus": [], "behavior": []}
        for shape in variables:
            self.shapes[modality_of(shape, stimulus)].append(shape)
        self.time_constants, self.n_bins, self.gap = tuple(time_constants), n_bins, gap
        self.drop_units, self.thin_events, self.shift_weights = drop_units, thin_events, shift_weights
        self.context_width = context_width
        self.events = events
        # Variables that events are predicted from are encoded by the context path, so that both learn one encoder.
        self.encoders = nn.ModuleDict(
            {_key(s.name): make_encoder(s, context_width) for s in variables if not s.is_input}
        )
        present = [m for m in MODALITIES[1:] if self.shapes[m]]
        self.present = nn.ModuleDict(
            {m: nn.Linear(context_width, context_width, bias=False) for m in present}
        )
        self.pool = nn.ModuleDict(
            {
                m: nn.ModuleList(
                    nn.Linear(context_width, context_width, bias=False) for _ in self.time_constants
                )
                for m in present
            }
        )
        self.head = nn.ModuleDict(
            {m: _head(events_width if m == "events" else context_width, width) for m in ("events", *present)}
        )
        self.pairs = list(combinations(self.head, 2))
        self.log_scale = nn.Parameter(torch.full((len(self.pairs),), -math.log(temperature)))

    def add_session(self, n_units: int, events_per_bin: float) -> None:
        """Make room for a session."""
        if self.events is not None:
            self.events.add_session(n_units, events_per_bin)

    def forward(
        self, batch: Batch, weight: Tensor, *, readout: Readout | None, context: Context | None
    ) -> Tensor | None:
        """InfoNCE over drawn bins, mean over directions and pairs of modalities, nats; None without a negative.

        Args:
            batch: the chunks with everything that is known.
            weight: (B, E) what each event counts.
            readout: the model's, if it has one.
            context: the model's, if it has one.
        """
        states = self.states(
            batch, self.changed(batch, weight) if self.training else weight, readout=readout, context=context
        )
        first = batch.first_scored
        scored = batch.scored[:, first:]
        partners = torch.stack([known for m, (_, known) in states.items() if m != "events"]).any(0)
        row, column, drawn = self.draw(scored & partners)
        near = (row[:, None] == row) & ((column[:, None] - column).abs() <= self.gap)
        latents = {m: self.latent(m, state[row, column]) for m, (state, _) in states.items()}
        losses = []
        for (a, b), log_scale in zip(self.pairs, self.log_scale, strict=True):
            there = drawn & states[a][1][row, column] & states[b][1][row, column]
            negative = there[:, None] & there & ~near
            loss = info_nce(latents[a], latents[b], log_scale.exp().clamp(max=_HIGHEST_SCALE), negative)
            if loss is not None:
                losses.append(loss)
        return torch.stack(losses).mean() if losses else None

    def draw(self, allowed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Up to `n_bins` of the allowed bins (B, T') of each row, no bin twice.

        Returns:
            Three (K,): row, bin, and whether the bin is allowed (a row may have too few).
        """
        n_rows, n_bins = allowed.shape
        lot = torch.rand(n_rows, n_bins, device=allowed.device).masked_fill(~allowed, -1.0)
        found, column = lot.topk(min(self.n_bins, n_bins), dim=1)
        row = torch.arange(n_rows, device=allowed.device).repeat_interleave(column.shape[1])
        return row, column.flatten(), found.flatten() >= 0

    def changed(self, batch: Batch, weight: Tensor) -> Tensor:
        """(B, E) weights of the events after a change of animal: units dropped, events thinned, weights shifted."""
        units, device = batch.unit_row.shape, weight.device
        kept = (torch.rand(units, device=device) >= self.drop_units).to(weight.dtype)
        # Mean 1, so that the state's level stays as it is.
        shift = torch.exp(
            self.shift_weights * torch.randn(units, device=device, dtype=weight.dtype)
            - 0.5 * self.shift_weights**2
        )
        of_unit = kept * shift / (1 - self.drop_units)
        thinned = (torch.rand(weight.shape, device=device) >= self.thin_events).to(weight.dtype)
        return weight * of_unit.gather(1, batch.event_unit) * thinned / (1 - self.thin_events)

    def states(
        self, batch: Batch, weight: Tensor, *, readout: Readout | None, context: Context | None
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """State of each modality, (B, T', W), and where it is known, (B, T')."""
        first = batch.first_scored
        events = self.events if self.events is not None else readout
        assert events is not None
        state = events.state(batch, weight, None)
        found = {"events": (state, torch.ones_like(batch.scored[:, first:]))}
        for modality in self.present:
            found[modality] = self._of_variables(modality, batch, context)
        return found

    def latents(
        self, batch: Batch, weight: Tensor, *, readout: Readout | None, context: Context | None
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Latents of length 1, (B, T', L), of every modality in every bin, and where they are known, (B, T')."""
        states = self.states(batch, weight, readout=readout, context=context)
        return {m: (self.latent(m, state), known) for m, (state, known) in states.items()}

    def latent(self, modality: str, state: Tensor) -> Tensor:
        """(..., W) state → (..., L) latent of length 1."""
        return F.normalize(self.head[modality](state), dim=-1)

    def _of_variables(self, modality: str, batch: Batch, context: Context | None) -> tuple[Tensor, Tensor]:
        first = batch.first_scored
        total = self.log_scale.new_zeros(*batch.scored.shape, self.context_width)
        known = torch.zeros_like(batch.scored)
        for shape in self.shapes[modality]:
            found = self._tokens(shape, batch, context)
            if found is not None:
                token, there = found
                total = total + token * there.unsqueeze(-1)
                known = known | there
        state = self.present[modality](total[:, first:])
        pools = self.pool[modality]
        assert isinstance(pools, nn.ModuleList)
        for tau, pool in zip(self.time_constants, pools, strict=True):
            lag = torch.arange(math.ceil(4 * tau), device=total.device, dtype=total.dtype)
            kernel = torch.exp(-lag / tau)
            # The mean over the bins where something is known: what is not known takes no part.
            mass = _with_present(kernel, known.to(total.dtype).unsqueeze(-1), first)
            state = state + pool(_with_present(kernel, total, first) / mass.clamp(min=1e-3))
        return state, known[:, first:]

    def _tokens(
        self, shape: VariableShape, batch: Batch, context: Context | None
    ) -> tuple[Tensor, Tensor] | None:
        """A variable's token in every bin, (B, T, W), and where it is known, (B, T)."""
        key = _key(shape.name)
        if shape.is_input:
            assert context is not None
            encoder = context.encoders[key]
        else:
            encoder = self.encoders[key]
        if shape.kind != "frames":
            variable = batch.variables.get(shape.name)
            return None if variable is None else (encoder(variable.values), variable.known)
        stack = batch.frames.get(shape.name)
        if stack is None:
            return None
        token = encoder(stack.values, stack.bins, stack.known).mean(2)  # (B, S, W)
        ago = torch.arange(batch.n_bins, device=token.device)[:, None] - stack.bins.unsqueeze(1)  # (B, T, S)
        seen = stack.known.unsqueeze(1) & (ago >= 0) & (ago <= shape.horizon)
        newest = ago.masked_fill(~seen, batch.n_bins + shape.horizon).argmin(-1)
        index = newest.unsqueeze(-1).expand(-1, -1, token.shape[-1])
        return token.gather(1, index), seen.any(-1)


def modality_of(shape: VariableShape, stimulus: Sequence[str] = ()) -> str:
    """`stimulus` or `behavior`, by where the variable is read; a trial column is behaviour unless it is named."""
    if shape.source == "trials":
        return "stimulus" if shape.name in stimulus else "behavior"
    return shape.source


def info_nce(a: Tensor, b: Tensor, scale: Tensor, negative: Tensor) -> Tensor | None:
    """InfoNCE of matching rows of two sets, the mean of both directions (van den Oord et al. 2018, arXiv 1807.03748).

    Args:
        a: (K, L) latents of length 1.
        b: (K, L) likewise; row k belongs to row k of `a`.
        scale: of the cosine, 1 / temperature.
        negative: (K, K) bool, symmetric: which pairs of rows are told apart. A row without any takes no part.

    Returns:
        Nats per row, or None where no row takes part.
    """
    counted = negative.any(1)
    if not bool(counted.any()):
        return None
    same = torch.eye(len(a), dtype=torch.bool, device=a.device)
    logits = (scale * a @ b.mT).masked_fill(~(negative | same), -math.inf)
    match = logits.diagonal()
    loss = 0.5 * (logits.logsumexp(1) + logits.logsumexp(0)) - match
    return loss[counted].mean()


def _head(state: int, width: int) -> nn.Module:
    return nn.Sequential(
        nn.LayerNorm(state), nn.Linear(state, 2 * state), nn.GELU(), nn.Linear(2 * state, width)
    )
