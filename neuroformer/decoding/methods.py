"""What each method says of a variable in a part of a session: ours from a trained model, and the baselines'.

The inversion's posterior is that of a hidden Markov chain over the cells of the grid and one more state, in which
behaviour is unknown; it is conditioned on behaviour being known. Likelihoods are raised to the exponent that was
learned with the model (`Knowledge.evidence`). `combined` multiplies each bin's likelihood by the readout's density q on
the grid to a power a: q is no likelihood, and holds the same events in bin after bin, so a is well below 1.

Legend: T bins of a stretch, G cells of the grid, K cells of an axis or labels, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neuroformer.baselines.decoding import Prediction, Target, build_decoder
from neuroformer.data.grid import Axis, Grid
from neuroformer.data.motion import Motion, make_motion, with_unknown
from neuroformer.decoding.arrays import Stretches, Truth
from neuroformer.decoding.predict import Stretch
from neuroformer.inversion.filtering import forward, smooth
from neuroformer.inversion.summary import posterior_mean, posterior_median, posterior_spread
from neuroformer.model.readout import Decoded
from neuroformer.settings.decoding import DecodersConfig
from neuroformer.training.knowledge import Knowledge

WEIGHTS = (0.0, 0.02, 0.05, 0.1, 0.25, 0.5)
"""Powers of the readout's density that are tried."""
DEFAULT_WEIGHT = 0.1
"""Where there is no label to choose on."""
_LEAST = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimate:
    """A method on a variable, an array per stretch.

    Attributes:
        mean: (T, D) decoded values of a continuous variable.
        spread: (T, D) standard deviations.
        probability: (T, K) of the labels of a categorical one.
        posterior: (T, K) of the cells of `axis`, where the method has a grid of one dimension.
        axis: of the posterior.
    """

    mean: list[np.ndarray] | None = None
    spread: list[np.ndarray] | None = None
    probability: list[np.ndarray] | None = None
    posterior: list[np.ndarray] | None = None
    axis: Axis | None = None


class Inverter:
    """Posteriors over a grid of behaviour from what a model says of each bin.

    Args:
        grid: of the decoded variables.
        knowledge: motion, and how far to trust events.
    """

    def __init__(self, grid: Grid, knowledge: Knowledge) -> None:
        """See the class."""
        self.grid, self.evidence = grid, knowledge.evidence
        self.motion: Motion = make_motion(grid, knowledge.motion)
        self.chain = with_unknown(self.motion, knowledge.motion)

    def posterior(self, stretch: Stretch, *, smoothed: bool, weight: float = 0.0) -> np.ndarray:
        """(T, G) probability of each cell, given that behaviour is known.

        Args:
            stretch: with a last column of unknown behaviour.
            smoothed: whether later events count too.
            weight: power of the readout's density.
        """
        assert stretch.log_likelihood is not None
        score = self.evidence * stretch.log_likelihood
        if weight:
            score = score + self.readout_score(stretch, weight)
        found, _ = forward(score, self.chain)
        if smoothed:
            found = smooth(score, self.chain, found)
        cells = found[:, : len(self.grid)]
        return cells / np.maximum(cells.sum(1, keepdims=True), 1e-300)

    def readout_score(self, stretch: Stretch, weight: float) -> np.ndarray:
        """(T, G + 1) log of the readout's density on the grid to a power.

        Behaviour that is unknown gets the prior's mean, so that the readout, which always says something, does not
        speak for behaviour being known.
        """
        log_density = weight * readout_density(self.grid, stretch.readout)
        unknown = np.log(np.exp(log_density) @ self.motion.start)
        return np.concatenate([log_density, unknown[:, None]], 1)

    def choose_weight(
        self, stretches: Sequence[Stretch], cells: Sequence[np.ndarray], *, smoothed: bool
    ) -> float:
        """The power under which the labels of validation are most probable, the smaller one of equals.

        Args:
            stretches: of the validation part.
            cells: (T,) true cell of each bin, −1 where unknown.
            smoothed: as in `posterior`.
        """
        if not any((found >= 0).any() for found in cells):
            return DEFAULT_WEIGHT
        totals = []
        for weight in WEIGHTS:
            total = 0.0
            for stretch, truth in zip(stretches, cells, strict=True):
                at = np.nonzero(truth >= 0)[0]
                if len(at):
                    found = self.posterior(stretch, smoothed=smoothed, weight=weight)
                    total += float(np.log(np.maximum(found[at, truth[at]], _LEAST)).sum())
            totals.append(total)
        return WEIGHTS[int(np.argmax(totals))]

    def of_trial(self, stretch: Stretch, bins: np.ndarray, *, weight: float = 0.0) -> np.ndarray:
        """(G,) posterior at the end of a trial, given all of the trial's events and nothing else.

        Where all variables hold for the trial this is the prior times the product of the bins' likelihoods.

        Args:
            stretch: that holds the trial.
            bins: of the trial, in order.
            weight: power of the readout's density.
        """
        assert stretch.log_likelihood is not None
        score = self.evidence * stretch.log_likelihood[bins, : len(self.grid)]
        if weight:
            score = score + self.readout_score(stretch, weight)[bins, : len(self.grid)]
        found: np.ndarray = forward(score, self.motion)[0][-1]
        return found

    def estimate(self, name: str, posteriors: Sequence[np.ndarray]) -> Estimate:
        """A variable's marginals as numbers."""
        return grid_estimate(self.grid, name, posteriors)


