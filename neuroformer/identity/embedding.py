"""What a trained model keeps of each unit: the parts of its learned embedding.

N = units of the vocabulary. None of it comes from labels. What the parts mean, and which of them two animals share as a
space, is in docs/identity.md.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from neuroformer.model import Neuroformer
from neuroformer.model.coupling import LowRankCoupling


@torch.no_grad()
def unit_parts(model: Neuroformer) -> dict[str, np.ndarray]:
    """Every per-unit part that the model has, (N, D) float32 by name, in the order of the vocabulary's rows.

    `drive`: what an event of the unit adds to the slow state by each time constant, as far as it does not pass through
    attention (without blocks, all that it adds): pool_k(unit + session). `readout`: posterior mean of how the state
    moves the unit. `factors`: source and target rows of a low-rank coupling. `wiring`: mean and root mean square,
    over partners, of the outgoing and of the incoming coupling, by head. `unit`: the token embedding. `history`:
    weights of the unit's own past events. `bias`: log events per bin, as far as nothing else explains them. `level`:
    log-odds of the amplitude levels, as departures from the session's.
    """
    parts: dict[str, Tensor] = {"bias": model.bias[:, None], "history": _history(model)}
    if model.n_levels > 1:
        parts["level"] = model.level_unit
    if isinstance(model.coupling, LowRankCoupling):
        parts["factors"] = torch.cat([model.coupling.source, model.coupling.target.mean], 1)
    parts["wiring"] = torch.cat([_wiring(model.coupling_weights(s)) for s in range(_n_sessions(model))])
    trunk = model.trunk
    if trunk is not None:
        session = torch.repeat_interleave(trunk.session, model.offsets.diff(), dim=0)
        parts["unit"] = trunk.unit
        parts["drive"] = torch.cat([pool(trunk.unit + session) for pool in trunk.pool], 1)
        parts["readout"] = trunk.readout.mean
    return {name: part.float().cpu().numpy() for name, part in sorted(parts.items())}


def _n_sessions(model: Neuroformer) -> int:
    return len(model.offsets) - 1


def _history(model: Neuroformer) -> Tensor:
    """(N, K) weights of the basis, the session's and the unit's own together."""
    shared = torch.repeat_interleave(model.history.shared, model.offsets.diff(), dim=0)
    return shared + model.history.own.mean


def _wiring(weights: Tensor) -> Tensor:
    """(N, 4 H) mean and root mean square over partners of (H, N, N) couplings [head, source, target], diagonal 0."""
    partners = max(1, weights.shape[-1] - 1)
    sums = [weights.sum(2), weights.sum(1)]
    squares = [weights.square().sum(2), weights.square().sum(1)]
    return torch.cat([x / partners for x in sums] + [(x / partners).sqrt() for x in squares]).mT.contiguous()
