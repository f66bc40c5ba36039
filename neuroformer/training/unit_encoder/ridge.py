"""Ridge regression to many outputs whose penalty is chosen by leaving out one session at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
_FARTHEST = 4.0  # standard deviations; what lies farther out than any known unit is drawn in
_LEAST_GAIN = 0.02  # the best of several penalties does a little better than the mean on noise, too
_FOLDS = 5  # of the units, where there is a single session


@dataclass(frozen=True, kw_only=True)
class Ridge:
    """y ≈ mean + clip((x − centre) / scale) @ weight.

    Attributes:
        centre: (P,).
        scale: (P,).
        weight: (P, W); 0 where left-out sessions are not predicted better than by the mean.
        mean: (W,) of the outputs.
        gain: 1 − squared error on left-out sessions / that of the mean of the others; 0 where the mean is used.
    """

    centre: np.ndarray
    scale: np.ndarray
    weight: np.ndarray
    mean: np.ndarray
    gain: float

    def predict(self, x: np.ndarray) -> np.ndarray:
        """(N, P) → (N, W)."""
        z = np.clip((x - self.centre) / self.scale, -_FARTHEST, _FARTHEST)
        found: np.ndarray = self.mean + z @ self.weight
        return found

    def state(self) -> dict[str, Any]:
        """Builtins only, for the checkpoint."""
        arrays = {name: getattr(self, name).tolist() for name in ("centre", "scale", "weight", "mean")}
        return {**arrays, "gain": self.gain, "shape": list(self.weight.shape)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Ridge:
        """Rebuild from `state()`."""
        arrays = {name: np.asarray(state[name], float) for name in ("centre", "scale", "weight", "mean")}
        arrays["weight"] = arrays["weight"].reshape(state["shape"])
        return cls(**arrays, gain=float(state["gain"]))


def fit_ridge(x: np.ndarray, y: np.ndarray, scale: np.ndarray, groups: np.ndarray) -> Ridge:
    """Fit with the penalty under which left-out sessions are predicted best, or fall back to the mean.

    With one session, units are left out instead: what holds for other units of the same animal may not hold for
    another animal, so that `gain` is then too kind.

    Args:
        x: (U, P) inputs.
        y: (U, W) outputs.
        scale: (P,) what the inputs are divided by.
        groups: (U,) session of each row.
    """
    centre = x.mean(0)
    z = np.clip((x - centre) / scale, -_FARTHEST, _FARTHEST)
    if len(np.unique(groups)) < 2:
        groups = np.arange(len(x)) % min(_FOLDS, len(x))
    errors, of_mean = np.zeros(len(PENALTIES)), 0.0
    for group in np.unique(groups):
        out = groups == group
        if out.all():
            continue
        of_mean += float(np.square(y[out] - y[~out].mean(0)).sum())
        for k, weight in enumerate(_solve(z[~out], y[~out], PENALTIES)):
            found = y[~out].mean(0) + (z[out] - z[~out].mean(0)) @ weight
            errors[k] += float(np.square(y[out] - found).sum())
    best = int(errors.argmin())
    gain = 1 - float(errors[best]) / of_mean if of_mean > 0 else 0.0
    if gain < _LEAST_GAIN:
        weight = np.zeros((x.shape[1], y.shape[1]))
        return Ridge(centre=centre, scale=scale, weight=weight, mean=y.mean(0), gain=0.0)
    (weight,) = _solve(z, y, (PENALTIES[best],))
    return Ridge(centre=centre, scale=scale, weight=weight, mean=y.mean(0) - z.mean(0) @ weight, gain=gain)


def _solve(z: np.ndarray, y: np.ndarray, penalties: tuple[float, ...]) -> list[np.ndarray]:
    """(P, W) weights for each penalty, about the means."""
    z, y = z - z.mean(0), y - y.mean(0)
    values, vectors = np.linalg.eigh(z.T @ z)
    along = vectors.T @ (z.T @ y)
    return [vectors @ (along / (np.maximum(values, 0) + penalty)[:, None]) for penalty in penalties]
