"""The encoder turned round: log p(events of a bin | behaviour, past) for every cell of a grid of behaviour.

The decoded variables enter the log-intensities additively, through the features g of the context path, so that
log λ_j(t, cell) = a_j(t) + w_j · g(cell, t) with one pass of the rest of the model. Where no other variable is
an input, g depends on the cell alone and all cells and bins cost two matrix products.

Legend: B rows, T' = T − first bins, G cells, N units, F features.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from neuroformer.batch import Batch, Variable
from neuroformer.data.grid import Grid
from neuroformer.model import Neuroformer
from neuroformer.model.context import Present
from neuroformer.model.tasks import make_task

_AT_ONCE = 20_000_000  # numbers in an array of (B, T', G, N)


@torch.no_grad()
def grid_log_likelihood(
    model: Neuroformer, batch: Batch, grid: Grid, *, unknown: bool = False, at_mean: bool = True
) -> Tensor:
    """Log-likelihood of each bin's events for each value of the decoded variables.

    Values of decoded variables in the batch are not looked at.

    With `at_mean` every cell, and unknown behaviour, is weighed at the posterior mean of the log-rate η: s·η − exp(η).
    Without it the rate is E exp(η) = exp(mean + variance / 2), the model's own when it is scored on events; then a unit
    whose tuning is uncertain has a rate that rises with the uncertainty, most in cells that no label has visited, and
    its silence speaks against these cells: decoding from few labels is much worse.

    Args:
        model: with a context path.
        batch: the chunks.
        grid: of the decoded variables that are inverted; others are left unknown.
        unknown: whether a last column is wanted, for behaviour that is not known.
        at_mean: whether the uncertainty of the weights is left out, in all cells alike.

    Returns:
        (B, T', G) nats, or (B, T', G + 1), up to a constant per bin.
    """
    path = model.context_path
    assert path is not None
    seen = make_task("decode", batch, model.variables).seen
    half = 0.0 if at_mean else 0.5  # of the variance of η
    base = _base(model, _known(seen, grid), half)  # (B, T', N)
    base_unknown = _base(model, seen, half) if unknown else base
    counts = seen.counts(scored_only=True).to(base.dtype) * seen.unit_mask.unsqueeze(1)
    rest = path.present(seen, without=grid.names)
    past, looked = path.past(seen)
    rest = replace(rest, total=rest.total + past, known=rest.known | looked)
    tokens = value_tokens(model, grid)
    weight = path.tuning.mean[seen.unit_row] + path.common  # (B, N, F)
    spread = path.tuning.variance[seen.unit_row]
    mask = seen.unit_mask.to(base.dtype)
    if not bool(rest.known.any()):
        # Unknown variables have one token each, in every bin the same.
        one = Present(total=rest.total[:, :1], product=rest.product[:, :1], known=rest.known[:, :1])
        features = path.mixed(_at_cells(one, tokens, slice(None)))[:, 0]  # (B, G, F)
        tuned = features @ weight.mT + half * features.square() @ spread.mT  # (B, G, N)
        found = counts @ tuned.mT - (base.exp() * mask.unsqueeze(1)) @ tuned.exp().mT
        if not unknown:
            return found
        more = (counts * (base_unknown - base)).sum(-1) - (base_unknown.exp() * mask.unsqueeze(1)).sum(-1)
        return torch.cat([found, more.unsqueeze(-1)], -1)
    found = base.new_empty(*base.shape[:2], len(grid))
    size = max(1, _AT_ONCE // max(1, base.numel()))
    for first in range(0, len(grid), size):
        features = path.mixed(_at_cells(rest, tokens, slice(first, first + size)))  # (B, T', g, F)
        tuned = features @ weight.mT.unsqueeze(1) + half * features.square() @ spread.mT.unsqueeze(1)
        rate = (base.unsqueeze(2) + tuned).exp() * mask[:, None, None]
        found[:, :, first : first + size] = (counts.unsqueeze(2) * tuned).sum(-1) - rate.sum(-1)
    if not unknown:
        return found
    features = path.mixed(_without(rest, model, grid)).unsqueeze(2)
    tuned = features @ weight.mT.unsqueeze(1) + half * features.square() @ spread.mT.unsqueeze(1)
    tuned = tuned + (base_unknown - base).unsqueeze(2)
    rate = (base.unsqueeze(2) + tuned).exp() * mask[:, None, None]
    return torch.cat([found, (counts.unsqueeze(2) * tuned).sum(-1) - rate.sum(-1)], -1)


def _base(model: Neuroformer, batch: Batch, half: float) -> Tensor:
    """(B, T', N) log-intensities without tuning to context, with `half` of their variance."""
    mean, variance, _ = model.without_context(batch)
    return mean + half * variance


def _known(batch: Batch, grid: Grid) -> Batch:
    """The batch with the grid's variables known: the slow state is another one where behaviour is known."""
    known = torch.ones_like(batch.scored)
    shown = {name: Variable(values=known, known=known) for name in grid.names}
    return replace(batch, variables=batch.variables | shown)


def _without(rest: Present, model: Neuroformer, grid: Grid) -> Present:
    """Other variables, with the missing tokens of the grid's."""
    path = model.context_path
    assert path is not None
    missing = sum(
        (path.missing[key] for name, key in path.named_keys() if name in grid.names), start=rest.total * 0
    )
    return replace(rest, total=rest.total + missing)


def value_tokens(model: Neuroformer, grid: Grid) -> tuple[Tensor, Tensor]:
    """(G, W) sum and (G, W) product of the tokens of each cell's values."""
    path = model.context_path
    assert path is not None
    parts = []
    for name in grid.names:
        values = torch.as_tensor(grid.values(name), device=path.common.device)
        values = values if values.dtype == torch.long else values.to(path.common.dtype)
        parts.append(path.value_tokens(name, values))
    together = torch.stack(parts)
    return together.sum(0), together.prod(0)


def cell_features(model: Neuroformer, grid: Grid) -> Tensor:
    """(G, F) features of each cell where no other variable is known; `model` in evaluation mode."""
    path = model.context_path
    assert path is not None
    others = [path.missing[key] for name, key in path.named_keys() if name not in grid.names]
    total = sum(others, start=torch.zeros_like(path.common.new_zeros(path.width)))
    here = Present(
        total=total.expand(1, 1, -1),
        product=path.common.new_ones(1, 1, path.width),
        known=torch.zeros(1, 1, dtype=torch.bool, device=path.common.device),
    )
    return path.mixed(_at_cells(here, value_tokens(model, grid), slice(None)))[0, 0]


def _at_cells(rest: Present, tokens: tuple[Tensor, Tensor], cells: slice) -> Present:
    """Other variables (B, T', W) together with the values of cells: (B, T', G, W)."""
    total, product = (part[cells] for part in tokens)
    at = Present(
        total=rest.total.unsqueeze(2) + total, product=rest.product.unsqueeze(2) * product, known=rest.known
    )
    return replace(at, known=torch.ones(at.total.shape[:-1], dtype=torch.bool, device=at.total.device))
