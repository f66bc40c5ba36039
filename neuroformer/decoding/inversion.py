"""The encoder turned round: log p(events of a bin | behaviour, past) for every cell of a grid of behaviour.

The decoded variables enter the log-intensities additively, through the features g of the context path, so that
log λ_j(t, cell) = a_j(t) + w_j · g(cell, t) with one pass of the rest of the model. Where no other variable is an input, g
depends on the cell alone and all cells and bins cost two matrix products.

Legend: B rows, T' = T − first bins, G cells, N units, F features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neuroformer.batch import Batch
from neuroformer.decoding.grid import Grid
from neuroformer.model import Neuroformer
from neuroformer.training.tasks import make_task

_AT_ONCE = 20_000_000  # numbers in an array of (B, T', G, N)


@torch.no_grad()
def grid_log_likelihood(model: Neuroformer, batch: Batch, grid: Grid) -> Tensor:
    """Log-likelihood of each bin's events for each value of the decoded variables.

    Values of decoded variables in the batch are not looked at.

    Args:
        model: with a context path.
        batch: the chunks.
        grid: of the decoded variables that are inverted; others are left unknown.

    Returns:
        (B, T', G) nats, up to a constant per bin.
    """
    path = model.context_path
    assert path is not None
    seen = make_task("decode", batch, model.variables).seen
    mean, variance, _ = model.without_context(seen)
    base = mean + 0.5 * variance  # (B, T', N)
    counts = seen.counts(scored_only=True) * seen.unit_mask.unsqueeze(1)
    rest, known = path.present(seen, without=grid.names)
    past, looked = path.past(seen, rest)
    rest = rest + past
    values = sum(_value_tokens(model, grid, name) for name in grid.names)  # (G, W)
    assert isinstance(values, Tensor)
    weight = path.tuning.mean[seen.unit_row] + path.common  # (B, N, F)
    spread = path.tuning.variance[seen.unit_row]
    mask = seen.unit_mask.to(base.dtype)
    if not bool((known | looked).any()):
        token = rest[:, :1] + values  # unknown variables have one token each, in every bin the same
        features = path.mixed(
            token, torch.ones(token.shape[:-1], dtype=torch.bool, device=token.device)
        )  # (B, G, F)
        tuned = features @ weight.mT + 0.5 * features.square() @ spread.mT  # (B, G, N)
        return counts @ tuned.mT - (base.exp() * mask.unsqueeze(1)) @ tuned.exp().mT
    found = base.new_empty(*base.shape[:2], len(grid))
    size = max(1, _AT_ONCE // max(1, base.numel()))
    for first in range(0, len(grid), size):
        token = rest.unsqueeze(2) + values[first : first + size]  # (B, T', g, W)
        features = path.mixed(token, torch.ones(token.shape[:-1], dtype=torch.bool, device=token.device))
        tuned = features @ weight.mT.unsqueeze(1) + 0.5 * features.square() @ spread.mT.unsqueeze(1)
        rate = (base.unsqueeze(2) + tuned).exp() * mask[:, None, None]
        found[:, :, first : first + size] = (counts.unsqueeze(2) * tuned).sum(-1) - rate.sum(-1)
    return found


def _value_tokens(model: Neuroformer, grid: Grid, name: str) -> Tensor:
    path = model.context_path
    assert path is not None
    values = torch.as_tensor(grid.values(name), device=path.common.device)
    return path.value_tokens(name, values if values.dtype == torch.long else values.to(path.common.dtype))
