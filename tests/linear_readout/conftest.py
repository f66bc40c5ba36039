"""Animals whose units have weights that their names share."""

from __future__ import annotations

import numpy as np
import pytest

from neuroformer.linear_readout import Rows

NAMES = tuple("abcdefgh")


class Herd:
    """Animals of eight named and four unnamed units; weights of a name are alike in all of them."""

    def __init__(self, *, own: float = 0.15, noise: float = 0.5, rho: float = 0.0, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.weights = self.rng.normal(0, 0.6, (len(NAMES), 2))
        self.own, self.noise, self.rho = own, noise, rho

    def animal(self, n: int = 200, *, offset: float = 0.0, scale: float = 1.0) -> Rows:
        order = self.rng.permutation(len(NAMES) + 4)
        names = [NAMES[i] if i < len(NAMES) else "" for i in order]
        mean = np.concatenate([self.weights, np.zeros((4, 2))])[order]
        w = mean + self.own * self.rng.normal(size=mean.shape)
        features = self.rng.normal(size=(n, len(order), 2))
        error = self.rng.normal(size=n)
        for t in range(1, n):
            error[t] = self.rho * error[t - 1] + np.sqrt(1 - self.rho**2) * error[t]
        y = np.einsum("nuk,uk->n", features, w) + self.noise * error
        return Rows(
            features=features, y=offset + scale * y, bins=np.arange(n), stretch=np.zeros(n, int), names=tuple(names)
        )  # fmt: skip


@pytest.fixture
def herd() -> Herd:
    return Herd()


@pytest.fixture
def herds() -> type[Herd]:
    return Herd
