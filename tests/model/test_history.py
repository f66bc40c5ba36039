"""Own history against a loop over events, for units that fire often and for units that hardly do."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from neuroformer.batch import Batch
from neuroformer.model import Neuroformer, SessionShape

N = 6


@pytest.mark.parametrize("history", [0, 3, 20])
@pytest.mark.parametrize(("n_bins", "rate"), [(30, 0.5), (300, 0.004), (30, 0.0)])
def test_history_is_the_sum_over_a_units_own_events(
    make_model: Callable[..., Neuroformer],
    make_shape: Callable[..., SessionShape],
    make_batch: Callable[..., Batch],
    draw_events: Callable[..., list[tuple[int, int, int]]],
    rng: np.random.Generator,
    n_bins: int,
    rate: float,
    history: int,
) -> None:
    model = make_model(make_shape(2), make_shape(N))
    rows = [
        (1, draw_events(rng, n_bins=n_bins, n_units=N, rate=rate)),
        (0, draw_events(rng, n_bins=n_bins, n_units=2, rate=rate)),
    ]
    if rate:  # two events in one bin, one within reach of them, one at either end
        rows[0][1].extend([(0, 2, 0), (22, 4, 0), (22, 4, 0), (24, 4, 0), (n_bins - 1, 1, 0)])
    batch = make_batch(model, *rows, n_bins=n_bins, history=history, further_events=2)
    weight = torch.from_numpy(rng.uniform(0.5, 2.0, batch.event_bin.shape))
    own, basis = model.history.own, model.history.basis
    with torch.no_grad():
        mean, variance = model.history(weight, batch)
        assert mean.shape == variance.shape == (2, n_bins - history, N)
        traces = torch.zeros(2, n_bins, N, basis.shape[0], dtype=torch.float64)
        for b, e in batch.event_mask.nonzero().tolist():
            t, j = int(batch.event_bin[b, e]), int(batch.event_unit[b, e])
            for lag in range(1, min(basis.shape[1], n_bins - 1 - t) + 1):
                traces[b, t + lag, j] += weight[b, e] * basis[:, lag - 1]
        for b, (session, _) in enumerate(rows):
            units = model.rows(session)
            expected = (
                traces[b, history:, : len(units)] * (model.history.shared[session] + own.mean[units])
            ).sum(-1)
            torch.testing.assert_close(mean[b, :, : len(units)], expected, rtol=0, atol=1e-9)
            expected = (traces[b, history:, : len(units)].square() * own.variance[units]).sum(-1)
            torch.testing.assert_close(variance[b, :, : len(units)], expected, rtol=0, atol=1e-9)
            assert (mean[b, :, len(units) :] == 0).all()


def test_silence_in_a_long_chunk_leaves_the_result_as_it_is(
    make_model: Callable[..., Neuroformer], make_batch: Callable[..., Batch]
) -> None:
    """Whatever way is taken for few events in many bins, it gives what many events in few bins would."""
    model = make_model()
    events = [(1, 0, 0), (1, 0, 0), (2, 1, 0), (3, 0, 0), (5, 2, 0)]
    with torch.no_grad():
        short = model.likelihood(make_batch(model, (0, events), n_bins=9))
        long = model.likelihood(make_batch(model, (0, events), n_bins=900))
    torch.testing.assert_close(long.cells[:, :9], short.cells, rtol=0, atol=1e-9)
