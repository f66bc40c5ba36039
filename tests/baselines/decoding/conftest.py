"""Simulated behaviour and activity tuned to it."""

from collections.abc import Callable

import numpy as np
import pytest

from neuroformer.baselines.decoding import Target

BIN_S = 0.1
Made = tuple[list[np.ndarray], list[np.ndarray]]


@pytest.fixture
def linear() -> Target:
    return Target(name="position", unit="cm", bounds=((0.0, 100.0),))


@pytest.fixture
def walk() -> Callable[..., Made]:
    """`walk(kind, seed=…, lengths=…)`: counts of place cells and what they are tuned to, one array a stretch.

    Kinds: `line` and `circle` (0 to 100), `plane` (two of them), `classes` (0, 1, 2). The last two units are silent.
    """

    def make(
        kind: str = "line", *, seed: int = 0, lengths: tuple[int, ...] = (250, 150), n_units: int = 25
    ) -> Made:
        rng = np.random.default_rng(seed)
        place = np.random.default_rng(99).uniform(0, 100, (n_units, 2))  # the same animal for all seeds
        xs, ys = [], []
        for length in lengths:
            phase = np.cumsum(rng.normal(0.25, 0.1, (length, 2)), axis=0) + rng.uniform(0, 6, 2)
            y = phase * 20 % 100 if kind == "circle" else 50 + 50 * np.sin(phase)
            apart = np.abs(y[:, None] - place)
            if kind == "circle":
                apart = np.minimum(apart, 100 - apart)
            distance = np.hypot(*np.moveaxis(apart, 2, 0)) if kind == "plane" else apart[..., 0]
            rate = 0.05 + 2.5 * np.exp(-0.5 * (distance / 12) ** 2)
            if kind == "classes":
                state = np.floor(y[:, 0] / 33.4).astype(np.int64)
                rate = 0.1 + 1.0 * (state[:, None] == np.arange(n_units) % 3)
            x = rng.poisson(rate).astype(np.float32)
            x[:, -2:] = 0
            xs.append(x)
            ys.append(state if kind == "classes" else y[:, : 2 if kind == "plane" else 1])
        return xs, ys

    return make
