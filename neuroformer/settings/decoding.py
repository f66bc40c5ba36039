"""Settings of the decoders that a decoded behaviour stands beside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


def _above(low: float, **values: float | list[float] | list[int]) -> None:
    """Refuse what is not above `low`, and lists that are empty."""
    for name, value in values.items():
        numbers = value if isinstance(value, list) else [value]
        if not numbers or not all(number > low for number in numbers):
            raise ValueError(f"{name}={value}: expected numbers above {low:g}")


@dataclass(kw_only=True)
class RidgeConfig:
    """A ridge regression on lagged features (Wiener filter with a penalty)."""

    windows_s: list[float] = field(default_factory=lambda: [0.25, 0.5, 1.0, 2.0])
    """Lengths of history to try, seconds, the bin itself included."""
    taps: list[int] = field(default_factory=lambda: [1, 4])
    """Equal stretches to try into which a window is cut; features are the sums over each, of each unit."""
    penalties: list[float] = field(default_factory=lambda: [10 ** (k / 2) for k in range(-6, 9)])
    """Penalties to try, relative to the mean squared length of a feature vector."""
    largest: int = 2000
    """Histories with more features than this are left out where there are more labelled bins too: the solution
    takes the cube of the smaller number."""
    folds: int = 5
    """Blocks of labelled time in the cross-validation that chooses."""
    centered: bool = False
    """Windows centred on the bin, for offline comparison; else they end with it."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _above(0, windows_s=self.windows_s, taps=self.taps, penalties=self.penalties, largest=self.largest)
        _above(1, folds=self.folds)


