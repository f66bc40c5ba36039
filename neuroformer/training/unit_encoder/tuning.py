"""Tuning of encoded units, by Bayes from labelled bins, beside what their history and the trunk explain already."""

from __future__ import annotations

import numpy as np
import torch

from neuroformer.data import Recording, RecordingsModule
from neuroformer.data.grid import Grid
from neuroformer.inversion.onboarding import TuningPrior
from neuroformer.model import Neuroformer
from neuroformer.training.unit_encoder.activity import training_pieces
from neuroformer.training.unit_encoder.outputs import (
    BIAS_VARIANCE,
    OutputFeatures,
    OutputPrior,
    fit_outputs,
)

_MOST_BINS = 20_000


@torch.no_grad()
def tune_encoded(
    model: Neuroformer, data: RecordingsModule, recording: Recording, grid: Grid, prior: TuningPrior
) -> None:
    """Set bias and tuning of a session's units; the rest of what the model keeps of them stays.

    Mode `bayes` alone takes all of a unit's rate for tuning, as nothing else is known of the unit. Here the log-rate
    that history, couplings and the slow state give is the offset of the regression.

    Args:
        model: with the session's units encoded; its context is the grid's variables alone.
        data: reads the recording.
        recording: the session; only labelled bins of its training part count.
        grid: of the decoded variables.
        prior: of the tuning of known units.
    """
    path = model.context_path
    assert path is not None
    model.eval()
    rows = model.rows(data.vocabulary.index(recording.session_id))
    counts, shared, offset = [], [], []
    for batch in data.batches_of(recording, training_pieces(recording, _MOST_BINS)):
        first = batch.first_scored
        known = torch.stack([batch.variables[name].known[0, first:] for name in grid.names]).all(0)
        if not bool(known.any()):
            continue
        mean, variance, _ = model.without_context(batch)
        rest = mean + 0.5 * variance - model.bias[batch.unit_row].unsqueeze(1)
        counts.append(batch.counts(scored_only=True)[0][known])
        shared.append(path.features(batch)[0][known])
        offset.append(rest[0][known])
    if not counts:
        return
    features = OutputFeatures(
        counts=torch.cat(counts),
        own=counts[0].new_zeros(sum(map(len, counts)), len(rows), 0),
        shared=torch.cat(shared),
        offset=torch.cat(offset),
    )
    covariance = prior.covariance.copy()
    covariance[0, 0] += BIAS_VARIANCE  # the rest of the log-rate is the offset's: the bias is another one
    found = fit_outputs(features, OutputPrior(mean=prior.mean, covariance=covariance), rounds=2)
    dtype = model.bias.dtype
    model.bias[rows] = torch.as_tensor(found.mean[:, 0], dtype=dtype)
    path.tuning.mean[rows] = torch.as_tensor(found.mean[:, 1:], dtype=dtype) - path.common
    path.tuning.log_scale[rows] = torch.as_tensor(0.5 * np.log(found.variance[:, 1:]), dtype=dtype)
