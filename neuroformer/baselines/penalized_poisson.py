"""Penalised Poisson regressions of all targets at once: a convex problem, solved to a known accuracy.

With its bias at the optimum, target j has the objective, in nats and up to a constant,

    n_j log Σ_t exp(x · f(t)) − x · Σ_t s_j(t) f(t) + penalty(x),      n_j its events, f(t) its features,

whose Hessian is n_j times the covariance of f under p(t) ∝ λ_j(t). All targets take proximal Newton steps together
(Lee, Sun & Saunders 2014, SIAM J. Optim. 24:1420): own history with its own Hessian, couplings with each target's
diagonal and one correlation matrix for all, so that the inner problem is a few small matrix products, solved by FISTA
with restart (Beck & Teboulle 2009; O'Donoghue & Candès 2015). A line search for each target makes every step a descent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from neuroformer.baselines.event_features import EventFeatures

_INNER_STEPS = 200
_INNER_TOLERANCE = 1e-3
_LARGEST_STEP = 2.0  # of a coefficient of own history; exp is far from its parabola beyond
_HALVINGS = 8
_STALE_AFTER = 5  # steps after which the diagonal is computed anew


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Coefficients of all targets, float64: bias (N,), history (N, H), pairs (K, N, N) [function, source, target]."""

    bias: Tensor
    history: Tensor
    pairs: Tensor


@dataclass(frozen=True, kw_only=True)
class Penalty:
    """Strength · ‖x_ij‖ (`group_lasso`) or strength / 2 · ‖x_ij‖² (`ridge`) for each pair's K coefficients.

    Attributes:
        kind: which of the two.
        strength: (N, N) nats, [source, target].
        history_ridge: history_ridge / 2 · ‖h_j‖² for own history, in nats.
    """

    kind: Literal["group_lasso", "ridge"]
    strength: Tensor
    history_ridge: float

    def per_target(self, pairs: Tensor, targets: Tensor) -> Tensor:
        """(M,) nats of the couplings (K, N, M) of some targets."""
        norm = pairs.square().sum(0)
        norm = norm.sqrt() if self.kind == "group_lasso" else 0.5 * norm
        return (self.strength[:, targets] * norm).sum(0)

    def shrink(self, pairs: Tensor, strength: Tensor) -> Tensor:
        """Proximal operator for pairs (K, N, M) and strengths (N, M) in the units of the quadratic term."""
        if self.kind == "ridge":
            return pairs / (1 + strength)
        return pairs * (1 - strength / pairs.square().sum(0).sqrt().clamp(min=1e-30)).clamp(min=0)


def slopes(features: EventFeatures, p: Parameters) -> tuple[Tensor, Tensor]:
    """Gradient of the negative log-likelihood, the bias at its optimum: history (N, H) and pairs (K, N, N), in nats."""
    targets = torch.arange(features.n_units)
    intensity = _normalized(features.linear(p.history, p.pairs, targets), features.events)[1].exp()
    own, pairs = features.moments(intensity, targets)
    return own - features.events_history, pairs - features.events_pairs


def log_likelihood(features: EventFeatures, p: Parameters) -> float:
    """Nats of the part's events, without Σ log k!."""
    linear = features.linear(p.history, p.pairs, torch.arange(features.n_units))
    expected = (linear.add_(p.bias[:, None].to(linear.dtype))).exp_().sum(dtype=torch.float64)
    gained = (features.events * p.bias).sum() + (features.events_history * p.history).sum()
    return float(gained + (features.events_pairs * p.pairs).sum() - expected)


def optimality(features: EventFeatures, p: Parameters, penalty: Penalty) -> Tensor:
    """(N,) norm of the smallest subgradient of each target's objective, in nats; 0 for targets without events."""
    history, pairs = slopes(features, p)
    history = history + penalty.history_ridge * p.history
    if penalty.kind == "ridge":
        left = (pairs + penalty.strength * p.pairs).square().sum(0)
    else:
        norm = p.pairs.square().sum(0).sqrt()
        active = (pairs + penalty.strength * p.pairs / norm.clamp(min=1e-30)).square().sum(0)
        silent = (pairs.square().sum(0).sqrt() - penalty.strength).clamp(min=0).square()
        left = torch.where(norm > 0, active, silent)
    left = left.fill_diagonal_(0)
    return (left.sum(0) + history.square().sum(1)).sqrt() * (features.events > 0)


