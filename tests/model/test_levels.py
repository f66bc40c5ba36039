"""Amplitude levels: a distribution over the levels of a session, at scored events only."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from neuroformer.batch import Batch
from neuroformer.model import Neuroformer, SessionShape

Model = Callable[..., Neuroformer]
Batches = Callable[..., Batch]
Event = tuple[int, int, int]
Shape = Callable[..., SessionShape]

T = 20
SHARES = ([1.0], [0.5, 0.3, 0.2], [0.25, 0.75])


@pytest.fixture
def model(make_model: Model, make_shape: Shape) -> Neuroformer:
    return make_model(*(make_shape(3, levels=shares) for shares in SHARES), n_levels=3)


@pytest.mark.parametrize("session", [0, 1, 2])
@torch.no_grad()
def test_probabilities_sum_to_one_over_the_levels_of_the_session(
    model: Neuroformer, make_batch: Batches, session: int
) -> None:
    past, n_levels = [(3, 1, 0), (9, 0, 0)], len(SHARES[session])
    found = [
        model.likelihood(make_batch(model, (session, [*past, (12, 2, level)]), n_bins=T)).levels[0, 2].exp()
        for level in range(3)
    ]
    assert float(sum(found[:n_levels])) == pytest.approx(1.0, abs=1e-9)
    assert all(float(p) < 1e-9 for p in found[n_levels:])
    assert all(float(p) > 1e-3 for p in found[:n_levels])


@torch.no_grad()
def test_only_scored_events_have_a_likelihood_of_their_level(model: Neuroformer, make_batch: Batches) -> None:
    events = [(2, 0, 1), (9, 1, 0), (10, 2, 2), (10, 2, 2), (14, 0, 1), (15, 0, 0)]
    levels = model.likelihood(
        make_batch(model, (1, events), n_bins=T, history=10, n_scored=[5], further_events=3)
    ).levels
    assert (levels != 0)[0].tolist() == [False, False, True, True, True, False, False, False, False]
    assert (levels[0, 2:5] < 0).all()


@torch.no_grad()
def test_level_depends_on_the_past_through_the_state_alone(model: Neuroformer, make_batch: Batches) -> None:
    quiet, busy = ([], [(t, j, 1) for t in range(9) for j in range(3)])
    a, b = (
        model.likelihood(make_batch(model, (1, [*past, (10, 0, 0)]), n_bins=T)).levels[0, len(past)]
        for past in (quiet, busy)
    )
    assert abs(float(a - b)) > 1e-3


@torch.no_grad()
def test_new_model_gives_levels_their_training_frequency(
    make_shape: Shape, make_batch: Batches, make_model: Model
) -> None:
    model = Neuroformer(
        config=make_model(state=0).config,
        bin_s=1.0,
        sessions=[make_shape(2, levels=[0.5, 0.3, 0.2])],
        n_levels=3,
    )
    batch = make_batch(model, (0, [(1, 0, 0), (2, 0, 1), (2, 1, 2)]), n_bins=5)
    np.testing.assert_allclose(model.likelihood(batch).levels[0].exp().numpy(), [0.5, 0.3, 0.2], rtol=1e-5)


@torch.no_grad()
def test_spikes_cost_nothing_for_their_level(make_model: Model, make_batch: Batches) -> None:
    model = make_model(n_levels=1)
    found = model.likelihood(make_batch(model, (0, [(1, 0, 0), (5, 2, 0)]), n_bins=T))
    assert (found.levels == 0).all()
