"""What a fitted log-linear coupling leaves unexplained, pair by pair: the sums from which its readout is corrected.

Notation: r_j(t) = y_j(t) − λ_j(t) is the residual of unit j, x_i^h(t) the events of unit i filtered by lag kernel h.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from neuroformer.batch import Batch
from neuroformer.model.filters import log_basis
from neuroformer.model.traces import all_traces

Window = tuple[int, int]
"""First and last lag in bins, both included; (0, 0) is the same bin."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LogLinearCoupling:
    """A fitted model of one session whose log-intensity has the term Σ_h Σ_i weights[h, i, j] · (kernels_h * s_i)(t).

    Attributes:
        log_intensity: gives (B, T − first, N) log expected events per bin for a batch of the session.
        kernels: (H, L), entry l for a lag of l + 1 bins.
        weights: (H, N, N) float64, [head, source, target].
        rate: (N,) mean events per bin.
        bin_s: width of a bin in seconds.
        event_weight: gives (B, E), what each event counts as input, or None for 1 each.
    """

    log_intensity: Callable[[Batch], Tensor]
    kernels: Tensor
    weights: np.ndarray
    rate: Tensor
    bin_s: float
    event_weight: Callable[[Batch], Tensor | None] = lambda batch: None


def in_basis(fitted: LogLinearCoupling, n_functions: int) -> LogLinearCoupling:
    """The same coupling with a raised-cosine basis of lags for kernels, as near to its profiles as that comes.

    Learned kernels are few, and from few events they are noisy; a basis leaves it to the pairs to say what time
    courses there are. Least squares over the lags, without regard to the events, so a strong coupling whose profile
    lies outside the span is taken over a little wrongly; the step that follows sees the model's own residuals.

    Args:
        fitted: the model.
        n_functions: of the basis, at most as many as there are lags.
    """
    basis = log_basis(fitted.kernels.shape[1], n_functions)
    basis = basis / basis.norm(dim=1, keepdim=True)
    # (K, H): what each function of the basis holds of each kernel, by least squares over the lags.
    shares = torch.linalg.lstsq(basis.double().mT, fitted.kernels.double().mT).solution.numpy()
    weights = np.einsum("kh,hst->kst", shares, fitted.weights)
    return replace(fitted, kernels=basis.to(fitted.kernels), weights=weights)


class ScoreSums:
    """Slope and curvature of the log-likelihood in every pair's weights, the target's constant profiled out.

    With x̃ = x − Σ_t λ_j x / Σ_t λ_j, each target's own mean, for every pair (i, j) and heads h, g:

        score[h, i, j] = Σ_t r_j x̃_i^h,        information[h, g, i, j] = Σ_t λ_j x̃_i^h x̃_i^g

    and likewise third[h, g, k, i, j] = Σ_t λ_j x̃_i^h x̃_i^g x̃_i^k: how far the likelihood is from a parabola.
    """

    def __init__(self, *, heads: int, n_units: int) -> None:
        """See the class."""
        self._slope, self._mass = np.zeros((2, heads, n_units, n_units))
        self._square = np.zeros((heads, heads, n_units, n_units))
        # Every triple of heads once, with falling indices: five functions have 35 of them and not 125.
        self._cube = {triple: np.zeros((n_units, n_units)) for triple in _triples(heads)}
        self.expected, self._residual = np.zeros((2, n_units))

    def add(self, traces: Tensor, intensity: Tensor, residual: Tensor) -> None:
        """Add M bins: traces (H, M, N), intensity and residual (M, N), both 0 where not scored."""
        for h, trace in enumerate(traces):
            self._slope[h] += _product(trace, residual)
            self._mass[h] += _product(trace, intensity)
            for g in range(h + 1):
                square = trace * traces[g]
                self._square[h, g] += _product(square, intensity)
                for k in range(g + 1):
                    self._cube[h, g, k] += _product(square * traces[k], intensity)
        self.expected += intensity.sum(0, dtype=torch.float64).numpy()
        self._residual += residual.sum(0, dtype=torch.float64).numpy()

    @property
    def score(self) -> np.ndarray:
        """(H, N, N)."""
        return self._slope - self._mass * (self._residual / self.expected)

    @property
    def information(self) -> np.ndarray:
        """(H, H, N, N)."""
        return _symmetric(self._square) - self._mass[:, None] * self._mass / self.expected

    def lagged(self, same_bin: bool) -> ScoreSums:
        """The sums without the first head, which is the same bin's if there is one; the arrays are shared."""
        if not same_bin:
            return self
        rest = ScoreSums.__new__(ScoreSums)
        rest._slope, rest._mass, rest._square = self._slope[1:], self._mass[1:], self._square[1:, 1:]
        rest._cube = {
            (h - 1, g - 1, k - 1): cube for (h, g, k), cube in self._cube.items() if min(h, g, k) > 0
        }
        rest.expected, rest._residual = self.expected, self._residual
        return rest

    def third_along(self, direction: np.ndarray) -> np.ndarray:
        """Third moment of each pair's trace along a direction: Σ_hgk d_h d_g d_k third[h, g, k].

        Args:
            direction: (H, N, N).

        Returns:
            (N, N).
        """
        raw = np.zeros(direction.shape[1:])
        for triple, cube in self._cube.items():
            times = 6 / np.prod(
                [math.factorial(triple.count(h)) for h in set(triple)]
            )  # orders of the triple
            raw += times * cube * np.prod([direction[h] for h in triple], axis=0)
        mean = (direction * self._mass).sum(0) / self.expected
        square = np.einsum("hst,gst,hgst->st", direction, direction, _symmetric(self._square))
        return raw - 3 * mean * square + 2 * self.expected * mean**3


