"""Stimulus and behaviour in the intensities: w_j · g(context(t)).

The tokens of all variables at bin t are summed; where a variable has a horizon, a query per bin also attends to its
tokens at times in [t − horizon, t] (rotary position on time, one null token that is always there). A small network
turns the sum into features g, to which each unit is tuned by weights with a posterior (`ShrunkWeight`). So tuning
curves of all animals share one basis, and a unit of a new animal needs but its weights: a Gaussian process whose
kernel, g · g', is learned from the other animals.

Decoded variables enter through their present value alone, and additively in the log-intensity. That is what lets the
model be inverted on a grid of their values (`neuroformer.decoding`).

Legend: B rows, T bins, T' = T − first, W width, G grid cells, F features, N units.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from neuroformer.batch import Batch
from neuroformer.model.attention import rotary_angles, rotate
from neuroformer.model.dropout import Dropout
from neuroformer.model.encoders import VariableShape, make_encoder
from neuroformer.model.shrinkage import ShrunkWeight
from neuroformer.model.tables import SessionRows

# Tuning is the rule and not the exception: a posterior that starts narrow would take absent weights for granted.
_INITIAL_LOG_SCALE = -2.0


@dataclass(frozen=True, kw_only=True)
class Present:
    """The tokens of all variables in a bin, combined.

    Attributes:
        total: (..., W) their sum, with the missing token of each variable that is not known.
        product: (..., W) product of those that are known.
        known: (...) bool, whether any is.
    """

    total: Tensor
    product: Tensor
    known: Tensor


class Context(nn.Module):
    """Encoders of all input variables, cross-attention to their past, and each unit's tuning.

    Args:
        variables: those that events may be predicted from.
        width: of a token.
        features: of the context.
        heads: of the cross-attention.
        dropout: on the features, in training.
    """

    def __init__(
        self, *, variables: Sequence[VariableShape], width: int, features: int, heads: int, dropout: float
    ) -> None:
        """See the class."""
        super().__init__()
        self.shapes = {shape.name: shape for shape in variables}
        self.decoded = [shape.name for shape in variables if shape.is_decoded]
        self.width, self.heads = width, heads
        self.encoders = nn.ModuleDict({_key(s.name): make_encoder(s, width) for s in variables})
        # What stands for a variable that is not known.
        self.missing = nn.ParameterDict({_key(s.name): nn.Parameter(torch.zeros(width)) for s in variables})
        self.attention = (
            CrossAttention(width=width, heads=heads, longest=max(s.horizon for s in variables))
            if any(_looks_back(s) for s in variables)
            else None
        )
        self.project = nn.Linear(width, features, bias=False)
        # The product of two random projections is that of their product kernel: a place field in one direction.
        vectors = [s for s in variables if not _looks_back(s)]
        self.interact = nn.Linear(width, features, bias=False) if len(vectors) > 1 else None
        self.mix = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, features)
        )
        # At first the features are a random projection of the encoders' bases: a Gaussian process whose kernel is that
        # of the bumps. The network bends it.
        for linear in (self.project, self.interact):
            if linear is not None:
                nn.init.normal_(linear.weight, std=width**-0.5)
        for parameter in self.mix[-1].parameters():
            nn.init.zeros_(parameter)
        self.dropout = Dropout(dropout)
        self.common = nn.Parameter(torch.zeros(features))
        self.tuning = ShrunkWeight(0, features, log_scale=_INITIAL_LOG_SCALE)

    def add_session(self, n_units: int) -> None:
        """Make room for a session's units."""
        self.tuning.grow(n_units)

    def forward(self, features: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean and variance of the tuning term.

        Args:
            features: (B, T', F), or (B, 1, F) where all bins share them.
            batch: the chunks.

        Returns:
            Two (B, T', N).
        """
        mean = features @ (self.tuning.mean[batch.unit_row] + self.common).mT
        variance = features.square() @ self.tuning.variance_of(batch.unit_row).mT
        return mean, variance

    def features(self, batch: Batch) -> Tensor:
        """(B, T', F) features g of the bins from `batch.first_scored` on; 0 where nothing is known."""
        here = self.present(batch)
        past, seen = self.past(batch)
        return self.mixed(replace(here, total=here.total + past, known=here.known | seen))

    def mixed(self, here: Present) -> Tensor:
        """(..., F) features, 0 where nothing is known."""
        found = self.project(here.total) + self.mix(here.total)
        if self.interact is not None:
            found = found + self.interact(here.product)
        return self.dropout(found) * here.known.unsqueeze(-1)

    def present(self, batch: Batch, *, without: Collection[str] = ()) -> Present:
        """The tokens of the bins from `batch.first_scored` on, combined.

        Args:
            batch: the chunks.
            without: variables that are left out altogether, for the caller to add.
        """
        first = batch.first_scored
        n_rows, n_bins = batch.scored.shape
        total = self.common.new_zeros(n_rows, n_bins - first, self.width)
        product = torch.ones_like(total)
        known = batch.scored.new_zeros(n_rows, n_bins - first)
        for name, shape in self.shapes.items():
            if name in without or shape.kind == "frames":
                continue
            variable = batch.variables.get(name)
            missing = self.missing[_key(name)]
            if variable is None:
                total = total + missing
                continue
            there = variable.known[:, first:]
            token = self.encoders[_key(name)](variable.values[:, first:])
            total = total + torch.where(there.unsqueeze(-1), token, missing)
            product = torch.where(there.unsqueeze(-1), product * token, product)
            known = known | there
        return Present(total=total, product=product, known=known)

    def named_keys(self) -> list[tuple[str, str]]:
        """Each variable that has a missing token in the sum: its name, and its name among the parameters."""
        return [(name, _key(name)) for name, shape in self.shapes.items() if shape.kind != "frames"]

    def value_tokens(self, name: str, values: Tensor) -> Tensor:
        """(G, W) tokens of given values, (G, D) in the variable's unit or (G,) labels."""
        found: Tensor = self.encoders[_key(name)](values)
        return found

    def past(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What each bin's query finds at times in [t − horizon, t]: (B, T', W), and whether it found anything.

        The query is made of the variables that are not decoded: the others must not matter but by their own tokens.
        """
        first = batch.first_scored
        nothing = batch.scored.new_zeros(batch.scored.shape[0], batch.n_bins - first)
        if self.attention is None:
            return self.common.new_zeros(()), nothing
        tokens, bins, horizon, known = self.past_tokens(batch)
        if tokens.shape[1] == 0:
            return self.common.new_zeros(()), nothing
        time = torch.arange(first, batch.n_bins, device=tokens.device).expand(len(tokens), -1)
        lag = time.unsqueeze(-1) - bins.unsqueeze(1)  # (B, T', M)
        mask = (lag >= 0) & (lag <= horizon) & known.unsqueeze(1)
        query = self.present(batch, without=self.decoded).total
        return self.attention(query, time, tokens, bins, mask), mask.any(-1)

    def past_tokens(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Tokens of the variables that are looked back at.

        Returns:
            (B, M, W) tokens, (B, M) their bins, (M,) how many bins each is seen from, (B, M) whether it is known.
        """
        n_rows = batch.scored.shape[0]
        parts: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        for name, shape in self.shapes.items():
            if not _looks_back(shape):
                continue
            if shape.kind == "frames":
                stack = batch.frames.get(name)
                if stack is None:
                    continue
                token = self.encoders[_key(name)](stack.values, stack.bins, stack.known)  # (B, S, P, W)
                per = token.shape[2]
                bins, known = (x.repeat_interleave(per, 1) for x in (stack.bins, stack.known))
                token = token.flatten(1, 2)
            else:
                variable = batch.variables.get(name)
                if variable is None:
                    continue
                token = self.encoders[_key(name)](variable.values)
                bins = torch.arange(batch.n_bins, device=token.device).expand(n_rows, -1)
                known = variable.known
            horizon = torch.full((token.shape[1],), shape.horizon, device=token.device)
            parts.append((token, bins, horizon, known))
        if not parts:
            empty = self.common.new_zeros(n_rows, 0, self.width)
            none = torch.zeros(n_rows, 0, dtype=torch.long, device=empty.device)
            return empty, none, none[0], none.bool()
        return (
            torch.cat([p[0] for p in parts], 1),
            torch.cat([p[1] for p in parts], 1),
            torch.cat([p[2] for p in parts]),
            torch.cat([p[3] for p in parts], 1),
        )

    def kl(self, there: SessionRows) -> Tensor:
        """(S,) KL of the tuning of each session's units, nats."""
        return self.tuning.kl_by_session(there)


class CrossAttention(nn.Module):
    """Queries at times look at tokens at times; a learned null token is always there to be looked at.

    Args:
        width: of queries, tokens and result.
        heads: must divide the width into an even number.
        longest: bins back that any query looks.
    """

    def __init__(self, *, width: int, heads: int, longest: int) -> None:
        """See the class."""
        super().__init__()
        self.heads, self.longest = heads, max(1, longest)
        self.norm_query, self.norm_token = nn.RMSNorm(width), nn.RMSNorm(width)
        self.query = nn.Linear(width, width)  # its bias is the query where nothing else is known
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.null = nn.Parameter(torch.zeros(1, 1, width))
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, query: Tensor, time: Tensor, tokens: Tensor, bins: Tensor, mask: Tensor) -> Tensor:
        """Attend.

        Args:
            query: (B, Q, W).
            time: (B, Q) in bins.
            tokens: (B, M, W).
            bins: (B, M) times of the tokens.
            mask: (B, Q, M) true where a query may look.

        Returns:
            (B, Q, W).
        """
        n_pairs = query.shape[-1] // self.heads // 2
        q = self.query(self.norm_query(query)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.key_value(self.norm_token(tokens)).chunk(2, dim=-1)
        k, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (k, v))
        # The null token has no time, so that the result depends on differences of times alone.
        null = q @ self.null.unflatten(-1, (self.heads, -1)).permute(0, 2, 3, 1)  # (B, heads, Q, 1)
        q = rotate(q, rotary_angles(time, n_pairs, 4 * self.longest))
        k = rotate(k, rotary_angles(bins, n_pairs, 4 * self.longest))
        match = (q @ k.mT).masked_fill(~mask.unsqueeze(1), -torch.inf)
        weight = (torch.cat([null, match], -1) / math.sqrt(2 * n_pairs)).softmax(-1)
        found: Tensor = self.out((weight[..., 1:] @ v).transpose(1, 2).flatten(2))
        return found


def _looks_back(shape: VariableShape) -> bool:
    return shape.kind == "frames" or shape.horizon > 0


def _key(name: str) -> str:
    """A variable's name as a module's: these may hold no dot."""
    return "v_" + name.replace(".", "%2E")
