"""What all decoders share: one interface from arrays to predictions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from neuroformer.baselines.decoding.samples import Samples, checked_features
from neuroformer.baselines.decoding.target import Prediction, Target, TargetKind
from neuroformer.errors import UserError

_PIECE = 4096  # bins predicted at once

Labelled = tuple[Sequence[np.ndarray], Sequence[np.ndarray]]
"""Features and labels, a list of stretches each."""


class Decoder(ABC):
    """Reads behaviour from activity.

    Features are a list of (T, N) arrays, one for each contiguous stretch of a recording: event counts per bin, or
    traces. Labels are a list of (T, D) numbers, NaN where unknown, or of (T,) class indices, -1 where unknown. A bin
    with an unknown label carries no loss; its features are history for the bins after it all the same. No
    history crosses the ends of a stretch. Unless a decoder is set to be centred or to smooth, what it says of a bin
    depends on that bin and those before it alone.

    Args:
        target: what is decoded.
        bin_s: width of a bin in seconds.

    Attributes:
        chosen: settings that the fit chose, by name.

    Raises:
        UserError: the target is not of a kind that this decoder knows.
    """

    name: ClassVar[str]
    kinds: ClassVar[tuple[TargetKind, ...]] = ("continuous", "categorical")

    def __init__(self, target: Target, *, bin_s: float) -> None:
        """See the class."""
        if target.kind not in self.kinds:
            raise UserError(
                f"{target.name}: {self.name} decodes {' and '.join(self.kinds)} targets, and this one is {target.kind}"
            )
        self.target, self.bin_s = target, bin_s
        self.chosen: dict[str, Any] = {}
        self._n_units: int | None = None

    def fit(
        self,
        x: Sequence[np.ndarray],
        y: Sequence[np.ndarray],
        *,
        validation: Labelled | None = None,
        seed: int = 0,
    ) -> Self:
        """Fit to labelled bins; settings are chosen by cross-validation inside them.

        Args:
            x: features.
            y: labels.
            validation: features and labels to choose settings on instead. Nothing else is fitted to them, except
                for the one scale of the spread.
            seed: of what is drawn at random.

        Raises:
            UserError: arrays that do not fit each other, or not one labelled bin.
        """
        samples = Samples.of(self.target, x, y)
        held_out = None if validation is None else Samples.of(self.target, *validation, what="validation")
        if held_out is not None and held_out.n_units != samples.n_units:
            raise UserError(
                f"{self.target.name}: {samples.n_units} units in training, {held_out.n_units} in validation"
            )
        self._n_units, self.chosen = samples.n_units, {}
        self._fit(samples, held_out, seed)
        return self

    def predict(self, x: Sequence[np.ndarray]) -> Prediction:
        """Behaviour of every bin.

        Args:
            x: features of the same units.
        """
        assert self._n_units is not None, "fit first"
        return self._predict(checked_features(self.target, x, self._n_units))

    @abstractmethod
    def _fit(self, samples: Samples, validation: Samples | None, seed: int) -> None:
        """Learn from the samples."""

    @abstractmethod
    def _predict(self, x: list[np.ndarray]) -> Prediction:
        """Predict each stretch."""


def in_pieces(
    n_bins: int, function: Callable[[np.ndarray], tuple[np.ndarray, ...]]
) -> tuple[np.ndarray, ...]:
    """Call a function of bins on some thousands of them at a time, and put its arrays together."""
    pieces = [function(np.arange(a, min(n_bins, a + _PIECE))) for a in range(0, max(1, n_bins), _PIECE)]
    return tuple(np.concatenate(arrays) for arrays in zip(*pieces, strict=True))


def with_floor(probability: np.ndarray, n: int) -> np.ndarray:
    """Mix probabilities with a uniform one of weight 1 / (n + 1): nothing is impossible after n samples."""
    weight = 1 / (n + 1)
    return (1 - weight) * probability + weight / probability.shape[-1]
