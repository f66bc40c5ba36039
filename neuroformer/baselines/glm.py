"""The Poisson GLM of one session, as strong as a good lab would fit it.

    log λ_j(t) = b_j + Σ_k c_jk (φ_k * s_j)(t) + Σ_h Σ_{i≠j} G_h[i, j] (κ_h * s_i)(t)

φ is a raised-cosine basis of own history, κ_h are lag kernels learned from the data and shared by all pairs (Pillow
et al. 2008, Nature 454:995, fix theirs beforehand), and G has an L1 penalty whose strength is chosen on the validation
part from a path with warm starts, strongest first. It is the model's coupling path with a penalty in place of the
posterior, and without a trunk.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from neuroformer.batch import Batch
from neuroformer.data import Recording, Vocabulary
from neuroformer.data.collate import collate
from neuroformer.files import atomic_path
from neuroformer.metrics import bits_per_spike
from neuroformer.model.coupling import LagKernels, off_diagonal
from neuroformer.model.filters import log_basis
from neuroformer.model.observation import poisson_log_likelihood
from neuroformer.model.traces import all_traces, combine, own_traces
from neuroformer.settings.glm import GLMConfig

_PIECE_BINS = 400
_ROWS = 8
_BETAS = (0.9, 0.99)


class PoissonGLM(nn.Module):
    """A fitted GLM.

    Args:
        n_units: number of units N.
        n_lags: longest lag of the couplings, in bins.
        n_history: longest lag of own history, in bins.
        settings: the fit's settings as builtins.
    """

    def __init__(self, *, n_units: int, n_lags: int, n_history: int, settings: dict[str, Any]) -> None:
        """See the class."""
        super().__init__()
        self.n_units, self.n_lags, self.n_history, self.settings = n_units, n_lags, n_history, settings
        self.chosen: dict[str, Any] = {}
        self.kernels: nn.Module = LagKernels(heads=settings["heads"], n_lags=n_lags)
        self.register_buffer("basis", log_basis(n_history, settings["history_functions"]))
        self.basis: Tensor
        self.bias = nn.Parameter(torch.zeros(n_units))
        self.history = nn.Parameter(torch.zeros(n_units, len(self.basis)))
        self.pairs = nn.Parameter(torch.zeros(settings["heads"], n_units, n_units))

    @property
    def context(self) -> int:
        """Bins of the past that an intensity depends on."""
        return max(self.n_lags, self.n_history)

    def log_intensity(self, batch: Batch) -> Tensor:
        """(B, T − first, N) log expected events per bin, for a batch of this session alone."""
        own = combine(own_traces(batch, self.basis), self.history.expand(len(batch.session), -1, -1), batch)
        traces = all_traces(batch, self.kernels()).flatten(1, 2)  # (B, N·H, T)
        pairs = (self.pairs * off_diagonal(self.n_units, self.pairs)).permute(2, 1, 0).flatten(1, 2)
        return own + (pairs @ traces + self.bias[:, None]).mT

    def coupling_map(self) -> Tensor:
        """(N, N, L) change of the target's log-intensity after an event of the source, [source, target, lag − 1]."""
        pairs = self.pairs.detach() * off_diagonal(self.n_units, self.pairs)
        return torch.einsum("hst,hl->stl", pairs, self.kernels().detach())

    def save(self, path: Path) -> None:
        """Write the model, atomically; builtins and tensors only."""
        content = {
            "n_units": self.n_units,
            "n_lags": self.n_lags,
            "n_history": self.n_history,
            "settings": self.settings,
            "chosen": self.chosen,
            "state": self.state_dict(),
        }
        with atomic_path(path) as temporary:
            torch.save(content, temporary)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; nothing in the file is executed."""
        content = torch.load(path, weights_only=True)
        state, chosen = content.pop("state"), content.pop("chosen")
        glm = cls(**content)
        glm.load_state_dict(state)
        glm.chosen = chosen
        return glm.requires_grad_(False)


def fit_glm(recording: Recording, *, config: GLMConfig) -> PoissonGLM:
    """Fit to the training part and choose the penalty on the validation part; the test part is not touched.

    Args:
        recording: the session.
        config: settings; both windows must be given.

    Returns:
        The GLM of the chosen strength, without gradients. Its `chosen` holds the strength and the validation bits
        per spike of all strengths tried.
    """
    assert config.window_s is not None
    assert config.history_window_s is not None
    entry = recording.entry(1)
    vocabulary = Vocabulary(bin_s=recording.bin_s)
    vocabulary.add(entry)
    glm = PoissonGLM(
        n_units=entry.n_units,
        n_lags=max(1, round(config.window_s / recording.bin_s)),
        n_history=max(1, round(config.history_window_s / recording.bin_s)),
        settings=dataclasses.asdict(config),
    )
    log_rate = torch.as_tensor(entry.train_rate, dtype=torch.float32).log()
    glm.bias.data = log_rate.clone()
    train = [
        recording.chunk(s, glm.context) for s in recording.tiles("train", _PIECE_BINS, shift=_PIECE_BINS)
    ]
    val = [recording.chunk(s, glm.context) for s in recording.tiles("val", _PIECE_BINS, shift=_PIECE_BINS)]
    generator = torch.Generator().manual_seed(config.seed)

    def batches() -> Iterator[Batch]:
        while True:
            order = torch.randperm(len(train), generator=generator).tolist()
            for i in range(0, len(order), _ROWS):
                yield collate([train[k] for k in order[i : i + _ROWS]], vocabulary)

    stream = batches()
    # The strength at which a coupling first pays, from the gradient where there is none.
    strongest = _largest_slope(glm, [next(stream) for _ in range(min(8, math.ceil(len(train) / _ROWS)))])
    best: dict[str, Tensor] = {}
    scores: dict[str, float] = {}
    per_pass = math.ceil(len(train) / _ROWS)
    for number, relative in enumerate(config.strengths):
        steps = per_pass * (config.first_passes if number == 0 else config.passes)
        _descend(glm, stream, strength=relative * strongest, steps=steps)
        scores[f"{relative:g}"] = _score(glm, [collate([c], vocabulary) for c in val], log_rate)
        if scores[f"{relative:g}"] >= max(scores.values()):
            best = copy.deepcopy(glm.state_dict())
            glm.chosen["strength"] = relative
        elif scores[f"{relative:g}"] < max(scores.values()) - 0.003:
            break  # the path only over-fits from here
    glm.load_state_dict(best)
    glm.chosen["validation_bits_per_spike"] = scores
    return glm.requires_grad_(False)


def _loss(glm: PoissonGLM, batch: Batch) -> Tensor:
    """Negative log-likelihood per scored bin, all units together, without log k!."""
    eta, counts = glm.log_intensity(batch), batch.counts(scored_only=True)
    scored = batch.scored[:, batch.first_scored :, None]
    return ((eta.exp() - counts * eta) * scored).sum() / batch.scored.sum()


def _largest_slope(glm: PoissonGLM, batches: list[Batch]) -> float:
    loss = torch.stack([_loss(glm, batch) for batch in batches]).mean()
    (slope,) = torch.autograd.grad(loss, glm.pairs)
    return float(slope.abs().max())


def _descend(glm: PoissonGLM, stream: Iterator[Batch], *, strength: float, steps: int) -> None:
    """Adam with a proximal step for the L1 penalty: couplings that do not pay become exactly 0."""
    optimizer = torch.optim.Adam(glm.parameters(), lr=0.01, betas=_BETAS)
    rise = max(1, steps // 5)
    for step in range(1, steps + 1):
        rate = 0.02 * (
            step / rise if step < rise else 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise + 1)))
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        _loss(glm, next(stream)).backward()
        optimizer.step()
        with torch.no_grad():
            # The proximal operator in Adam's own metric.
            scale = (optimizer.state[glm.pairs]["exp_avg_sq"] / (1 - _BETAS[1] ** step)).sqrt() + 1e-8
            threshold = rate * strength / scale
            glm.pairs.copy_(glm.pairs.sign() * (glm.pairs.abs() - threshold).clamp(min=0))


def _score(glm: PoissonGLM, batches: list[Batch], log_rate: Tensor) -> float:
    total = null = events = 0.0
    with torch.no_grad():
        for batch in batches:
            counts = batch.counts(scored_only=True)
            total += float(poisson_log_likelihood(glm.log_intensity(batch), counts).double().sum())
            null += float(poisson_log_likelihood(log_rate, counts).double().sum())
            events += float(counts.sum())
    return bits_per_spike(total, null, events)
