"""The Poisson GLM of one session with a kernel of its own for every pair of units.

    log λ_j(t) = b_j + Σ_h c_jh (φ_h * s_j)(t) + Σ_k Σ_{i≠j} G_k[i, j] (κ_k * s_i)(t)

φ and κ are raised cosines of the logarithm of the lag (Pillow et al. 2008, Nature 454:995). The κ are made orthonormal
over the lags, so that the length of a pair's coefficients is the size of its kernel, whatever the basis. The group
lasso (Yuan & Lin 2006, J. R. Stat. Soc. B 68:49) weighs each pair by the noise of its score, √(events of the target ·
variance of the source's features), so that all couplings are equally hard to invent (Hansen, Reynaud-Bouret &
Rivoirard 2015, Bernoulli 21:83); the ridge is the same for all. Then the leading shapes of the kernels found take the
place of the basis, with fewer coefficients a pair. Validation chooses among all strengths and both bases. For a given
basis the problem is convex: the fit is the optimum, not where a descent happened to stop.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neuroformer.baselines.event_features import EventFeatures
from neuroformer.baselines.glm import PoissonGLM
from neuroformer.baselines.penalized_poisson import Parameters, Penalty, log_likelihood, slopes, solve
from neuroformer.data import Recording
from neuroformer.metrics import bits_per_spike
from neuroformer.model.filters import log_basis
from neuroformer.settings.many_basis_glm import ManyBasisGLMConfig

_PATH_SLACK = 50  # the path needs no more than this many times the final tolerance
_ENOUGH_WORSE = 0.003  # bits per spike below the best at which a path only over-fits


class ManyBasisGLM(PoissonGLM):
    """A fitted GLM; as `PoissonGLM`, with `orthonormal_basis` for lag kernels.

    Args:
        n_units: number of units N.
        n_lags: longest lag of the couplings, in bins.
        n_history: longest lag of own history, in bins.
        settings: the fit's settings as builtins.
    """

    def __init__(self, *, n_units: int, n_lags: int, n_history: int, settings: dict[str, Any]) -> None:
        """See the class."""
        kernels = orthonormal_basis(n_lags, settings["functions"])
        heads = {"heads": len(kernels)}
        super().__init__(n_units=n_units, n_lags=n_lags, n_history=n_history, settings=settings | heads)
        self.settings = settings
        self.kernels = _FixedKernels(kernels)


class _FixedKernels(nn.Module):
    """Kernels that are not learned."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.register_buffer("values", values)
        self.values: Tensor

    def forward(self) -> Tensor:
        """(K, L)."""
        return self.values


def orthonormal_basis(n_lags: int, n_functions: int) -> Tensor:
    """(K, n_lags): orthonormal functions of the lag with the span of `log_basis`."""
    q, _ = torch.linalg.qr(log_basis(n_lags, n_functions).double().T)
    return q.T.to(torch.get_default_dtype()).contiguous()


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """The best point of a path, its penalty and relative strength, and the validation scores of all strengths."""

    p: Parameters
    penalty: Penalty
    relative: float
    scores: dict[str, float]

    @property
    def score(self) -> float:
        return max(self.scores.values())


def fit_many_basis_glm(recording: Recording, *, config: ManyBasisGLMConfig) -> ManyBasisGLM:
    """Fit to the training part and choose the penalty on the validation part; the test part is not touched.

    Args:
        recording: the session.
        config: settings.

    Returns:
        The GLM that validates best, without gradients. Its `chosen` holds `basis` (`fixed`, or `learned` for the
        leading shapes), `strength`, and `validation_bits_per_spike` of all strengths tried, by basis.
    """
    rate = torch.as_tensor(recording.entry(1).train_rate, dtype=torch.float64)
    glm = ManyBasisGLM(
        n_units=len(rate),
        n_lags=max(1, round(config.window_s / recording.bin_s)),
        n_history=max(1, round(config.history_window_s / recording.bin_s)),
        settings=dataclasses.asdict(config),
    )
    fit = _fit(recording, glm, glm.kernels(), rate, config.strengths, config)
    pairs, chosen, scores = fit.p.pairs, "fixed", {"fixed": fit.scores}
    if 0 < config.shapes < len(glm.kernels()) and bool(pairs.any()):
        shapes = torch.linalg.svd(pairs.flatten(1), full_matrices=False)[0].T[: config.shapes]  # (R, K)
        nearby = [s for s in config.strengths if s <= 3 * fit.relative]
        rival = _fit(recording, glm, shapes.to(glm.bias.dtype) @ glm.kernels(), rate, nearby, config)
        scores["learned"] = rival.scores
        if rival.score > fit.score:
            fit, chosen = rival, "learned"
            pairs = torch.einsum("rk,rst->kst", shapes, rival.p.pairs)
    glm.chosen = {"basis": chosen, "strength": fit.relative, "validation_bits_per_spike": scores}
    for parameter, value in ((glm.bias, fit.p.bias), (glm.history, fit.p.history), (glm.pairs, pairs)):
        parameter.data = value.to(parameter.dtype)
    return glm.requires_grad_(False)


def _fit(
    recording: Recording,
    glm: ManyBasisGLM,
    kernels: Tensor,
    rate: Tensor,
    strengths: Sequence[float],
    config: ManyBasisGLMConfig,
) -> _Fit:
    """Follow the path with these kernels until validation worsens, and solve at its best strength."""
    train, val = (
        EventFeatures(recording, part, kernels=kernels, basis=glm.basis) for part in ("train", "val")
    )
    null = float((val.events * rate.log()).sum() - val.n_bins * rate.sum())
    p, penalty = _without_couplings(train, rate, config)
    best, chosen, scores = p, strengths[0], {}
    for relative in strengths:
        at = dataclasses.replace(penalty, strength=relative * penalty.strength)
        p = solve(train, p, at, tolerance=_PATH_SLACK * config.tolerance)
        found = bits_per_spike(log_likelihood(val, p), null, float(val.events.sum()))
        scores[f"{relative:g}"] = found
        if found >= max(scores.values()):
            best, chosen = p, relative
        elif found < max(scores.values()) - _ENOUGH_WORSE:
            break
    at = dataclasses.replace(penalty, strength=chosen * penalty.strength)
    best = solve(train, best, at, tolerance=config.tolerance)
    return _Fit(p=best, penalty=at, relative=chosen, scores=scores)


def _without_couplings(
    train: EventFeatures, rate: Tensor, config: ManyBasisGLMConfig
) -> tuple[Parameters, Penalty]:
    """Own history alone, and the penalty of relative strength 1."""
    n_units, n_kernels = train.n_units, len(train.kernels)
    start = Parameters(
        bias=rate.log(),
        history=torch.zeros(n_units, len(train.basis), dtype=torch.float64),
        pairs=torch.zeros(n_kernels, n_units, n_units, dtype=torch.float64),
    )
    penalty = Penalty(kind=config.penalty, strength=start.pairs[0], history_ridge=config.history_ridge)
    p = solve(train, start, penalty, tolerance=config.tolerance, coupled=False)
    if config.penalty == "ridge":
        # Ten times the events' information on a typical coefficient.
        strength = (10 * train.events.mean() * train.variance.mean()).expand(n_units, n_units)
    else:
        noise = (train.variance.mean(0)[:, None] * train.events.clamp(min=0.5)).sqrt().clamp(min=1e-3)
        _, slope = slopes(train, p)
        ratio = (slope.square().sum(0).sqrt() / noise).fill_diagonal_(0)
        strength = noise * ratio[:, train.events > 0].max()
    return p, dataclasses.replace(penalty, strength=strength)
