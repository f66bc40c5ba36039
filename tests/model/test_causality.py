"""What may move what: the future and the present nothing, one row of a batch no other."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from neuroformer.batch import Batch
from neuroformer.model import Likelihood, Neuroformer, SessionShape

Model = Callable[..., Neuroformer]
Batches = Callable[..., Batch]
Event = tuple[int, int, int]
Draw = Callable[..., list[Event]]
Shape = Callable[..., SessionShape]

T, N = 30, 4

kinds = pytest.mark.parametrize(
    ("rank", "layers", "n_levels"), [(0, 0, 1), (0, 1, 3), (2, 1, 1), (2, 0, 3), (0, 2, 1), (2, 2, 3)]
)


@kinds
def test_events_of_a_bin_and_later_move_nothing_up_to_that_bin(
    make_model: Model,
    make_shape: Shape,
    make_batch: Batches,
    draw_events: Draw,
    rng: np.random.Generator,
    rank: int,
    layers: int,
    n_levels: int,
) -> None:
    model = make_model(make_shape(N), rank=rank, layers=layers, n_levels=n_levels)
    events = draw_events(rng, n_bins=T, n_units=N, n_levels=n_levels)

    @torch.no_grad()
    def run(events: list[Event]) -> tuple[torch.Tensor, list[float]]:
        batch = make_batch(model, (0, events), n_bins=T)
        return model(batch)[0][0], model.likelihood(batch).levels[0].tolist()

    reference, levels = run(events)
    for t in (0, 7, 15, T - 1):
        past = [e for e in events if e[0] < t]
        other = [
            (s + t, j, k)
            for s, j, k in draw_events(rng, n_bins=T - t, n_units=N, rate=0.6, n_levels=n_levels)
        ]
        more = sorted([*events, (t, 0, n_levels - 1)])
        for changed in (past, past + other, more):
            found, found_levels = run(changed)
            torch.testing.assert_close(found[: t + 1], reference[: t + 1], rtol=0, atol=1e-9)
            np.testing.assert_allclose(found_levels[: len(past)], levels[: len(past)], rtol=0, atol=1e-9)
            if t < T - 1 and changed != events:
                assert (found[t + 1 :] - reference[t + 1 :]).abs().max() > 1e-4  # the test can fail


def test_a_level_moves_the_bins_after_it_only(
    make_model: Model, make_shape: Shape, make_batch: Batches
) -> None:
    model = make_model(make_shape(N), n_levels=3)
    low, high = ([(3, 1, 0), (10, 2, level), (20, 0, 0)] for level in (0, 2))
    with torch.no_grad():
        a, b = (model(make_batch(model, (0, events), n_bins=T))[0][0] for events in (low, high))
    torch.testing.assert_close(a[:11], b[:11], rtol=0, atol=1e-12)
    assert ((a - b)[11:15].abs() > 1e-6).any(1).all()


def test_events_of_one_bin_do_not_know_of_one_another(
    make_model: Model, make_shape: Shape, make_batch: Batches
) -> None:
    model = make_model(make_shape(N), n_levels=2)
    before = [(2, 0, 0), (5, 1, 1)]
    with torch.no_grad():
        alone = model.likelihood(make_batch(model, (0, [*before, (8, 2, 1)]), n_bins=T))
        among = model.likelihood(
            make_batch(model, (0, [*before, (8, 0, 0), (8, 1, 1), (8, 2, 1), (8, 2, 1), (8, 3, 0)]), n_bins=T)
        )
    torch.testing.assert_close(among.log_intensity[0, 8], alone.log_intensity[0, 8], rtol=0, atol=1e-12)
    torch.testing.assert_close(among.levels[0, 4:6], alone.levels[0, 2].expand(2), rtol=0, atol=1e-12)


def alike(found: Likelihood, row: int, other: Likelihood, other_row: int, n_units: int, n_bins: int) -> None:
    for name in ("cells", "log_intensity", "counts"):
        a = getattr(found, name)[row, :n_bins, :n_units]
        b = getattr(other, name)[other_row, :n_bins, :n_units]
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9)
    assert float(found.levels[row].sum()) == pytest.approx(float(other.levels[other_row].sum()), abs=1e-9)


@kinds
def test_a_row_has_the_same_result_in_any_company(
    make_model: Model,
    make_shape: Shape,
    make_batch: Batches,
    draw_events: Draw,
    rng: np.random.Generator,
    rank: int,
    layers: int,
    n_levels: int,
) -> None:
    sizes = (2, 6, 4)
    model = make_model(*map(make_shape, sizes), rank=rank, layers=layers, n_levels=n_levels)
    rows = [
        (s, draw_events(rng, n_bins=T, n_units=sizes[s], rate=rate, n_levels=n_levels))
        for s, rate in ((0, 0.2), (1, 0.8), (0, 0.0), (2, 0.3), (1, 0.1))
    ]
    scored = [15, 20, 20, 11, 20]
    with torch.no_grad():
        together = model.likelihood(make_batch(model, *rows, n_bins=T, history=10, n_scored=scored))
        for k, (session, events) in enumerate(rows):
            seen = [e for e in events if e[0] < 10 + scored[k]]
            alone = make_batch(model, (session, seen), n_bins=10 + scored[k], history=10)
            alike(model.likelihood(alone), 0, together, k, sizes[session], scored[k])
            padded = make_batch(model, rows[k], n_bins=T, history=10, n_scored=[scored[k]], further_events=7)
            alike(model.likelihood(padded), 0, together, k, sizes[session], scored[k])


@kinds
def test_permuted_rows_have_permuted_results(
    make_model: Model,
    make_shape: Shape,
    make_batch: Batches,
    draw_events: Draw,
    rng: np.random.Generator,
    rank: int,
    layers: int,
    n_levels: int,
) -> None:
    sizes = (2, 6, 4)
    model = make_model(*map(make_shape, sizes), rank=rank, layers=layers, n_levels=n_levels)
    rows = [
        (s, draw_events(rng, n_bins=T, n_units=sizes[s], n_levels=n_levels)) for s in (0, 1, 2, 1, 0, 2, 0)
    ]
    order = rng.permutation(len(rows))
    with torch.no_grad():
        straight = model.likelihood(make_batch(model, *rows, n_bins=T))
        permuted = model.likelihood(make_batch(model, *[rows[k] for k in order], n_bins=T))
    for new, old in enumerate(order):
        alike(permuted, new, straight, int(old), sizes[rows[old][0]], T)