def grid_estimate(grid: Grid, name: str, posteriors: Sequence[np.ndarray]) -> Estimate:
    """Median (of an angle the mean direction) and spread, or probabilities, of a variable of the grid.

    Args:
        grid: of G cells.
        name: of the variable.
        posteriors: (T, G) of each stretch.
    """
    numbers = [k for k, axis in enumerate(grid.axes) if axis.name == name]
    marginals = [[grid.marginal(p, k) for k in numbers] for p in posteriors]
    axes = [grid.axes[k] for k in numbers]
    if axes[0].labels:
        return Estimate(probability=[found[0] for found in marginals])
    point = [posterior_median if axis.period is None else posterior_mean for axis in axes]
    return Estimate(
        mean=[
            np.stack([f(axis, p) for f, axis, p in zip(point, axes, found, strict=True)], 1)
            for found in marginals
        ],
        spread=[
            np.stack([posterior_spread(axis, p) for axis, p in zip(axes, found, strict=True)], 1)
            for found in marginals
        ],
        posterior=[found[0] for found in marginals] if len(axes) == 1 else None,
        axis=axes[0] if len(axes) == 1 else None,
    )


def readout_density(grid: Grid, readout: dict[str, Decoded]) -> np.ndarray:
    """(T, G) log of what the readouts say of each cell; sums to 1 over the cells before the log."""
    total: np.ndarray | None = None
    for k, axis in enumerate(grid.axes):
        found = _axis_density(axis, readout[axis.name])
        shape = [len(found), *[1] * len(grid.axes)]
        shape[k + 1] = len(axis)
        part = found.reshape(shape)
        total = part if total is None else total + part
    assert total is not None
    full = np.broadcast_to(total, (len(total), *grid.shape)).reshape(len(total), len(grid))
    top = full.max(1, keepdims=True)
    norm: np.ndarray = full - top - np.log(np.exp(full - top).sum(1, keepdims=True))
    return norm


def _axis_density(axis: Axis, said: Decoded) -> np.ndarray:
    if axis.labels:
        assert said.log_probability is not None
        return said.log_probability.double().numpy()
    assert said.mean is not None
    assert said.spread is not None
    mean, spread = (x.double().numpy()[:, axis.dimension, None] for x in (said.mean, said.spread))
    # No sharper than a cell: its centre stands for all of it.
    spread = np.sqrt(spread**2 + np.diff(axis.edges).mean() ** 2 / 12)
    off = axis.centres - mean
    if axis.period is None:
        found: np.ndarray = -0.5 * (off / spread) ** 2
        return found
    turns = axis.period * np.arange(-3, 4)
    wound = -0.5 * ((off[..., None] + turns) / spread[..., None]) ** 2
    top = wound.max(-1)
    return top + np.log(np.exp(wound - top[..., None]).sum(-1))


def readout_estimate(name: str, stretches: Sequence[Stretch]) -> Estimate:
    """What the readout says."""
    said = [stretch.readout[name] for stretch in stretches]
    if said and said[0].log_probability is not None:
        return Estimate(probability=[d.log_probability.exp().double().numpy() for d in said])  # type: ignore[union-attr]
    return Estimate(
        mean=[d.mean.double().numpy() for d in said],  # type: ignore[union-attr]
        spread=[d.spread.double().numpy() for d in said],  # type: ignore[union-attr]
    )


def fit_baseline(
    name: str,
    target: Target,
    train: tuple[Stretches, Truth],
    scored: Sequence[Stretches],
    *,
    bin_s: float,
    config: DecodersConfig,
    seed: int,
) -> list[Estimate]:
    """A baseline fitted to the labels of a part; what it says of others.

    Args:
        name: of the baseline.
        target: what is decoded.
        train: features and labels.
        scored: parts to decode.
        bin_s: width of a bin.
        config: settings of all decoders.
        seed: of what is drawn.
    """
    fill = -1 if target.kind == "categorical" else np.nan
    decoder = build_decoder(name, target, bin_s=bin_s, config=config)
    decoder.fit(train[0].x, train[0].led(train[1].values, fill), seed=seed)
    return [_estimate(decoder.predict(part.x), part) for part in scored]


def _estimate(said: Prediction, part: Stretches) -> Estimate:
    if said.mean is None:
        assert said.probability is not None
        return Estimate(probability=part.cut(said.probability))
    return Estimate(mean=part.cut(said.mean), spread=None if said.spread is None else part.cut(said.spread))
