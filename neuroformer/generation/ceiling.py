"""The highest intensity that real activity supports.

A log-linear intensity has no upper end. On real activity that hardly matters, as high intensities are rare there; but
what a model generates is what it goes on from, and one bin of a unit at many times its highest rate excites others,
until the activity runs away. Neurons have a highest rate, and the recording tells how high: the ceiling c is the one
under which min(λ, c) gives held-out events the largest likelihood, and at most the largest λ seen there, beyond which
the model only extrapolates.
"""

from __future__ import annotations

import numpy as np
import torch

from neuroformer.data import Part, Recording, RecordingsModule
from neuroformer.model import Neuroformer


def fit_ceiling(
    model: Neuroformer, data: RecordingsModule, recording: Recording, *, part: Part = "val"
) -> tuple[float, float]:
    """Ceiling of a session, expected events of a unit in a bin, and the nats that the part's events gain by it.

    Args:
        model: in evaluation mode.
        data: reads the batches.
        recording: the session.
        part: of which events are scored; not one that results are reported on.
    """
    intensities, counts = [], []
    with torch.inference_mode():
        for _, batch in data.in_order(part, [recording]):
            log_intensity = model(batch.to(model.bias.device))[0].double().cpu()
            inside = batch.scored[:, batch.first_scored :, None] & batch.unit_mask[:, None, :]
            intensities.append(log_intensity[inside].exp().numpy())
            counts.append(batch.counts(scored_only=True)[inside].double().numpy())
    return best_ceiling(np.concatenate(intensities), np.concatenate(counts))


def best_ceiling(intensity: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """The c that maximises Σ k log min(λ, c) − min(λ, c), and what it gains, in nats.

    Args:
        intensity: (M,) λ.
        counts: (M,) k.

    >>> best_ceiling(np.array([0.1, 0.2, 3.0, 5.0]), np.array([0.0, 0.0, 1.0, 2.0]))[0]
    1.5
    """
    order = np.argsort(-intensity, kind="stable")
    high, k = intensity[order], counts[order]
    n, events = np.arange(1, len(k) + 1), k.cumsum()
    # With the n highest cells lowered, c lies between the n-th and the next; there the likelihood has one top.
    c = np.clip(events / n, np.append(high[1:], 0.0), high)
    gain = np.where(events > 0, events * np.log(np.maximum(c, 1e-300)), 0.0) - n * c
    gain -= (k * np.log(high) - high).cumsum()
    best = int(gain.argmax())
    return (float(c[best]), float(gain[best])) if gain[best] > 0 else (float(high[0]), 0.0)
