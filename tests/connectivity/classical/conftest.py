"""Counts with known wiring."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from neuroformer.connectivity.counts import BinnedCounts

BIN_S = 0.005


@pytest.fixture(scope="session")
def as_counts() -> Callable[..., BinnedCounts]:
    """`as_counts(piece, …)`: recording whose intervals are the given (bins, N) arrays of counts."""

    def make(*pieces: np.ndarray) -> BinnedCounts:
        intervals = tuple(sparse.csr_array(piece.astype(float)) for piece in pieces)
        return BinnedCounts(path=Path("circuit.h5"), bin_s=BIN_S, intervals=intervals)

    return make


@pytest.fixture(scope="session")
def network() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(counts (bins, N), signs [source, target], delays in bins): 8 separate pairs, every third one silencing.

    No unit has two partners, so that what depends on another unit is also connected to it.
    """
    rng = np.random.default_rng(0)
    n, n_bins = 16, 40_000
    fires = rng.random((n_bins, n)) < rng.uniform(0.03, 0.08, n)
    signs, delays = np.zeros((2, n, n), dtype=int)
    for kind, (source, target) in enumerate(rng.permutation(n).reshape(8, 2)):
        delay, sign = 1 + kind % 5, -1 if kind % 3 == 2 else 1
        sent = np.zeros(n_bins, dtype=bool)
        sent[delay:] = fires[:-delay, source] & (rng.random(n_bins - delay) < (0.2 if sign > 0 else 0.95))
        fires[:, target] = fires[:, target] | sent if sign > 0 else fires[:, target] & ~sent
        signs[source, target], delays[source, target] = sign, delay
    return fires.astype(int), signs, delays
