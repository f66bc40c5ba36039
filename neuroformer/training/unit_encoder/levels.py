"""A unit's preference for amplitude levels, the most probable one under the model's normal prior."""

from __future__ import annotations

import torch
from torch import Tensor

_NEWTON_STEPS = 8


def fit_levels(counts: Tensor, session: Tensor) -> Tensor:
    """Departures from the session's log-odds of the levels, (N, K).

    The trunk's state, which moves the odds too, is left at nothing: on average it is in the session's odds already.

    Args:
        counts: (N, K) training events of each unit at each level.
        session: (K,) log-odds of the session.
    """
    counts, total = counts.double(), counts.double().sum(1, keepdim=True)
    found = torch.zeros_like(counts)
    eye = torch.eye(counts.shape[1], dtype=torch.float64)
    for _ in range(_NEWTON_STEPS):
        share = (session.double() + found).softmax(-1)
        gradient = counts - total * share - found
        hessian = (
            total.unsqueeze(-1) * (torch.diag_embed(share) - share.unsqueeze(-1) * share.unsqueeze(-2)) + eye
        )
        found = found + torch.linalg.solve(hessian, gradient).clamp(-1, 1)
    return found.to(session.dtype)
