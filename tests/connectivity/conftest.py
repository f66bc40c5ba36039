"""Batches of a count matrix, tiled as a recording is, and couplings made by hand instead of fitted."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from neuroformer.batch import Batch
from neuroformer.connectivity.moments import LogLinearCoupling

BIN_S = 0.005


def tile(counts: np.ndarray, *, history: int, piece: int, rows: int) -> list[Batch]:
    """Cut (T, N) counts into pieces that score every bin once, `rows` a batch, each with the history before it."""
    pieces = [range(start, min(start + piece, len(counts))) for start in range(0, len(counts), piece)]
    return [_batch(counts, pieces[k : k + rows], history) for k in range(0, len(pieces), rows)]


def _batch(counts: np.ndarray, pieces: list[range], history: int) -> Batch:
    n_units = counts.shape[1]
    padded = np.concatenate([np.zeros((history, n_units), int), counts])
    events = []
    for piece in pieces:
        part = padded[piece.start : piece.stop + history]
        bins, units = part.nonzero()
        events.append(np.repeat(np.stack([bins, units]), part[bins, units], axis=1))
    n_events = max(1, *(found.shape[1] for found in events))
    both = torch.zeros(2, len(pieces), n_events, dtype=torch.long)
    mask = torch.zeros(len(pieces), n_events, dtype=torch.bool)
    scored = torch.zeros(len(pieces), history + max(map(len, pieces)), dtype=torch.bool)
    for row, (found, piece) in enumerate(zip(events, pieces, strict=True)):
        both[:, row, : found.shape[1]] = torch.from_numpy(found)
        mask[row, : found.shape[1]] = True
        scored[row, history : history + len(piece)] = True
    return Batch(
        session=torch.zeros(len(pieces), dtype=torch.long),
        unit_row=torch.arange(n_units).expand(len(pieces), -1),
        unit_mask=torch.ones(len(pieces), n_units, dtype=torch.bool),
        event_unit=both[1],
        event_bin=both[0],
        event_level=torch.zeros_like(both[0]),
        event_mask=mask,
        scored=scored,
    )


def constant(counts: np.ndarray, *, n_lags: int = 10) -> LogLinearCoupling:
    """Rates that nothing changes, with two kernels and no weight: what is left over is all there is to read."""
    rate = torch.as_tensor((counts.sum(0) + 0.5) / len(counts), dtype=torch.float32)
    lag = torch.arange(1, n_lags + 1)
    return LogLinearCoupling(
        log_intensity=lambda batch: rate.log().expand(len(batch.scored), batch.n_bins - batch.first_scored, -1),
        kernels=torch.stack([torch.exp(-lag / 2), torch.exp(-lag / 6)]),
        weights=np.zeros((2, counts.shape[1], counts.shape[1])),
        rate=rate,
        bin_s=BIN_S,
    )


@pytest.fixture(scope="session")
def tiles() -> Callable[..., list[Batch]]:
    """`tiles(counts, history=, piece=, rows=)`: batches of a count matrix (T, N)."""
    return tile


@pytest.fixture(scope="session")
def constant_rates() -> Callable[..., LogLinearCoupling]:
    """`constant_rates(counts)`: a coupling without weights, every unit at its own rate."""
    return constant
