"""Ridge regression on the window, and on the state of a reservoir: closed form, penalties chosen on validation.

Legend: T bins of a stretch, N units, W frames of a window, D numbers of all targets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from neuroformer.baselines.decoding.ridge_path import RidgePath
from neuroformer.frames.session import FrameSession, Stretch
from neuroformer.frames.windows import led_frames

Features = Callable[[Stretch], np.ndarray]
"""(T, F) features of the bins of a stretch."""


class WindowFeatures:
    """All units in the `size` frames that end with a bin, or in the 2·size − 1 around it.

    With more units than training bins the frames are first turned into the space that the training frames span: no
    ridge solution has weights outside it, so that nothing but memory is changed.

    Args:
        session: whose training frames.
        size: frames of a window.
        centered: whether frames on both sides are looked at.
    """

    def __init__(self, session: FrameSession, size: int, *, centered: bool) -> None:
        """See the class."""
        x = np.concatenate([s.x for s in session.parts["train"]])
        self._turn = _span(x.astype(np.float64)) if x.shape[1] > x.shape[0] else None
        self.before, self.after = size - 1, size - 1 if centered else 0

    def __call__(self, stretch: Stretch) -> np.ndarray:
        """(T, F) features of the bins of a stretch."""
        frames = led_frames(stretch, self.before, self.after)[0].astype(np.float64)
        if self._turn is not None:
            frames = frames @ self._turn
        return np.concatenate(
            [frames[k : k + len(stretch)] for k in range(self.before + self.after + 1)], axis=1
        )

    def of_units(self, weights: np.ndarray) -> np.ndarray:
        """(S, N, D) weights of the units in each of the S frames, from (F, D) weights of the features."""
        by_frame = weights.reshape(self.before + self.after + 1, -1, weights.shape[1])
        return by_frame if self._turn is None else self._turn @ by_frame


def _span(x: np.ndarray) -> np.ndarray:
    """(N, rank) orthonormal basis of what the rows of (T, N) span, T < N, by the eigenvectors of their products."""
    s, left = eigh(x @ x.T, driver="evd", check_finite=False)
    kept = s > 1e-10 * s[-1]
    found: np.ndarray = x.T @ (left[:, kept] / np.sqrt(s[kept]))
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearFit:
    """A fitted regression.

    Attributes:
        features: what it is linear in.
        weights: (F, D).
        intercept: (D,).
        penalty: (D,) that validation chose, relative to the mean squared length of the features.
        val_loss: mean squared error on validation, in standard deviations of the targets, mean over targets.
    """

    features: Features
    weights: np.ndarray
    intercept: np.ndarray
    penalty: np.ndarray
    val_loss: float

    def predict(self, stretch: Stretch) -> np.ndarray:
        """(T, D) standardised predictions."""
        found: np.ndarray = self.features(stretch) @ self.weights + self.intercept
        return found


def fit_linear(
    session: FrameSession,
    features: Features,
    penalties: Sequence[float],
    *,
    skip: tuple[int, int] = (0, 0),
) -> LinearFit:
    """Fit to the training part; every number of the targets has its own penalty.

    Args:
        session: the data.
        features: of a stretch.
        penalties: to try, relative.
        skip: bins left out at the start and the end of each training stretch, whose windows are not whole; a stretch
            that would be left empty is used as it is.
    """
    xs, ys, ks = [], [], []
    for stretch in session.parts["train"]:
        stop = len(stretch) - skip[1]
        inside = slice(skip[0], stop) if stop > skip[0] else slice(None)
        xs.append(features(stretch)[inside])
        ys.append(stretch.y[inside])
        ks.append(stretch.known[inside])
    x, y, known = np.concatenate(xs), np.concatenate(ys).astype(np.float64), np.concatenate(ks)
    val = [features(s) for s in session.parts["val"]]
    val_x = np.concatenate(val)
    val_y = np.concatenate([s.y for s in session.parts["val"]])
    val_known = np.concatenate([s.known for s in session.parts["val"]])
    weights, intercept = np.zeros((x.shape[1], y.shape[1])), np.zeros(y.shape[1])
    chosen, losses = np.zeros(y.shape[1]), np.zeros(y.shape[1])
    paths: dict[bytes, RidgePath] = {}
    for d in range(y.shape[1]):
        rows = known[:, d]
        key = rows.tobytes()
        if key not in paths:  # targets that are known in the same bins share the decomposition
            alike = (known == rows[:, None]).all(0)
            paths = {key: RidgePath(x[rows], np.where(alike, y, 0)[rows])}
        path = paths[key]
        best = np.inf
        for relative in penalties:
            w, b = path.coefficients(relative * path.size)
            error = (val_x @ w[:, d] + b[d] - val_y[:, d])[val_known[:, d]]
            loss = float((error**2).mean())
            if loss < best:
                best, chosen[d], losses[d] = loss, relative, loss
                weights[:, d], intercept[d] = w[:, d], b[d]
    return LinearFit(
        features=features, weights=weights, intercept=intercept, penalty=chosen, val_loss=float(losses.mean())
    )
