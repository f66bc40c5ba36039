"""The generative model: one conditional intensity per unit and bin, given all events of earlier bins.

    log λ_j(t) = b_j + history_j(t) + coupling_j(t) + u_j · f(h(t)) + w_j · g(context(t))

The terms are linear in weights that have a Gaussian posterior, so λ_j(t) = E exp(·) = exp(mean + variance / 2).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from neuroformer.batch import Batch
from neuroformer.model import stacked
from neuroformer.model.alignment import Alignment
from neuroformer.model.context import Context
from neuroformer.model.coupling import FullCoupling, LowRankCoupling
from neuroformer.model.encoders import VariableShape
from neuroformer.model.history import OwnHistory
from neuroformer.model.loss import LossSums, weighed
from neuroformer.model.observation import poisson_log_likelihood
from neuroformer.model.readout import Decoded, Readout
from neuroformer.model.sampled import draw_units, part_of, sampled_log_likelihood
from neuroformer.model.tables import Place, SessionRows, append_rows, growing, rows_alone
from neuroformer.model.trunk import Trunk
from neuroformer.settings.model import ModelConfig, bins, context_bins, pooling_lags

_FULL_UP_TO = 128
_ALL_UP_TO, _SAMPLED = 4_000, 2_000
_BLOCK = 4_000  # units whose cells are in memory at once where blocks are asked for
_DEFAULT_RANK = 16
_FEW_ROWS, _WORTH = 2_000, 2  # rows of a table, and times those of a batch, from which sparse gradients pay


@dataclass(frozen=True, kw_only=True)
class SessionShape:
    """What the model must know of a session to make room for it.

    Attributes:
        rate: (N,) training events per bin and unit, above 0; the intensities start there.
        train_bins: training bins; the share of a chunk in them is its share of the session's prior.
        level_frequency: (K,) share of the training events at each amplitude level; (1,) for spikes.
    """

    rate: Tensor
    train_bins: int
    level_frequency: Tensor


@dataclass(frozen=True, kw_only=True)
class Likelihood:
    """Log-likelihood of the scored part of a batch, in nats.

    Attributes:
        cells: (B, T − first, N) of the number of events of each unit in each bin; 0 where not scored or padded.
        levels: (B, E) of the amplitude level of each scored event given its unit, its bin and the past; 0 elsewhere.
        log_intensity: (B, T − first, N) log expected events per bin.
        counts: (B, T − first, N) events; 0 where not scored.
    """

    cells: Tensor
    levels: Tensor
    log_intensity: Tensor
    counts: Tensor


@dataclass(frozen=True, kw_only=True)
class Past:
    """What the intensities of all units have in common.

    Attributes:
        weight: (B, E) what each event counts.
        latent: (B, H·R, T − first) of a coupling of low rank.
        state: (B, T − first, S) of the trunk.
        features: (B, T − first, F) of the context.
    """

    weight: Tensor
    latent: Tensor | None
    state: Tensor | None
    features: Tensor | None


class Neuroformer(nn.Module):
    """The model of all sessions of a vocabulary.

    Args:
        config: settings.
        bin_s: width of a bin in seconds.
        sessions: the sessions, in the order of the vocabulary.
        n_levels: most amplitude levels that any session has or will have.
        variables: stimulus and behaviour.
    """

    def __init__(
        self,
        *,
        config: ModelConfig,
        bin_s: float,
        sessions: list[SessionShape],
        n_levels: int = 1,
        variables: Sequence[VariableShape] = (),
    ) -> None:
        """See the class."""
        super().__init__()
        rank = config.coupling.rank
        if rank is None:
            rank = 0 if max(len(s.rate) for s in sessions) <= _FULL_UP_TO else _DEFAULT_RANK
        # The rank is kept as chosen: sessions added later must not change the kind of coupling of a rebuilt model.
        self.config = replace(config, coupling=replace(config.coupling, rank=rank))
        self.bin_s, self.n_levels = bin_s, n_levels
        heads, lags = config.coupling.heads, bins(config.coupling.window_s, bin_s)
        self.coupling: FullCoupling | LowRankCoupling = (
            LowRankCoupling(heads=heads, n_lags=lags, rank=rank)
            if rank
            else FullCoupling(heads=heads, n_lags=lags)
        )
        self.history = OwnHistory(
            n_lags=bins(config.history.window_s, bin_s), n_functions=config.history.functions
        )
        trunk = config.trunk
        self.trunk = (
            Trunk(
                width=trunk.width,
                layers=trunk.layers,
                heads=trunk.heads,
                window=bins(trunk.window_s, bin_s),
                state=trunk.state,
                time_constants=[t / bin_s for t in trunk.time_constants_s],
                n_lags=pooling_lags(trunk, bin_s),
                dropout=trunk.dropout,
                attention=trunk.attention,
            )
            if trunk.state
            else None
        )
        self.variables = {shape.name: shape for shape in variables}
        inputs = [shape for shape in variables if shape.is_input]
        decoded = [shape for shape in variables if shape.is_decoded]
        context, readout = config.context, config.readout
        self.context_path = (
            Context(
                variables=inputs,
                width=context.width,
                features=context.features,
                heads=context.heads,
                dropout=context.dropout,
            )
            if inputs
            else None
        )
        # The slow state may stand for less where behaviour is known: what that leaves to it is learned.
        self.presence = nn.ParameterDict(
            {f"v_{i}": torch.zeros(trunk.state) for i in range(len(inputs))} if trunk.state else {}
        )
        self.readout = self._make_readout(decoded) if decoded else None
        alignment = config.alignment
        self.alignment = (
            Alignment(
                variables=variables,
                stimulus=alignment.stimulus,
                events=None if decoded else self._make_readout([]),
                events_width=readout.width,
                context_width=context.width,
                width=alignment.width,
                time_constants=[t / bin_s for t in alignment.time_constants_s],
                n_bins=alignment.bins,
                gap=math.ceil(alignment.gap_s / bin_s - 1e-6),
                temperature=alignment.temperature,
                drop_units=alignment.drop_units,
                thin_events=alignment.thin_events,
                shift_weights=alignment.shift_weights,
            )
            if variables and alignment.weight
            else None
        )
        self.bias = nn.Parameter(torch.zeros(0))
        self.level_gain = nn.Parameter(torch.zeros(n_levels))
        self.level_bias = nn.Parameter(torch.zeros(0, n_levels))
        self.level_unit = nn.Parameter(torch.zeros(0, n_levels))
        self.level_state = nn.Linear(trunk.state, n_levels, bias=False) if trunk.state else None
        self.register_buffer("offsets", torch.zeros(1, dtype=torch.long))
        self.register_buffer("train_bins", torch.zeros(0))
        self.offsets: Tensor
        self.train_bins: Tensor
        self.add_sessions(sessions)

    def _make_readout(self, variables: Sequence[VariableShape]) -> Readout:
        readout = self.config.readout
        return Readout(
            variables=variables,
            context_width=self.config.context.width,
            width=readout.width,
            time_constants=[t / self.bin_s for t in readout.time_constants_s],
            window=math.ceil(readout.window_s / self.bin_s),
            heads=readout.heads,
            unit_dropout=readout.unit_dropout,
            dropout=readout.dropout,
        )

    def add_session(self, session: SessionShape) -> None:
        """Append a session; what exists keeps its values."""
        self.add_sessions([session])

    def add_sessions(self, sessions: Sequence[SessionShape]) -> None:
        """Append sessions; what exists keeps its values."""
        with growing():
            for session in sessions:
                self._add_session(session)
        sizes = self.offsets.new_tensor([len(session.rate) for session in sessions])
        self.offsets = torch.cat([self.offsets, self.offsets[-1:] + sizes.cumsum(0)])

    def _add_session(self, session: SessionShape) -> None:
        n_units, device = len(session.rate), self.bias.device
        rate = session.rate.to(device, self.bias.dtype)
        self.coupling.add_session(n_units)
        self.history.add_session(n_units)
        if self.trunk is not None:
            self.trunk.add_session(n_units, float(rate.sum()))
        if self.context_path is not None:
            self.context_path.add_session(n_units)
        if self.readout is not None:
            self.readout.add_session(n_units, float(rate.sum()))
        if self.alignment is not None:
            self.alignment.add_session(n_units, float(rate.sum()))
        append_rows(self, "bias", rate.log())
        frequency = torch.zeros(self.n_levels, device=device)
        frequency[: len(session.level_frequency)] = session.level_frequency.to(device)
        # A level that the session lacks keeps a probability of about 1e-13.
        level_bias = torch.where(frequency > 0, frequency.log(), -30.0)
        append_rows(self, "level_bias", level_bias[None])
        append_rows(self, "level_unit", torch.zeros(n_units, self.n_levels))
        append_rows(self, "train_bins", torch.tensor([float(session.train_bins)]))

    def unit_tables(self) -> list[nn.Parameter]:
        """Parameters with one row per unit of the vocabulary."""
        return [module.get_parameter(name) for module, name in self._unit_tables()]

    def _unit_tables(self) -> list[Place]:
        weights = [self.history.own]
        tables: list[Place] = [(self, "bias"), (self, "level_unit")]
        if isinstance(self.coupling, LowRankCoupling):
            tables.append((self.coupling, "source"))
            weights.append(self.coupling.target)
        if self.trunk is not None:
            tables.append((self.trunk, "unit"))
            weights.append(self.trunk.readout)
        if self.context_path is not None:
            weights.append(self.context_path.tuning)
        if self.readout is not None:
            tables.append((self.readout, "unit"))
        if self.alignment is not None and self.alignment.events is not None:
            tables.append((self.alignment.events, "unit"))
        return tables + [(weight, name) for weight in weights for name in ("mean", "log_scale")]

    @property
    def is_large(self) -> bool:
        """Whether the tables of units are so large that training should leave rows of absent sessions alone."""
        return len(self.bias) >= _FEW_ROWS

    @contextmanager
    def rows_alone(self, batch: Batch) -> Iterator[Batch]:
        """While the block runs, tables hold the units of a batch's sessions alone; see `tables.rows_alone`.

        To be used for the loss of a training step, where the gradients' tables would else be filled with zeros. Nothing
        is done where they are small, or where the batch shows most of the units.
        """
        if not self.is_large or len(self.bias) < _WORTH * batch.unit_row.numel():
            yield batch
            return
        with rows_alone(self._unit_tables(), (self, "offsets"), batch) as local:
            yield local

    def session_tables(self) -> list[nn.Parameter]:
        """Parameters with one row per session."""
        tables = [self.level_bias, self.history.shared]
        if self.trunk is not None:
            tables.append(self.trunk.session)
        if self.readout is not None:
            tables.append(self.readout.session)
        if self.alignment is not None and self.alignment.events is not None:
            tables.append(self.alignment.events.session)
        return tables

    def own_parameters(self, session: int) -> list[nn.Parameter]:
        """Parameters that belong to one session alone: its coupling matrices, where these are full."""
        if isinstance(self.coupling, FullCoupling):
            return list(self.coupling.sessions[session].parameters())
        return []

    @property
    def context(self) -> int:
        """Bins of the past that an intensity or readout depends on; with that many before it, both are exact."""
        return context_bins(
            self.config,
            self.bin_s,
            horizons_s=[shape.horizon * self.bin_s for shape in self.variables.values() if shape.is_input],
            decodes=self.readout is not None,
            aligns=self.alignment is not None,
        )

    def rows(self, session: int) -> Tensor:
        """Vocabulary rows of a session's units."""
        return torch.arange(
            int(self.offsets[session]), int(self.offsets[session + 1]), device=self.offsets.device
        )

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Intensities of the bins from `batch.first_scored` on, given all variables of the batch that are inputs.

        Returns:
            (B, T − first, N) log expected events per bin, and the state (B, T − first, S) or None.
        """
        past = self.past(batch)
        mean, variance = self.targets(batch, past, with_context=True)
        return mean + 0.5 * variance, past.state

    def without_context(self, batch: Batch) -> tuple[Tensor, Tensor | float, Tensor | None]:
        """Mean and variance of log λ, (B, T − first, N), without the tuning to context; and the state."""
        past = self.past(batch, with_context=False)
        return *self.targets(batch, past, with_context=False), past.state

    def past(self, batch: Batch, *, with_context: bool = True) -> Past:
        """What all units' intensities have in common."""
        weight = self.event_weight(batch)
        return Past(
            weight=weight,
            latent=self.coupling.latent(weight, batch)
            if isinstance(self.coupling, LowRankCoupling)
            else None,
            state=None
            if self.trunk is None
            else self.trunk.state(batch, weight, shift=self.state_shift(batch)),
            features=self.context_path.features(batch)
            if self.context_path is not None and with_context
            else None,
        )

    def targets(self, batch: Batch, past: Past, *, with_context: bool) -> tuple[Tensor, Tensor]:
        """Mean and variance of log λ, (B, T − first, N), of the units of a batch.

        Args:
            batch: the chunks; with a coupling of low rank it may hold some units alone, with their events (`part_of`).
            past: of the chunks with all their units.
            with_context: whether the tuning to context counts.
        """
        mean = self.bias[batch.unit_row].unsqueeze(1)
        weight = self.event_weight(batch)
        history, history_variance = self.history(weight, batch)
        mean, variance = mean + history, history_variance
        if isinstance(self.coupling, FullCoupling):
            terms = [self.coupling(weight, batch)]
        else:
            assert past.latent is not None
            terms = [self.coupling.read(past.latent, batch.unit_row)]
        if self.trunk is not None:
            assert past.state is not None
            terms.append(self.trunk(past.state, batch))
        if self.context_path is not None and with_context:
            assert past.features is not None
            terms.append(self.context_path(past.features, batch))
        for term_mean, term_variance in terms:
            mean, variance = mean + term_mean, variance + term_variance
        return mean, variance

    def exogenous(self, batch: Batch) -> tuple[Tensor | None, Tensor | None]:
        """What the variables of a batch say whatever the events are.

        Returns:
            (B, T − first, N) their part of the log-intensities, and (B, T − first, S) what they add to the slow state
            before its nonlinearity; None where there is none.
        """
        term = None
        if self.context_path is not None:
            mean, variance = self.context_path(self.context_path.features(batch), batch)
            term = mean + 0.5 * variance
        return term, self.state_shift(batch) if self.trunk is not None else None

    def state_shift(self, batch: Batch) -> Tensor | None:
        """(B, T − first, S): what the knowledge of each variable adds to the slow state."""
        shift: Tensor | None = None
        first = batch.first_scored
        for i, shape in enumerate(s for s in self.variables.values() if s.is_input):
            if shape.kind == "frames":
                stack = batch.frames.get(shape.name)
                known = None if stack is None else stack.shown(first, batch.n_bins, shape.horizon)
            else:
                variable = batch.variables.get(shape.name)
                known = None if variable is None else variable.known[:, first:]
            if known is not None:
                term = known.unsqueeze(-1) * self.presence[f"v_{i}"]
                shift = term if shift is None else shift + term
        return shift

    def decode(self, batch: Batch) -> dict[str, Decoded]:
        """The readouts of all decoded variables in the bins from `batch.first_scored` on."""
        return {} if self.readout is None else self.readout.decoded(self.readout_outputs(batch))

    def readout_outputs(self, batch: Batch) -> dict[str, Tensor]:
        """Raw outputs of the readouts' heads; decoded variables of the batch are no input to them."""
        assert self.readout is not None
        given = None
        if self.context_path is not None:
            names = [name for name, shape in self.variables.items() if shape.is_decoded]
            here = self.context_path.present(batch, without=names)
            past, seen = self.context_path.past(batch)
            given = (here.total + past) * (here.known | seen).unsqueeze(-1)
        return self.readout(batch, self.event_weight(batch), given)

    def latents(self, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
        """Aligned latents, (B, T', L) and where they are known (B, T'), by modality; none without alignment."""
        if self.alignment is None:
            return {}
        return self.alignment.latents(
            batch, self.event_weight(batch), readout=self.readout, context=self.context_path
        )

    def likelihood(self, batch: Batch) -> Likelihood:
        """Exact log-likelihood of the scored events and silences, given what came before."""
        past = self.past(batch)
        found = self._cells(batch, past)
        return replace(found, levels=self._level_log_likelihood(batch, past.state))

    def likelihoods(self, batch: Batch) -> Iterator[tuple[Batch, Likelihood]]:
        """As `likelihood`, by blocks of units where there are many, so that memory stays bounded.

        Yields:
            A batch that holds the units of a block and their events, and its likelihood; levels are in the first.
        """
        n = batch.unit_row.shape[1]
        if n <= _BLOCK or isinstance(self.coupling, FullCoupling):
            yield batch, self.likelihood(batch)
            return
        past = self.past(batch)
        levels = self._level_log_likelihood(batch, past.state)
        for start in range(0, n, _BLOCK):
            columns = torch.arange(start, min(start + _BLOCK, n), device=batch.unit_row.device)
            part = part_of(batch, columns.expand(len(batch.unit_row), -1))
            yield (
                part,
                replace(self._cells(part, past), levels=levels if start == 0 else torch.zeros_like(levels)),
            )

    def _cells(self, batch: Batch, past: Past) -> Likelihood:
        mean, variance = self.targets(batch, past, with_context=True)
        log_intensity = mean + 0.5 * variance
        first = batch.first_scored
        scored = (batch.scored[:, first:, None] & batch.unit_mask[:, None, :]).to(log_intensity.dtype)
        counts = batch.counts(scored_only=True) * scored
        return Likelihood(
            cells=poisson_log_likelihood(log_intensity, counts) * scored,
            levels=log_intensity.new_zeros(0),
            log_intensity=log_intensity,
            counts=counts,
        )

    def _sample_size(self, batch: Batch) -> int | None:
        """Units whose silence a training step looks at; None for all."""
        size, n = self.config.sampled_units, batch.unit_row.shape[1]
        if size is None:
            size = _SAMPLED if n > _ALL_UP_TO else 0
        return size if 0 < size < n and isinstance(self.coupling, LowRankCoupling) else None

    def loss(
        self, batch: Batch, *, labels: Batch | None = None, known: Batch | None = None
    ) -> dict[str, Tensor]:
        """Negative evidence lower bound per scored event, in nats.

        A chunk that holds a share of its session's training bins carries that share of the session's KL, so that a
        pass over the data counts each prior once.

        Args:
            batch: the chunks; events are predicted given all that is known in them.
            labels: the same chunks with the labels that the readouts are to find; by default none.
            known: the same chunks with all that is truly known, which is what latents are aligned by; by default
                `batch`.

        Returns:
            `loss`, and without gradient its parts `nll` (events), `level_nll` and `kl`, each per event,
            `decode_nll` per label, if there are any, and `align` per drawn bin, if latents are aligned.
        """
        sums = self.loss_sums(batch, labels=labels, known=known)
        parts = sums.parts(events=max(1, batch.scored_events), labels=sums.n_labels)
        total = weighed(parts, decode=self.config.readout.weight, align=self.config.alignment.weight)
        return {"loss": total, **{name: part.detach() for name, part in parts.items()}}

    def loss_sums(self, batch: Batch, *, labels: Batch | None = None, known: Batch | None = None) -> LossSums:
        """What the loss is made of; its arguments are those of `loss`."""
        size = self._sample_size(batch) if self.training else None
        if size is None and self.training and stacked.suits(self, batch):
            cells, state = stacked.log_likelihood(self, batch)
            levels = self._level_log_likelihood(batch, state).sum()
        elif size is None:
            found = self.likelihood(batch)
            cells, levels = found.cells.sum(), found.levels.sum()
        else:
            past = self.past(batch)
            cells = sampled_log_likelihood(self, batch, past, draw_units(self, batch, size))
            levels = self._level_log_likelihood(batch, past.state).sum()
        share = batch.scored.sum(1) / self.train_bins[batch.session]
        there = SessionRows.of(batch.session.tolist(), self.offsets)
        shares = share.new_zeros(len(self.train_bins)).index_add(0, batch.session, share)
        kl = (shares[list(there.sessions)] * self._kl(there)).sum()
        decode = align = None
        n_labels = 0 if labels is None else self._count_labels(labels)
        if labels is not None and self.readout is not None and n_labels:
            scores = self.readout.log_likelihood(self.readout_outputs(batch), labels).values()
            decode = sum((score.sum() for score, _ in scores), start=cells.new_zeros(()))
        if self.alignment is not None:
            known = batch if known is None else known
            align = self.alignment(
                known, self.event_weight(known), readout=self.readout, context=self.context_path
            )
        return LossSums(cells=cells, levels=levels, kl=kl, n_labels=n_labels, decode=decode, align=align)

    def _count_labels(self, labels: Batch) -> int:
        """Labels that the readouts are to find."""
        if self.readout is None:
            return 0
        return sum(
            int((labels.variables[name].known & labels.scored).sum())
            for name in self.readout.shapes
            if name in labels.variables
        )

    def kl(self, session: int) -> Tensor:
        """Nats that the posterior of a session's weights costs against their priors."""
        return self._kl(SessionRows.of([session], self.offsets))[0]

    def _kl(self, there: SessionRows) -> Tensor:
        """(S,) of each session."""
        kl = self.coupling.kl(there) + self.history.kl(there)
        if self.trunk is not None:
            kl = kl + self.trunk.kl(there)
        if self.context_path is not None:
            kl = kl + self.context_path.kl(there)
        return kl + 0.5 * there.sum(there.of_table(self.level_unit).square().sum(1))

    @torch.no_grad()
    def coupling_weights(self, session: int) -> Tensor:
        """(H, N, N) posterior mean of each head's matrix, [head, source, target], with a zero diagonal."""
        weights = self.coupling.head_weights(session, self.rows(session))
        return weights * (1 - torch.eye(weights.shape[-1], device=weights.device))

    @torch.no_grad()
    def coupling_map(self, session: int) -> tuple[Tensor, Tensor]:
        """Posterior mean and variance of the influence of each unit on each other by lag.

        Returns:
            Two (N, N, L): change of the target's log-intensity after an event of the source, [source, target, lag − 1];
            the diagonal is not part of the coupling and is 0.
        """
        mean, variance = self.coupling.map(session, self.rows(session))
        off = 1 - torch.eye(mean.shape[0], device=mean.device).unsqueeze(-1)
        return mean * off, variance * off

    def event_weight(self, batch: Batch) -> Tensor:
        """(B, E) what an event counts as input: 1, scaled by a learned gain per amplitude level."""
        if self.n_levels == 1:
            return torch.ones_like(batch.event_mask, dtype=self.bias.dtype)
        return self.level_gain.exp()[batch.event_level]

    def _level_log_likelihood(self, batch: Batch, state: Tensor | None) -> Tensor:
        if self.n_levels == 1:
            return batch.event_bin.new_zeros(batch.event_bin.shape, dtype=self.bias.dtype)
        first = batch.first_scored
        logits = (
            self.level_bias[batch.session].unsqueeze(1)
            + self.level_unit[batch.unit_row.gather(1, batch.event_unit)]
        )
        if state is not None and self.level_state is not None:
            at = (batch.event_bin - first).clamp(min=0).unsqueeze(-1).expand(-1, -1, state.shape[-1])
            logits = logits + self.level_state(state.gather(1, at))
        found = logits.log_softmax(-1).gather(-1, batch.event_level.unsqueeze(-1)).squeeze(-1)
        counted = batch.event_mask & batch.scored.gather(1, batch.event_bin)
        return torch.where(counted, found, torch.zeros_like(found))