@dataclass(frozen=True, kw_only=True, eq=False)
class PairMoments:
    """Sums over the bins of a recording. N = units, H = heads, C = control windows.

    Attributes:
        real: scores and information of the recording; with the same bin, one head more, and that the first.
        surrogates: the same with the sources' events from other times.
        controls: (C, N, N) Σ_t r_j(t) Σ_{l in window} (s_i(t + l) − rate_i): what the target's residual shares with the
            source's events of the same bin or later, which no influence of source on target explains.
    """

    real: ScoreSums
    surrogates: list[ScoreSums]
    controls: np.ndarray


@torch.no_grad()
def pair_moments(
    fitted: LogLinearCoupling,
    batches: Sequence[Batch],
    *,
    windows: Sequence[Window],
    surrogates: int = 0,
    same_bin: bool = False,
) -> PairMoments:
    """Sum up one session.

    A surrogate pairs the targets' residuals in a row with the sources' events in another row, the surrogates' distances
    evenly spread over the recording: rates and bursts stay, everything that two units share is broken.

    Args:
        fitted: the model.
        batches: all of one session and all their bins scored once, every row with the context before its scored bins.
        windows: of the controls.
        surrogates: how many time-shifted surrogates; at most one fewer than there are rows in all batches.
        same_bin: put the sources' residuals of the same bin before the traces, as one head more. Its score is
            Σ_t r_j r_i: what two units share beyond what the model foretells of both, which has no direction.
    """
    heads, n_units = fitted.weights.shape[:2]
    heads += same_bin
    residuals = [_residual(batch, fitted) for batch in batches] if same_bin else None
    real = ScoreSums(heads=heads, n_units=n_units)
    rows = [(number, row) for number, batch in enumerate(batches) for row in range(len(batch.session))]
    others = [ScoreSums(heads=heads, n_units=n_units) for _ in range(min(surrogates, len(rows) - 1))]
    shifts = [max(1, round((k + 1) * len(rows) / (len(others) + 1))) for k in range(len(others))]
    controls = np.zeros((len(windows), n_units, n_units))
    for number, batch in enumerate(batches):
        counts = batch.counts(scored_only=True)  # (B, T, N)
        scored = batch.scored[:, batch.first_scored :, None]
        intensity = fitted.log_intensity(batch).exp() * scored
        residual = (counts - intensity) * scored
        excess = (counts - fitted.rate) * scored
        traces = _traces(batch, fitted)
        if residuals is not None:
            traces = torch.cat([residuals[number][None].to(traces), traces])
        real.add(traces.flatten(1, 2), intensity.flatten(0, 1), residual.flatten(0, 1))
        for c, window in enumerate(windows):
            controls[c] += _product(_future(excess, window).flatten(0, 1), residual.flatten(0, 1))
        first_row = rows.index((number, 0))
        for shift, sums in zip(shifts, others, strict=True):
            elsewhere = [rows[(first_row + row + shift) % len(rows)] for row in range(len(scored))]
            traces = _rows_of(batches, elsewhere, fitted, residuals)  # (H, B, T', N)
            t = min(scored.shape[1], traces.shape[2])
            sums.add(
                traces[:, :, :t].flatten(1, 2),
                intensity[:, :t].flatten(0, 1),
                residual[:, :t].flatten(0, 1),
            )
    return PairMoments(real=real, surrogates=others, controls=controls)


def _rows_of(
    batches: Sequence[Batch],
    wanted: list[tuple[int, int]],
    fitted: LogLinearCoupling,
    residuals: list[Tensor] | None,
) -> Tensor:
    """(H, rows, T, N) traces of the wanted rows, after their residuals if given; T the fewest bins among them."""
    traces = {number: _traces(batches[number], fitted) for number in {number for number, _ in wanted}}
    if residuals is not None:
        traces = {n: torch.cat([residuals[n][None].to(values), values]) for n, values in traces.items()}
    shortest = min(values.shape[2] for values in traces.values())
    return torch.stack([traces[number][:, row, :shortest] for number, row in wanted], dim=1)


def _triples(heads: int) -> list[tuple[int, int, int]]:
    return [(h, g, k) for h in range(heads) for g in range(h + 1) for k in range(g + 1)]


def _symmetric(lower: np.ndarray) -> np.ndarray:
    """Fill in an array over pairs of heads (H, H, N, N) of which only entries with falling indices are there."""
    full = lower.copy()
    for h, g in zip(*np.triu_indices(len(lower), 1), strict=True):
        full[h, g] = lower[g, h]
    return full


def _residual(batch: Batch, fitted: LogLinearCoupling) -> Tensor:
    """(B, T − first, N), 0 where not scored."""
    scored = batch.scored[:, batch.first_scored :, None]
    return (batch.counts(scored_only=True) - fitted.log_intensity(batch).exp()) * scored


def _traces(batch: Batch, fitted: LogLinearCoupling) -> Tensor:
    """(H, B, T − first, N)."""
    return all_traces(batch, fitted.kernels, fitted.event_weight(batch)).permute(2, 0, 3, 1)


def _future(values: Tensor, window: Window) -> Tensor:
    """Sum over the lags l of a window of the values at t + l; nothing beyond the end of a row: (B, T, N)."""
    first, last = window
    n_bins = values.shape[1]
    total = torch.cat([values.new_zeros(len(values), 1, values.shape[2]), values.cumsum(1)], dim=1)
    start = torch.arange(n_bins) + first
    return total[:, (start + last - first + 1).clamp(max=n_bins)] - total[:, start.clamp(max=n_bins)]


def _product(source: Tensor, target: Tensor) -> np.ndarray:
    """Σ over bins of source (M, S) × target (M, T): (S, T) float64."""
    return (source.mT @ target).double().numpy()