def solve(
    features: EventFeatures,
    start: Parameters,
    penalty: Penalty,
    *,
    tolerance: float,
    coupled: bool = True,
    max_steps: int = 50,
) -> Parameters:
    """Minimise the penalised negative log-likelihood of every target with events; the others keep their start.

    Args:
        features: the training part.
        start: where to begin.
        penalty: what is added to the likelihood.
        tolerance: a target is done when its step promises less than this many nats per event.
        coupled: whether the couplings are fitted, or stay where they are.
        max_steps: stop after this many steps in any case.

    Returns:
        The parameters.
    """
    bias, history, pairs = start.bias.clone(), start.history.clone(), start.pairs.clone()
    left = features.events.nonzero().squeeze(1)
    shift, log_intensity = _normalized(
        features.linear(history[left], pairs[:, :, left], left), features.events[left]
    )
    bias[left] = shift
    rounding = 0.1 * torch.finfo(log_intensity.dtype).eps
    damping = torch.ones(features.n_units, dtype=torch.float64)
    for step in range(max_steps):
        n = features.events[left]
        intensity = log_intensity.exp()
        own, paired = features.moments(intensity, left)
        if step % (_STALE_AFTER if coupled else 1) == 0:
            metric = _Metric(features, intensity, left, own, paired, penalty, coupled)
        h, x = history[left], pairs[:, :, left]
        slope_h = own - features.events_history[left] + penalty.history_ridge * h
        slope_x = paired - features.events_pairs[:, :, left]
        change_h = metric.history_step(slope_h, left, damping[left])
        change_x = metric.pair_step(slope_x, x, left, damping[left]) if coupled else torch.zeros_like(x)
        old = penalty.per_target(x, left)
        promised = old - penalty.per_target(x + change_x, left)
        promised -= (slope_h * change_h).sum(1) + (slope_x * change_x).sum((0, 1))
        busy = promised > tolerance * n
        if not busy.any():
            break
        if not busy.all():
            left, n, h, x, old = left[busy], n[busy], h[busy], x[:, :, busy], old[busy]
            change_h, change_x, promised = change_h[busy], change_x[:, :, busy], promised[busy]
            log_intensity = log_intensity[busy]
        log_gain = features.linear(change_h, change_x, left)
        slope = (features.events_pairs[:, :, left] * change_x).sum((0, 1))
        slope += ((features.events_history[left] - penalty.history_ridge * h) * change_h).sum(1)
        bend = 0.5 * penalty.history_ridge * change_h.square().sum(1)
        length = torch.ones_like(n)
        for _ in range(_HALVINGS):
            moved = torch.addcmul(log_intensity, log_gain, length.to(log_gain.dtype)[:, None])
            risen = n * (moved.exp_().sum(1, dtype=torch.float64) / n).log() - length * slope
            risen += length.square() * bend + penalty.per_target(x + length * change_x, left) - old
            worse = ~(risen <= rounding * n - 0.1 * length * promised)
            if not worse.any():
                break
            length = torch.where(worse, 0.5 * length, length)
        length = torch.where(worse, 0.0, length)
        damping[left] = torch.where(length < 1, 2 * damping[left], (0.7 * damping[left]).clamp(min=1))
        moved = torch.addcmul(log_intensity, log_gain, length.to(log_gain.dtype)[:, None])
        shift, log_intensity = _normalized(moved, n)
        bias[left] += shift
        history[left] = h + length[:, None] * change_h
        pairs[:, :, left] = x + length * change_x
    return Parameters(bias=bias, history=history, pairs=pairs)


def _normalized(linear: Tensor, events: Tensor) -> tuple[Tensor, Tensor]:
    """The bias (M,) at which each target's intensities sum to its events, and the log-intensities (M, T)."""
    bias = events.clamp(min=0.5).log() - linear.logsumexp(1).double()
    return bias, linear + bias.to(linear.dtype)[:, None]


class _Metric:
    """Curvature at a point: own history exactly; couplings by a target's own diagonal and one correlation for all."""

    def __init__(
        self,
        features: EventFeatures,
        intensity: Tensor,
        targets: Tensor,
        own: Tensor,
        paired: Tensor,
        penalty: Penalty,
        coupled: bool,
    ) -> None:
        n = features.events[targets]
        self.penalty, self.row = penalty, torch.zeros(features.n_units, dtype=torch.long)
        self.row[targets] = torch.arange(len(targets))
        covariance = features.own_second_moments(intensity, targets)
        covariance -= own[:, :, None] * (own / n[:, None])[:, None, :]
        ridge = (penalty.history_ridge + 1e-6) * torch.eye(own.shape[1], dtype=torch.float64)
        self.history = torch.linalg.inv(covariance + ridge)
        if not coupled:
            return
        variance = features.pair_second_moments(intensity) - paired.square() / n
        # That no event of the source was near one of the target says nothing of the curvature elsewhere.
        self.scale = variance.maximum(1e-2 * variance.mean((0, 1)) + 1e-6).sqrt()
        self.correlation, self.largest = features.correlation, features.largest_eigenvalue
        self.free = 1 - torch.eye(features.n_units)

    def history_step(self, slope: Tensor, targets: Tensor, damping: Tensor) -> Tensor:
        """Newton step (M, H) of own history, not too long."""
        change = -(self.history[self.row[targets]] @ slope.unsqueeze(2)).squeeze(2) / damping[:, None]
        return change / (change.abs().amax(1, keepdim=True) / _LARGEST_STEP).clamp(min=1)

    def pair_step(self, slope: Tensor, start: Tensor, targets: Tensor, damping: Tensor) -> Tensor:
        """Change of the couplings (K, N, M) of some targets to the minimum of the penalised quadratic model."""
        dtype = self.correlation.dtype
        begin, slope, scale = (
            start.to(dtype),
            slope.to(dtype),
            (self.scale[:, :, self.row[targets]] * damping.sqrt()).to(dtype),
        )
        step = 1 / (self.largest * scale.square().amax(0))  # (N, M)
        strength = self.penalty.strength[:, targets].to(dtype) * step
        step = step * self.free[:, targets].to(dtype)
        z = ahead = begin
        momentum = 1.0
        for _ in range(_INNER_STEPS):
            pull = (self.correlation @ (scale * (ahead - begin)).flatten(0, 1)).view_as(begin) * scale
            following = self.penalty.shrink(ahead - step * (slope + pull), strength)
            change = following - z
            uphill = ((ahead - following) * change / step.clamp(min=1e-30)).sum((0, 1)) > 0
            heavier = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
            ahead = following + torch.where(uphill, 0.0, (momentum - 1) / heavier) * change
            z, momentum = following, heavier
            if (change.norm(dim=(0, 1)) <= _INNER_TOLERANCE * (z - begin).norm(dim=(0, 1))).all():
                break
        return (z - begin).double()
