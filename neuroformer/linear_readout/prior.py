"""What other animals say of the weights of a new one.

A unit's K weights are w = m(name) + v with v ~ N(0, S): m is what the neuron of that name does in every animal, known
with an uncertainty that is correlated between names, and v what is the animal's own. A unit without a name, or with
one that no other animal has, has weights N(0, U).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadoutPrior:
    """Prior of the weights of one number, in units of its scale.

    Attributes:
        names: C names that other animals have.
        mean: (C·K,) of their weights.
        covariance: (C·K, C·K) of the same.
        named: (K, K) covariance S of an animal's own part.
        unnamed: (K, K) covariance U of units without a known name.
        intercept: variance of the intercept.
        rho: correlation of the errors of neighbouring bins.
        noise: mean and standard deviation, over animals, of the logarithm of the variance of the errors.
        size: mean and standard deviation of the logarithm of the factor on all prior covariances.
        evidence: exponent of the likelihood: stretches of time differ by more than the model has it.
        factor: on the spread, so that 80 % intervals cover 80 % in animals left out.
        slope: of the logistic function that makes a probability of a class; 0 where there are no classes.
        own_scale: whether the number is standardised in each animal by its own labels; else by `centre` and `scale`.
        centre: mean over animals of the number, in its unit.
        scale: its standard deviation.
    """

    names: tuple[str, ...]
    mean: np.ndarray
    covariance: np.ndarray
    named: np.ndarray
    unnamed: np.ndarray
    intercept: float
    rho: float = 0.0
    noise: tuple[float, float] = (0.0, 2.0)
    size: tuple[float, float] = (0.0, 3.0)
    evidence: float = 1.0
    factor: float = 1.0
    slope: float = 0.0
    own_scale: bool = False
    centre: float = 0.0
    scale: float = 1.0

    @property
    def functions(self) -> int:
        """Weights per unit K."""
        return len(self.named)

    def of_units(self, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(D,) mean and (D, D) covariance of the weights of units with these names, the intercept last."""
        k = self.functions
        where = {name: i for i, name in enumerate(self.names)}
        known = np.array([where.get(name, -1) for name in names], int)
        n_units = len(known)
        mean, covariance = np.zeros(n_units * k + 1), np.zeros((n_units * k + 1,) * 2)
        blocks = covariance[:-1, :-1].reshape(n_units, k, n_units, k)
        at = np.arange(n_units)
        blocks[at, :, at, :] = np.where((known >= 0)[:, None, None], self.named, self.unnamed)
        covariance[-1, -1] = self.intercept
        rows, columns = weight_rows(known, k)
        mean[rows] = self.mean[columns]
        covariance[np.ix_(rows, rows)] += self.covariance[np.ix_(columns, columns)]
        return mean, covariance

    def standards(self, y: np.ndarray) -> tuple[float, float]:
        """Mean and scale by which an animal's number is standardised, from its labels alone.

        Few labels say little of either, so that they count beside `_PSEUDO` labels of an average animal.
        """
        if not self.own_scale:
            return self.centre, self.scale
        n = len(y)
        mean = (_PSEUDO * self.centre + y.sum()) / (_PSEUDO + n)
        about = ((y - y.mean()) ** 2).sum() if n else 0.0
        return float(mean), float(np.sqrt((_PSEUDO * self.scale**2 + about) / (_PSEUDO + n)))

    def state(self) -> dict[str, Any]:
        """Builtins only, for the checkpoint."""
        arrays = ("mean", "covariance", "named", "unnamed")
        found: dict[str, Any] = {name: getattr(self, name).tolist() for name in arrays}
        found |= {"names": list(self.names), "noise": list(self.noise), "size": list(self.size)}
        plain = ("intercept", "rho", "evidence", "factor", "slope", "own_scale", "centre", "scale")
        return found | {name: getattr(self, name) for name in plain}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> ReadoutPrior:
        """Rebuild from `state()`."""
        k = len(state["named"])
        n = len(state["names"]) * k
        return cls(
            **{
                **state,
                "names": tuple(state["names"]),
                "mean": np.asarray(state["mean"], float).reshape(n),
                "covariance": np.asarray(state["covariance"], float).reshape(n, n),
                "named": np.asarray(state["named"], float),
                "unnamed": np.asarray(state["unnamed"], float),
                "noise": tuple(state["noise"]),
                "size": tuple(state["size"]),
            }
        )


_PSEUDO = 30


def wide_prior(n_units: int, functions: int, *, rho: float = 0.0) -> ReadoutPrior:
    """Of an animal about which no other says anything: scale and noise come from its labels alone.

    Args:
        n_units: units N; the features together are to explain about the variance of a standardised number.
        functions: weights per unit.
        rho: correlation of the errors of neighbouring bins.
    """
    each = np.eye(functions) / (n_units * functions)
    none = np.zeros(0)
    return ReadoutPrior(
        names=(), mean=none, covariance=none.reshape(0, 0), named=each, unnamed=each, intercept=1.0, rho=rho,
        noise=(-1.0, 2.0), size=(0.0, 3.0), own_scale=True,
    )  # fmt: skip


def weight_rows(known: np.ndarray, functions: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the units that have a known name, and the weights of these names.

    Args:
        known: (N,) number of each unit's name, −1 without one.
        functions: weights per unit K.
    """
    units = np.flatnonzero(known >= 0)
    steps = np.arange(functions)
    return (units[:, None] * functions + steps).ravel(), (known[units][:, None] * functions + steps).ravel()