@dataclass(kw_only=True)
class LogisticConfig:
    """A multinomial logistic regression on lagged features; over the cells of a grid for a continuous target."""

    windows_s: list[float] = field(default_factory=lambda: [0.25, 0.5, 1.0, 2.0])
    """Lengths of history to try, seconds, the bin itself included."""
    taps: list[int] = field(default_factory=lambda: [1])
    """Equal stretches to try into which a window is cut."""
    penalties: list[float] = field(default_factory=lambda: [10 ** (-k / 2) for k in range(10)])
    """L2 penalties to try, per labelled bin, strongest first."""
    cells: int = 20
    """Cells of the grid of a continuous target with one dimension."""
    cells_2d: int = 8
    """Cells along each dimension of a continuous target with two."""
    search_bins: int = 1500
    """Labelled bins that the search for window and penalty thins to; the final fit uses all."""
    folds: int = 5
    """Blocks of labelled time in the cross-validation that chooses."""
    centered: bool = False
    """Windows centred on the bin, for offline comparison; else they end with it."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _above(0, windows_s=self.windows_s, taps=self.taps, penalties=self.penalties)
        _above(1, folds=self.folds, cells=self.cells, cells_2d=self.cells_2d)
        _above(9, search_bins=self.search_bins)


@dataclass(kw_only=True)
class NaiveBayesConfig:
    """Naive Bayes: tuning of each unit by itself, turned round on a grid or on classes."""

    windows_s: list[float] = field(default_factory=lambda: [0.25, 0.5, 1.0, 2.0])
    """Lengths of history to try, seconds, the bin itself included."""
    smoothing: list[float] = field(default_factory=lambda: [0.025, 0.05, 0.1, 0.2])
    """Standard deviations to try of the Gaussian that smooths the tuning curves, in parts of the target's range."""
    prior_s: list[float] = field(default_factory=lambda: [0.1, 0.5, 2.0])
    """Seconds to try for which every cell counts as having been visited with the unit at its mean rate."""
    evidence: list[float] = field(default_factory=lambda: [1.0, 0.5, 0.25, 0.1, 0.05, 0.02])
    """Exponents to try on the likelihood: units are not independent as naive Bayes has it, so 1 is overconfident."""
    observations: Literal["auto", "poisson", "gaussian"] = "auto"
    """`poisson` for event counts, `gaussian` for traces; `auto`: Poisson where all features are whole numbers ≥ 0."""
    prior: Literal["auto", "flat", "occupancy"] = "auto"
    """Prior over cells or classes: flat, or how often each was visited; `auto`: both are tried on a grid, and classes
    have the latter."""
    motion: Literal["none", "forward", "smooth"] = "none"
    """Markov motion prior on the grid learned from the labels: none, causal, or with the future too (offline)."""
    cells: int = 40
    """Cells of the grid of a target with one dimension."""
    cells_2d: int = 15
    """Cells along each dimension of a target with two."""
    point: Literal["median", "mean", "mode"] = "median"
    """What stands for the posterior of a target with one dimension; in two or on a circle `median` is the mean."""
    folds: int = 5
    """Blocks of labelled time in the cross-validation that chooses."""
    centered: bool = False
    """Windows centred on the bin, for offline comparison; else they end with it."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _above(0, windows_s=self.windows_s, prior_s=self.prior_s, evidence=self.evidence)
        _above(-1e-12, smoothing=self.smoothing)
        _above(1, folds=self.folds, cells=self.cells, cells_2d=self.cells_2d)


@dataclass(kw_only=True)
class KalmanConfig:
    """A Kalman filter: linear Gaussian motion, linear Gaussian features."""

    windows_s: list[float] = field(default_factory=lambda: [0.1, 0.25, 0.5, 1.0])
    """Lengths to try of the window over which a feature is averaged, seconds."""
    shrinkage: list[float] = field(default_factory=lambda: [0.1, 0.5, 1.0])
    """Weights to try of the diagonal in the covariance of the features; 1 is independent units."""
    noise: list[float] = field(default_factory=lambda: [1.0, 4.0, 16.0, 64.0, 256.0])
    """Factors to try on that covariance: neighbouring windows share events, and tuning from few labels is noisy."""
    velocity: bool = True
    """The state holds the target's change per bin too."""
    smooth: bool = False
    """Use the future too (Rauch–Tung–Striebel), for offline comparison."""
    folds: int = 5
    """Blocks of labelled time in the cross-validation that chooses."""
    centered: bool = False
    """Windows centred on the bin, for offline comparison; else they end with it."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _above(0, windows_s=self.windows_s, shrinkage=self.shrinkage, noise=self.noise)
        _above(1, folds=self.folds)
        if max(self.shrinkage) > 1:
            raise ValueError(f"shrinkage={self.shrinkage}: expected numbers above 0, at most 1")


@dataclass(kw_only=True)
class GRUConfig:
    """A gated recurrent network."""

    window_s: float = 0.25
    """Length of the running mean that features pass first, seconds."""
    width: int = 32
    """Size to which a linear layer brings the features."""
    state: int = 64
    """Size of the recurrent state."""
    dropout: float = 0.3
    """Part of the features left out in each step, and of the states."""
    chunk_s: float = 3.0
    """Stretch of time in a row of a batch, seconds; at least 50 and at most 200 bins."""
    batch: int = 16
    """Rows of a batch."""
    steps: int = 400
    """Training steps; the state of the best validation loss is kept."""
    rate: float = 3e-3
    """Learning rate at its height."""
    decay: float = 1e-2
    """Weight decay."""
    check_every: int = 20
    """Steps between two looks at the validation loss."""
    centered: bool = False
    """Read time in both directions, for offline comparison."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _above(0, window_s=self.window_s, width=self.width, state=self.state, chunk_s=self.chunk_s)
        _above(0, batch=self.batch, steps=self.steps, rate=self.rate, check_every=self.check_every)
        if not (0 <= self.dropout < 1 and self.decay >= 0):
            raise ValueError(
                f"dropout={self.dropout:g}, decay={self.decay:g}: expected 0 ≤ dropout < 1 and decay ≥ 0"
            )


@dataclass(kw_only=True)
class DecodersConfig:
    """All decoders."""

    ridge: RidgeConfig = field(default_factory=RidgeConfig)
    """Ridge regression with history."""
    logistic: LogisticConfig = field(default_factory=LogisticConfig)
    """Linear classifier, and softmax regression over a grid."""
    naive_bayes: NaiveBayesConfig = field(default_factory=NaiveBayesConfig)
    """Naive Bayes; `naive_bayes_motion` takes these too, with a causal motion prior unless another is set."""
    kalman: KalmanConfig = field(default_factory=KalmanConfig)
    """Kalman filter."""
    gru: GRUConfig = field(default_factory=GRUConfig)
    """Recurrent network."""
