"""What a unit's own unlabelled activity says of it: rate, autocorrelation, relation to the population, event levels.

All of it is counted in training bins. Coincidences are given as log((found + 1) / (expected + 1)), where expected is
what independent Poisson processes of the same rates would have: 0 is nothing, and a unit with few events is near it.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from neuroformer.data import Recording, SessionEntry, Span
from neuroformer.model import Neuroformer
from neuroformer.model.filters import causal_filter

_PIECE = 1000  # bins that are read at once
_FEW = 1e-12


def training_pieces(recording: Recording, most_bins: int) -> list[Span]:
    """Pieces of the training part, evenly thinned to at most about `most_bins` bins.

    Args:
        recording: the session.
        most_bins: bins wanted, at least one piece is returned.
    """
    pieces = recording.tiles("train", min(_PIECE, max(1, most_bins // 4)))
    size = max(len(piece) for piece in pieces)
    wanted = max(1, most_bins // size)
    if len(pieces) <= wanted:
        return pieces
    return [pieces[i] for i in np.linspace(0, len(pieces) - 1, wanted).round().astype(int)]


def unit_statistics(
    model: Neuroformer, recording: Recording, entry: SessionEntry, *, most_bins: int
) -> np.ndarray:
    """(N, P) statistics of every unit.

    Columns: log events per bin; coincidences with the unit's own past through the model's history basis and through
    slow exponential filters (the trunk's; without one, of two and eight coupling windows; and one of a bin);
    coincidences with the other units' events before (the unit follows) and after (the unit leads) through these
    filters, and in the same bin; and, where events have amplitudes, the share of each level beside that of the session.

    Args:
        model: whose filters are used; its weights do not matter.
        recording: the session; only its training part is read.
        entry: what the vocabulary knows of it.
        most_bins: bins at most, spread evenly.
    """
    kernels, n_own = _kernels(model)
    slow = slice(n_own, None)
    n_units, n_levels = recording.session.n_units, model.n_levels
    own = np.zeros((n_units, len(kernels)))
    follows, leads = np.zeros((n_units, len(kernels) - n_own)), np.zeros((n_units, len(kernels) - n_own))
    same = np.zeros(n_units)
    events = np.zeros(n_units)
    reach = np.zeros(len(kernels))  # sum over bins of the kernels' mass that lies within the piece
    levels = np.zeros((n_units, n_levels))
    n_bins = 0
    for span in training_pieces(recording, most_bins):
        tokens = recording.tokens(span, entry.level_edges)
        np.add.at(levels, (tokens.units, tokens.levels), 1)
        counts = recording.counts(span).astype(np.float32)
        others = counts.sum(1, keepdims=True) - counts
        own_past = _filtered(counts, kernels)  # (T, N, K)
        past_of_others = own_past[..., slow].sum(1, keepdims=True) - own_past[..., slow]
        own += np.einsum("tn,tnk->nk", counts, own_past)
        follows += np.einsum("tn,tnk->nk", counts, past_of_others)
        leads += np.einsum("tn,tnk->nk", others, own_past[..., slow])
        same += (counts * others).sum(0)
        events += counts.sum(0)
        n_bins += len(counts)
        reach += _filtered(np.ones((len(counts), 1), np.float32), kernels).sum((0, 1))
    rate = events / n_bins
    other_rate = rate.sum() - rate
    together = np.outer(rate * other_rate, reach[slow])
    columns = [
        np.log(entry.train_rate)[:, None],
        _log_ratio(own, np.outer(rate**2, reach)),
        _log_ratio(follows, together),
        _log_ratio(leads, together),
        _log_ratio(same, n_bins * rate * other_rate)[:, None],
    ]
    if n_levels > 1:
        share = (levels.sum(0) + _FEW) / (levels.sum() + n_levels * _FEW)
        columns.append(_log_ratio(levels, levels.sum(1, keepdims=True) * share))
    return np.concatenate(columns, 1)


def _log_ratio(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    ratio: np.ndarray = np.log((found + 1) / (expected + 1))
    return ratio


def _kernels(model: Neuroformer) -> tuple[torch.Tensor, int]:
    """(K, L) kernels by lag, those of the history first, and how many these are."""
    basis = model.history.basis.detach().cpu().float()
    n_pairs = model.coupling.kernels.logits.shape[1]
    slow = [1.0, *([2 * n_pairs, 8 * n_pairs] if model.trunk is None else model.trunk.time_constants)]
    n_lags = max(basis.shape[1], math.ceil(4 * max(slow)))
    lag = torch.arange(1, n_lags + 1, dtype=torch.float32)
    long = torch.zeros(len(basis), n_lags)
    long[:, : basis.shape[1]] = basis
    decays = torch.stack([torch.exp(-lag / tau) for tau in dict.fromkeys(slow)])
    return torch.cat([long, decays]), len(basis)


def _filtered(counts: np.ndarray, kernels: torch.Tensor) -> np.ndarray:
    """(T, N) → (T, N, K): Σ_lag kernels[k, lag − 1] · counts[t − lag]."""
    found: np.ndarray = causal_filter(torch.from_numpy(counts)[None], kernels)[0].numpy()
    return found
