"""Learning the unit encoder from the sessions of a pretraining."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch

from neuroformer.data import RecordingsModule
from neuroformer.model import Neuroformer
from neuroformer.training.unit_encoder.activity import unit_statistics
from neuroformer.training.unit_encoder.encoder import (
    MOST_BINS,
    TRIAL_BINS,
    UnitEncoder,
    input_tables,
    other_tables,
    session_tables,
)
from neuroformer.training.unit_encoder.outputs import known_outputs, learn_output_prior, pair_variance
from neuroformer.training.unit_encoder.ridge import Ridge, fit_ridge

_REHEARSALS = 5  # sessions that are treated as new


@torch.no_grad()
def learn_unit_encoder(model: Neuroformer, data: RecordingsModule, *, seed: int = 0) -> UnitEncoder:
    """From all sessions of a run; `model` is left as it was.

    Args:
        model: trained.
        data: its sessions, all of them and in any order.
        seed: of the rehearsals.
    """
    order = {recording.session_id: recording for recording in data.recordings}
    known = [order[entry.session_id] for entry in data.vocabulary]
    statistics = np.concatenate(
        [unit_statistics(model, r, data.vocabulary[r.session_id], most_bins=MOST_BINS) for r in known]
    )
    groups = np.repeat(np.arange(len(known)), [entry.n_units for entry in data.vocabulary])
    encoder = _learn(model, statistics, groups)
    if len(known) < 2 or not any(ridge.gain for ridge in encoder.others.values()):
        return encoder  # nothing to be trusted
    return _with_trust(encoder, model, data, statistics, groups, seed)


def _learn(
    model: Neuroformer, statistics: np.ndarray, groups: np.ndarray, without: int | None = None
) -> UnitEncoder:
    """Of all sessions, or of all but one; nothing but statistics and outputs' regressions, trusted not at all."""
    kept = np.ones(len(groups), bool) if without is None else groups != without
    sessions = np.unique(groups[kept])
    mean, variance = (x[kept] for x in known_outputs(model))
    x, g = statistics[kept], groups[kept]
    scale = np.maximum(x.std(0), 1e-3)
    output_scale = _output_scale(model, mean)
    both, both_scale = np.concatenate([x, mean], 1), np.concatenate([scale, output_scale])
    empty = np.zeros((len(groups), 0))
    inputs = np.concatenate([empty, *(t.double().numpy() for t in input_tables(model))], 1)[kept]
    first = fit_ridge(x, inputs, scale, g)
    rest = inputs - first.predict(x)
    path = model.context_path
    others: dict[str, Ridge] = {
        name: fit_ridge(both, table.double().numpy()[kept], both_scale, g)
        for name, table in other_tables(model).items()
    }
    return UnitEncoder(
        prior=learn_output_prior(mean, variance),
        pair_variance=pair_variance(model, sessions.tolist()),
        output_scale=output_scale,
        first=first,
        again=fit_ridge(both, inputs, both_scale, g),
        tuned=_from_tuning(model, kept, g),
        spread=rest.T @ rest / max(1, len(rest)),
        others=others,
        trust=dict.fromkeys(others, 0.0),
        sessions={
            name: table.double().numpy()[sessions].mean(0) for name, table in session_tables(model).items()
        },
        context_log_scale=(
            np.zeros(0) if path is None else path.tuning.log_scale.double().numpy()[kept].mean(0)
        ),
    )


def _from_tuning(model: Neuroformer, kept: np.ndarray, groups: np.ndarray) -> dict[str, Ridge]:
    tables = {name: table.double().numpy()[kept] for name, table in other_tables(model).items()}
    if "tuning" not in tables:
        return {}
    tuning = tables.pop("tuning")
    scale = np.full(tuning.shape[1], max(1e-3, float(np.sqrt(np.square(tuning - tuning.mean(0)).mean()))))
    return {name: fit_ridge(tuning, table, scale, groups) for name, table in tables.items()}


def _output_scale(model: Neuroformer, mean: np.ndarray) -> np.ndarray:
    """(D,) one size for all weights of a kind, so that weights that are shrunk to nothing are not blown up."""
    spread = mean.std(0)
    n_functions = model.history.basis.shape[0]
    cuts = [0, 1, 1 + n_functions]
    if model.trunk is not None:
        cuts.append(cuts[-1] + model.trunk.readout.mean.shape[1])
    cuts = sorted({*cuts, len(spread)})
    found = np.empty_like(spread)
    for a, b in pairwise(cuts):
        found[a:b] = max(1e-3, float(np.sqrt(np.square(spread[a:b]).mean())))
    return found


def _with_trust(
    encoder: UnitEncoder,
    model: Neuroformer,
    data: RecordingsModule,
    statistics: np.ndarray,
    groups: np.ndarray,
    seed: int,
) -> UnitEncoder:
    """How far predictions of the other tables can be trusted: sessions are treated as new, one at a time.

    The trust is the factor by which departures from the mean are to be multiplied so that they come nearest to what
    training had found, between 0 and 1.
    """
    along = dict.fromkeys(encoder.others, 0.0)
    length = dict.fromkeys(encoder.others, 0.0)
    n_sessions = int(groups.max()) + 1
    for session in np.unique(
        np.linspace(0, n_sessions - 1, min(_REHEARSALS, n_sessions)).round().astype(int)
    ):
        entry = list(data.vocabulary)[session]
        recording = next(r for r in data.recordings if r.session_id == entry.session_id)
        others = _learn(model, statistics, groups, without=int(session))
        trusting = replace(others, trust=dict.fromkeys(others.others, 1.0))
        trial = copy.deepcopy(model)
        trusting.encode(
            trial, data, recording, rng=np.random.default_rng([seed, int(session)]), most_bins=TRIAL_BINS
        )
        rows = model.rows(int(session))
        for name, table in other_tables(model).items():
            centre = others.others[name].mean
            found = other_tables(trial)[name][rows].double().numpy() - centre
            true = table[rows].double().numpy() - centre
            along[name] += float((found * true).sum())
            length[name] += float(np.square(found).sum())
    trust = {name: float(np.clip(along[name] / max(length[name], 1e-12), 0, 1)) for name in along}
    return replace(encoder, trust=trust)
