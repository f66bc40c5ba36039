"""Sessions of a batch are computed with together, and give what each gives alone."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from neuroformer.batch import Batch
from neuroformer.model import Neuroformer, SessionShape
from neuroformer.model.coupling import FullCoupling, off_diagonal

SIZES = (3, 9, 2, 8, 3, 10)


@pytest.mark.parametrize(
    "sessions", [(1, 3, 5), (4, 0, 4, 0), (5, 2, 0, 3, 1, 4, 2, 5), (2,), (2, 2), (5, 2)]
)
def test_full_matrices_of_many_sessions_are_as_if_alone(
    make_model: Callable[..., Neuroformer],
    make_shape: Callable[..., SessionShape],
    make_batch: Callable[..., Batch],
    draw_events: Callable[..., list[tuple[int, int, int]]],
    rng: np.random.Generator,
    sessions: tuple[int, ...],
) -> None:
    model = make_model(*map(make_shape, SIZES))
    coupling = model.coupling
    assert isinstance(coupling, FullCoupling)
    rows = [(s, draw_events(rng, n_bins=20, n_units=SIZES[s])) for s in sessions]
    batch = make_batch(model, *rows, n_bins=20, history=6)
    direction = [
        torch.from_numpy(rng.normal(size=(len(rows), 14, max(SIZES[s] for s in sessions)))) for _ in "mv"
    ]

    def computed() -> tuple[list[torch.Tensor], list[torch.Tensor | None]]:
        model.zero_grad()
        found = coupling(model.event_weight(batch), batch)
        sum((x * d).sum() for x, d in zip(found, direction, strict=True)).backward()
        return [x.detach() for x in found], [p.grad for p in coupling.parameters()]

    found, gradients = (coupling.train(), computed())[1]
    expected, expected_gradients = (coupling.eval(), computed())[1]
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)
    for x, y in zip(gradients, expected_gradients, strict=True):
        assert (x is None) == (y is None)
        if x is not None and y is not None:
            torch.testing.assert_close(x, y)
    # Brute force, of the log-gains by lag.
    for row, (session, events) in enumerate(rows):
        gain, _ = model.coupling_map(session)
        total = torch.zeros(14, SIZES[session], dtype=torch.float64)
        for at, source, _ in events:
            for lag in range(1, gain.shape[2] + 1):
                if 6 <= at + lag < 20:
                    total[at + lag - 6] += gain[source, :, lag - 1]
        torch.testing.assert_close(found[0][row, :, : SIZES[session]], total)
        for x in found:
            assert (x[row, :, SIZES[session] :] == 0).all()


@pytest.mark.parametrize("rank", [0, 2])
def test_kl_of_many_sessions_is_that_of_each(
    make_model: Callable[..., Neuroformer],
    make_shape: Callable[..., SessionShape],
    make_batch: Callable[..., Batch],
    rank: int,
) -> None:
    model = make_model(*map(make_shape, SIZES), rank=rank)
    sessions = (5, 2, 0, 3, 2)
    batch = make_batch(model, *((s, []) for s in sessions), n_bins=10)
    found = model.loss(batch)["kl"]  # of no event, counted as one
    expected = sum(float(model.kl(s).detach()) * 10 / 100 for s in sessions)
    assert float(found) == pytest.approx(expected, rel=1e-12)
    if isinstance(model.coupling, FullCoupling):
        for session in sessions:
            weight = model.coupling.sessions[session]
            alone = weight.kl(mask=off_diagonal(SIZES[session], weight.mean))
            parts = model.history.own.kl(model.rows(session)) + model.trunk.readout.kl(model.rows(session))
            parts = parts + 0.5 * model.level_unit[model.rows(session)].square().sum()
            torch.testing.assert_close(model.kl(session), alone + parts)
