"""How a unit answers (bias, own history, reading of the trunk and of low-rank couplings), by Bayes, without labels.

Given the rest of the model, a unit's log-rate is linear in these weights, on features that do not depend on them. The
weights of the units that the model knows have a mean and a covariance, the prior of a new unit's; its posterior follows
by Newton's method (Laplace), as for tuning in `neuroformer.inversion.onboarding`. No label is used: the features are
those of a model that is shown nothing but events.

Full couplings can be fitted with them: they are weights on the traces of the other units.

Legend: T bins, N units, H coupling heads, K history functions, S shared features (state, low-rank latents and, where
wanted, the N·H traces of full couplings), D = 1 + K + S weights in the order bias, history (shared and own together),
shared features; R directions in which units differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from neuroformer.data import Recording, RecordingsModule, Span
from neuroformer.model import Neuroformer
from neuroformer.model.coupling import FullCoupling, LowRankCoupling, off_diagonal
from neuroformer.model.filters import banded
from neuroformer.model.shrinkage import ShrunkWeight
from neuroformer.model.traces import all_traces

_NEWTON_STEPS = 20
_LARGEST_STEP = 2.0  # standard deviations of the prior
_LEAST_VARIANCE = 1e-4  # of the log-rate: directions of the prior that matter less are left out
BIAS_VARIANCE = 1.0  # at least: a new unit's rate is no surprise
_AT_ONCE = 40_000_000  # numbers in an array of (units, T, R)


@dataclass(frozen=True, kw_only=True)
class OutputPrior:
    """What the output weights of known units are like.

    Attributes:
        mean: (D,).
        covariance: (D, D).
    """

    mean: np.ndarray
    covariance: np.ndarray


@dataclass(frozen=True, kw_only=True)
class OutputFeatures:
    """What the log-rates of a session's units are linear in.

    Attributes:
        counts: (T, N) events.
        own: (T, N, K) each unit's history.
        shared: (T, S) state and latents, and (heads of a source side by side) all units' coupling traces.
        offset: (T, N) what the log-rate holds beside the weights: full couplings.
    """

    counts: Tensor
    own: Tensor
    shared: Tensor
    offset: Tensor
    heads: int = 0
    """Heads whose traces are in `shared`; a unit's own traces are none of its features."""


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Posterior of the output weights.

    Attributes:
        mean: (N, D).
        variance: (N, D) of the factorised posterior nearest to it.
        evidence: Laplace's log-probability of all units' events, nats, up to a constant of the events.
    """

    mean: np.ndarray
    variance: np.ndarray
    evidence: float


@torch.no_grad()
def known_outputs(model: Neuroformer) -> tuple[np.ndarray, np.ndarray]:
    """Posterior means and variances of the output weights of all units of the model: two (U, D)."""
    session = torch.arange(len(model.train_bins)).repeat_interleave(model.offsets.diff().cpu())
    own = model.history.own
    means = [model.bias.unsqueeze(1), own.mean + model.history.shared[session]]
    variances = [torch.zeros_like(means[0]), own.variance]
    for weight in _read_outs(model):
        means.append(weight.mean)
        variances.append(weight.variance)
    return torch.cat(means, 1).double().numpy(), torch.cat(variances, 1).double().numpy()


def learn_output_prior(mean: np.ndarray, variance: np.ndarray) -> OutputPrior:
    """The prior from posterior (U, D) means and variances of known units.

    Correlations are shrunk by D / (D + U), as few units do not tell them.
    """
    n_units, n_weights = mean.shape
    centred = mean - mean.mean(0)
    covariance = centred.T @ centred / max(1, n_units - 1) + np.diag(variance.mean(0))
    diagonal = np.diagonal(covariance).copy()
    covariance *= n_units / (n_units + n_weights)
    diagonal[0] = max(diagonal[0], BIAS_VARIANCE)
    np.fill_diagonal(covariance, np.maximum(diagonal, 1e-9))
    return OutputPrior(mean=mean.mean(0), covariance=covariance)


@torch.no_grad()
def pair_variance(model: Neuroformer, sessions: Sequence[int]) -> np.ndarray:
    """(H,) mean square of full couplings over all pairs of some sessions; empty without full couplings."""
    if not isinstance(model.coupling, FullCoupling):
        return np.zeros(0)
    total, n_pairs = torch.zeros(model.coupling.heads, dtype=torch.float64), 0
    for session in sessions:
        weight = model.coupling.sessions[session]
        assert isinstance(weight, ShrunkWeight)
        off = off_diagonal(weight.mean.shape[-1], weight.mean)
        total += ((weight.mean.square() + weight.variance) * off).sum((1, 2)).double()
        n_pairs += int(off.sum())
    return (total / max(1, n_pairs)).clamp(min=1e-6).numpy()


def with_pairs(prior: OutputPrior, variance: np.ndarray, n_units: int) -> OutputPrior:
    """The prior with that of full couplings (normal about 0, of (H,) variances) from `n_units` sources."""
    more = np.tile(variance, n_units)
    size = len(prior.mean)
    covariance = np.zeros((size + len(more),) * 2)
    covariance[:size, :size] = prior.covariance
    covariance[range(size, len(covariance)), range(size, len(covariance))] = more
    return OutputPrior(mean=np.concatenate([prior.mean, np.zeros(len(more))]), covariance=covariance)


@torch.no_grad()
def output_features(
    model: Neuroformer,
    data: RecordingsModule,
    recording: Recording,
    spans: Sequence[Span],
    *,
    pairs: bool = False,
) -> OutputFeatures:
    """The features of some training bins, from the events before them alone.

    Args:
        model: in evaluation mode, with the session's input embeddings in place.
        data: reads the bins with the whole context before them.
        recording: the session.
        spans: which bins.
        pairs: whether traces of full couplings are features; otherwise the couplings as they are go into the offset.
    """
    counts, own, shared, offset = [], [], [], []
    for batch in data.batches_of(recording, spans):
        blind = replace(batch, variables={}, frames={})
        weight = model.event_weight(blind)
        first = blind.first_scored
        counts.append(blind.counts(scored_only=True)[0])
        own.append(all_traces(blind, model.history.basis, weight)[0].permute(2, 0, 1))
        parts = [counts[-1].new_zeros(len(counts[-1]), 0)]
        if model.trunk is not None:
            parts.append(model.trunk.state(blind, weight)[0])
        if isinstance(model.coupling, LowRankCoupling):
            carried = model.coupling.source[blind.unit_row.gather(1, blind.event_unit)] * weight.unsqueeze(-1)
            per_bin = blind.sum_per_bin(carried)[0].unflatten(-1, (model.coupling.heads, -1))  # (T, H, R)
            over_time = banded(model.coupling.kernels(), blind.n_bins, first)
            parts.append(torch.einsum("hts,shr->thr", over_time, per_bin).flatten(1))
            offset.append(torch.zeros_like(counts[-1]))
        else:
            if pairs:
                traces = all_traces(blind, model.coupling.kernels(), weight)[0]  # (N, H, T)
                parts.append(traces.permute(2, 0, 1).flatten(1))
                offset.append(torch.zeros_like(counts[-1]))
            else:
                mean, variance = model.coupling(weight, blind)
                offset.append((mean + 0.5 * variance)[0])
        shared.append(torch.cat(parts, 1))
    return OutputFeatures(
        counts=torch.cat(counts),
        own=torch.cat(own),
        shared=torch.cat(shared),
        offset=torch.cat(offset),
        heads=model.coupling.heads if pairs and isinstance(model.coupling, FullCoupling) else 0,
    )


@torch.no_grad()
def fit_outputs(features: OutputFeatures, prior: OutputPrior, *, rounds: int = 0) -> Outputs:
    """Laplace posterior of each unit's output weights.

    Args:
        features: of the session.
        prior: of the weights.
        rounds: in which the weights are fitted again with the rates that the model will have, exp(mean + variance / 2),
            instead of exp(mean).
    """
    counts, own, shared = features.counts, features.own, features.shared
    directions = _directions(features, prior)  # (D, R)
    n_functions = own.shape[2]
    by_part = torch.as_tensor(directions, dtype=counts.dtype).split([1, n_functions, shared.shape[1]])
    start_by_part = torch.as_tensor(prior.mean, dtype=counts.dtype).split([1, n_functions, shared.shape[1]])
    of_shared = by_part[0] + shared @ by_part[2]  # (T, R)
    base = (
        features.offset + start_by_part[0] + own @ start_by_part[1] + (shared @ start_by_part[2]).unsqueeze(1)
    )
    inverse = np.diagonal(np.linalg.inv(prior.covariance))
    n_bins, n_units = counts.shape
    size = max(1, _AT_ONCE // (n_bins * directions.shape[1]))
    means, variances, evidence = [], [], 0.0
    for first in range(0, n_units, size):
        unit = slice(first, first + size)
        design = of_shared.unsqueeze(1) + own[:, unit] @ by_part[1]
        if features.heads:
            to_self = by_part[2][-n_units * features.heads :].view(n_units, features.heads, -1)[unit]
            design = design - torch.einsum("tnh,nhr->tnr", _pairs(features)[:, unit], to_self)
        design = design.movedim(1, 0).contiguous()  # (n, T, R)
        events, here = counts[:, unit].mT, base[:, unit].mT
        log_rate = (events.sum(1) + 0.5).log() - here.exp().sum(1).clamp(min=1e-6).log()
        # The most probable weights whose bias makes up for the rate.
        z = log_rate.unsqueeze(1) * by_part[0] / by_part[0].square().sum().clamp(min=1e-9)
        z, score = _newton(design, events, here, z)
        evidence += float(score.sum())
        variance = _variance(_rate(design, here, z), own[:, unit], shared, inverse)
        for _ in range(rounds):
            if features.heads:  # no unit is coupled to itself
                to_self = variance[:, -n_units * features.heads :].view(-1, n_units, features.heads)
                to_self[range(len(variance)), range(first, first + len(variance))] = 0
            of_own = torch.einsum("tnk,nk->nt", own[:, unit].square(), variance[:, 1 : 1 + n_functions])
            half = 0.5 * (of_own + variance[:, 1 + n_functions :] @ shared.square().mT)
            z, _ = _newton(design, events, here + half, z)
            variance = _variance(_rate(design, here + half, z), own[:, unit], shared, inverse)
        means.append(prior.mean + z.double().numpy() @ directions.T)
        variances.append(variance.double().numpy())
    return Outputs(mean=np.concatenate(means), variance=np.concatenate(variances), evidence=evidence)


@torch.no_grad()
def set_outputs(model: Neuroformer, session: int, outputs: Outputs) -> None:
    """Make the posterior the model's; what units share of their history is the session's already."""
    rows, dtype = model.rows(session), model.bias.dtype
    mean = torch.as_tensor(outputs.mean, dtype=dtype)
    log_scale = torch.as_tensor(0.5 * np.log(np.maximum(outputs.variance, 1e-12)), dtype=dtype)
    model.bias[rows] = mean[:, 0]
    stop = 1 + model.history.shared.shape[1]
    model.history.own.mean[rows] = mean[:, 1:stop] - model.history.shared[session]
    model.history.own.log_scale[rows] = log_scale[:, 1:stop]
    for weight in _read_outs(model):
        start, stop = stop, stop + weight.mean.shape[1]
        weight.mean[rows] = mean[:, start:stop]
        weight.log_scale[rows] = log_scale[:, start:stop]
    if isinstance(model.coupling, FullCoupling) and stop < mean.shape[1]:
        pairs = model.coupling.sessions[session]
        assert isinstance(pairs, ShrunkWeight)
        n_units = len(rows)
        off = off_diagonal(n_units, mean) > 0
        for table, value in ((pairs.mean, mean), (pairs.log_scale, log_scale)):
            found = value[:, stop:].view(n_units, n_units, -1).permute(2, 1, 0)  # from [target, source, head]
            table[:, off] = found[:, off]


def _read_outs(model: Neuroformer) -> list[ShrunkWeight]:
    """Weights on shared features, in the order of `OutputFeatures.shared`."""
    found = [] if model.trunk is None else [model.trunk.readout]
    return [*found, model.coupling.target] if isinstance(model.coupling, LowRankCoupling) else found


def _pairs(features: OutputFeatures) -> Tensor:
    """(T, N, H) coupling traces."""
    n_bins, n_units = features.counts.shape
    return features.shared[:, -n_units * features.heads :].view(n_bins, n_units, features.heads)


def _directions(features: OutputFeatures, prior: OutputPrior) -> np.ndarray:
    """(D, R) standard deviations of the prior along the directions in which log-rates differ at all."""
    own = features.own.square().mean((0, 1)).sqrt()
    shared = features.shared.square().mean(0).sqrt()
    size = torch.cat([torch.ones(1), own, shared]).double().numpy()
    values, vectors = np.linalg.eigh(size[:, None] * prior.covariance * size)
    kept = values > _LEAST_VARIANCE
    found: np.ndarray = (prior.covariance * size) @ vectors[:, kept] / np.sqrt(values[kept])
    return found


def _rate(design: Tensor, base: Tensor, z: Tensor) -> Tensor:
    return (base + (design @ z.unsqueeze(-1)).squeeze(-1)).clamp(-30, 10).exp()


def _newton(design: Tensor, events: Tensor, base: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """The most probable z (n, R) under a standard normal prior, and Laplace's log-evidence (n,) of each unit.

    Args:
        design: (n, T, R).
        events: (n, T).
        base: (n, T) log-rates at z = 0.
        z: (n, R) where to begin.
    """
    eye = torch.eye(design.shape[2], dtype=torch.float64)
    for _ in range(_NEWTON_STEPS):
        rate = _rate(design, base, z)
        gradient = ((events - rate).unsqueeze(1) @ design).squeeze(1) - z
        hessian = ((design * rate.unsqueeze(-1)).mT @ design).double() + eye
        step = torch.linalg.solve(hessian, gradient.double()).to(z.dtype)
        largest = step.abs().amax(1, keepdim=True)
        z = z + step * (_LARGEST_STEP / largest.clamp(min=1e-12)).clamp(max=1)
        if float(largest.max()) < 1e-3:
            break
    eta = (base + (design @ z.unsqueeze(-1)).squeeze(-1)).clamp(-30, 10).double()
    fit = (events * eta - eta.exp()).sum(1) - 0.5 * z.double().square().sum(1)
    return z, fit - 0.5 * torch.linalg.slogdet(hessian).logabsdet


def _variance(rate: Tensor, own: Tensor, shared: Tensor, inverse: np.ndarray) -> Tensor:
    """(n, D) variances of the factorised posterior nearest to Laplace's: 1 / diagonal of its precision."""
    of_own = torch.einsum("nt,tnk->nk", rate, own.square())
    precision = torch.cat([rate.sum(1, keepdim=True), of_own, rate @ shared.square()], 1)
    return 1 / (precision + torch.as_tensor(inverse.copy(), dtype=rate.dtype))
