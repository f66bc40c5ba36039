"""Connectivity read from a trained model's coupling attention."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from neuroformer.baselines.glm import PoissonGLM
from neuroformer.batch import Batch
from neuroformer.connectivity.estimate import ConnectivityMap, from_lag_profile
from neuroformer.connectivity.moments import LogLinearCoupling
from neuroformer.connectivity.nulls import by_central_spread
from neuroformer.data import Recording
from neuroformer.model import Neuroformer


def coupling(model: Neuroformer, session: int) -> ConnectivityMap:
    """The model's own map: change of the target's log-intensity after an event of the source, its size over lags.

    Args:
        model: the trained model.
        session: index of the session in its vocabulary.
    """
    mean, _ = model.coupling_map(session)
    return by_central_spread(
        from_lag_profile(
            "coupling",
            mean.double().cpu().numpy(),
            model.bin_s,
            description="change of the target's log-intensity after an event of the source, its size over lags",
        )
    )


def fitted_coupling(
    model: Neuroformer,
    session: int,
    recording: Recording,
    *,
    log_intensity: Callable[[Batch], Tensor] | None = None,
) -> LogLinearCoupling:
    """What the adjusted read-out needs of a trained model.

    Args:
        model: the trained model.
        session: index of the session in its vocabulary.
        recording: the session.
        log_intensity: in place of the model's own, such as that of `trunk_gate.gated_intensity`.
    """
    return LogLinearCoupling(
        log_intensity=log_intensity or (lambda batch: model(batch)[0]),
        kernels=model.coupling.kernels().detach(),
        weights=model.coupling_weights(session).double().cpu().numpy(),
        rate=_rate(recording),
        bin_s=model.bin_s,
        event_weight=model.event_weight,
    )


def fitted_glm(glm: PoissonGLM, recording: Recording) -> LogLinearCoupling:
    """What the adjusted read-out needs of a Poisson GLM with learned kernels."""
    return LogLinearCoupling(
        log_intensity=glm.log_intensity,
        kernels=glm.kernels().detach(),
        weights=(glm.pairs * (1 - torch.eye(glm.n_units))).detach().double().numpy(),
        rate=_rate(recording),
        bin_s=recording.bin_s,
    )


def _rate(recording: Recording) -> torch.Tensor:
    entry = recording.entry(1)
    return torch.as_tensor(entry.train_counts / entry.train_bins, dtype=torch.float32)
