"""How much of a model's trunk its read-out takes over: as much as pays on the validation part.

The trunk reads every unit's recent events, so from a short recording in which nothing is shared it learns chance, and
holds a part of what synapses do. As nuisance of the adjusted read-out it then explains away what is looked for. Its
term of the log-intensity is therefore scaled by one number γ, as predictors are when they are stacked (Wolpert 1992,
Neural Networks 5:241; Breiman 1996, Machine Learning 24:49):

    log λ_j(t) = c_j(γ) + b_j + history_j(t) + coupling_j(t) + γ u_j · f(h(t)),    0 ≤ γ ≤ 1

γ has the largest likelihood of the validation part on a grid, with constants c_j that give every unit its events of the
training part. Where the trunk's whole term is worth most, γ is 1 and the model is taken as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from neuroformer.batch import Batch
from neuroformer.model import Neuroformer
from neuroformer.model.observation import poisson_log_likelihood

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Values of γ that are tried."""


@torch.no_grad()
def gated_intensity(
    model: Neuroformer, training: Iterable[Batch], validation: Iterable[Batch]
) -> tuple[Callable[[Batch], Tensor], float]:
    """Choose γ for one session.

    Args:
        model: the trained model; in evaluation mode.
        training: the session's training part, every bin scored once.
        validation: the same of its validation part.

    Returns:
        A function that gives (B, T − first, N) log expected events per bin, and γ. Without a trunk, and where γ is 1,
        the function is the model's own.
    """

    def own(batch: Batch) -> Tensor:
        return model(batch)[0]

    if model.trunk is None:
        return own, 1.0
    events, expected = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for batch in training:
        scored = batch.scored[:, batch.first_scored :, None]
        events = events + (batch.counts(scored_only=True) * scored).sum((0, 1), dtype=torch.float64)
        expected = expected + (_with_shares(model, batch).exp() * scored).sum((1, 2), dtype=torch.float64)
    constants = torch.where(events > 0, (events / expected).log(), 0.0)  # (S, N)
    constants[-1] = 0  # the model's own were fitted
    found = torch.zeros(len(SHARES), dtype=torch.float64)
    for batch in validation:
        log_intensity = _with_shares(model, batch) + constants[:, None, None].to(model.bias)
        scored = batch.scored[:, batch.first_scored :, None].to(log_intensity)
        counts = (batch.counts(scored_only=True) * scored).expand_as(log_intensity)
        cells = poisson_log_likelihood(log_intensity, counts) * scored
        found += cells.sum((1, 2, 3), dtype=torch.float64)
    best = int(found.argmax())
    if SHARES[best] == 1:
        return own, 1.0

    def gated(batch: Batch) -> Tensor:
        return _with_shares(model, batch, (SHARES[best],))[0] + constants[best].to(model.bias)

    return gated, SHARES[best]


def _with_shares(model: Neuroformer, batch: Batch, shares: tuple[float, ...] = SHARES) -> Tensor:
    """(S, B, T − first, N) log-intensity with each share of the trunk's term."""
    full, state = model(batch)
    assert model.trunk is not None
    mean, variance = model.trunk(state, batch)
    rest = full - mean - 0.5 * variance
    # The term is Gaussian: scaled by γ, its variance is scaled by γ².
    return torch.stack([rest + share * mean + 0.5 * share**2 * variance for share in shares])
