"""Stretches of features and labels, the labelled bins among them, and blocks of these to choose settings on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neuroformer.baselines.decoding.history import History
from neuroformer.baselines.decoding.target import Target
from neuroformer.errors import UserError


@dataclass(frozen=True)
class Samples:
    """Checked features and the labels that are known.

    Attributes:
        x: (T, N) float32 features of each stretch.
        rows: bins of each stretch whose label is known, in order.
        y: known labels of all stretches in order, (n, D) float64 or (n,) int64.
    """

    x: list[np.ndarray]
    rows: list[np.ndarray]
    y: np.ndarray

    @classmethod
    def of(
        cls, target: Target, x: Sequence[np.ndarray], y: Sequence[np.ndarray], *, what: str = "training"
    ) -> Samples:
        """Check what was given; a bin counts as labelled where all dimensions are known.

        Raises:
            UserError: shapes or values that no decoder can use, or not one labelled bin.
        """
        features = checked_features(target, x)
        labels, rows = [], []
        if len(y) != len(features):
            raise UserError(
                f"{target.name}: {len(features)} stretches of features, {len(y)} of labels; give as many"
            )
        for k, (found, part) in enumerate(zip(y, features, strict=True)):
            if len(found) != len(part):
                raise UserError(
                    f"{target.name}: stretch {k} has {len(part)} bins of features and {len(found)} labels"
                )
            if target.kind == "categorical":
                label = np.asarray(found)
                if (
                    label.ndim != 1
                    or label.dtype.kind not in "iu"
                    or (len(label) and label.max() >= target.n_classes)
                ):
                    raise UserError(
                        f"{target.name}: labels of stretch {k}: expected (T,) whole numbers below "
                        f"{target.n_classes}, -1 unknown"
                    )
                known = label >= 0
            else:
                label = np.asarray(found, dtype=np.float64)
                if label.ndim != 2:
                    raise UserError(
                        f"{target.name}: labels of stretch {k} have shape {label.shape}; expected (T, D)"
                    )
                known = np.isfinite(label).all(1)
            rows.append(np.flatnonzero(known))
            labels.append(label[known])
        if not sum(map(len, rows)):
            raise UserError(f"{target.name}: no labelled bin in the {what} stretches; label some of them")
        return cls(features, rows, np.concatenate(labels))

    def __len__(self) -> int:
        """Number of labelled bins n."""
        return len(self.y)

    @property
    def n_units(self) -> int:
        """Number of units N."""
        return self.x[0].shape[1]

    def features(self, history: History, x: Sequence[np.ndarray] | None = None) -> np.ndarray:
        """(n, F) float64 lagged features of the labelled bins; `x` takes the place of the features as given."""
        return np.concatenate(
            [history.rows(part, rows) for part, rows in zip(x or self.x, self.rows, strict=True)]
        )


def checked_features(target: Target, x: Sequence[np.ndarray], n_units: int | None = None) -> list[np.ndarray]:
    """Features as float32 arrays, all (T, N) with the same N and finite."""
    features = [np.asarray(part, dtype=np.float32) for part in x]
    if not features:
        raise UserError(f"{target.name}: no stretch of features")
    expected = features[0].shape[-1] if n_units is None else n_units
    for k, part in enumerate(features):
        if part.ndim != 2 or part.shape[1] != expected:
            raise UserError(
                f"{target.name}: features of stretch {k} have shape {part.shape}; expected (T, {expected})"
            )
        if not np.isfinite(part).all():
            raise UserError(
                f"{target.name}: features of stretch {k} hold NaN or infinity; cut the stretch there"
            )
    return features


@dataclass(frozen=True)
class Fold:
    """Labelled bins to judge by, and those not to fit to: the same ones and their neighbours."""

    test: np.ndarray
    """Which of the n labelled bins, rising."""
    left_out: np.ndarray
    """`test` and the labelled bins within the gap of it."""

    def train(self, n: int) -> np.ndarray:
        """Which of the n labelled bins to fit to."""
        kept = np.ones(n, dtype=bool)
        kept[self.left_out] = False
        return np.flatnonzero(kept)


def blocked_folds(samples: Samples, *, folds: int, gap: int) -> list[Fold]:
    """Cut labelled time into contiguous blocks, each left out once with a gap on both sides.

    Args:
        samples: the labelled bins.
        folds: number of blocks; fewer when there are fewer than four labelled bins for each.
        gap: bins of the same stretch on either side that are not fitted to either, so that no window reaches from
            one to the other. It shrinks to a quarter of a block where labels are few.

    Returns:
        No fold when there are fewer than eight labelled bins: nothing can be chosen then.
    """
    n = len(samples)
    folds = min(folds, n // 4)
    if folds < 2:
        return []
    gap = min(gap, n // (4 * folds))
    stretch = np.repeat(np.arange(len(samples.rows)), [len(rows) for rows in samples.rows])
    at = np.concatenate(samples.rows)
    found = []
    for test in np.array_split(np.arange(n), folds):
        near = np.zeros(n, dtype=bool)
        for k in np.unique(stretch[test]):
            inside = at[test[stretch[test] == k]]
            near |= (stretch == k) & (at >= inside[0] - gap) & (at <= inside[-1] + gap)
        found.append(Fold(test=test, left_out=np.flatnonzero(near)))
    return found
