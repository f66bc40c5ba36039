"""Posterior variance in the intensity, the evidence lower bound, and its share of each chunk."""

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from neuroformer.batch import Batch
from neuroformer.model import Neuroformer, SessionShape
from neuroformer.model.shrinkage import ShrunkWeight

Model = Callable[..., Neuroformer]
Batches = Callable[..., Batch]
Event = tuple[int, int, int]
Draw = Callable[..., list[Event]]
Shape = Callable[..., SessionShape]

CERTAIN = -40.0  # log scale of a weight that is known


def shrunk(model: Neuroformer) -> dict[str, ShrunkWeight]:
    return {name: module for name, module in model.named_modules() if isinstance(module, ShrunkWeight)}


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("uncertain", ["coupling", "history", "trunk", ""])
def test_intensity_is_the_mean_over_the_posterior(
    make_model: Model,
    make_batch: Batches,
    draw_events: Draw,
    rng: np.random.Generator,
    rank: int,
    uncertain: str,
) -> None:
    model = make_model(rank=rank, layers=1)
    batch = make_batch(model, (0, draw_events(rng, n_bins=14, n_units=3)), n_bins=14, history=6)
    n_pairs = 100
    with torch.no_grad():
        for name, weight in shrunk(model).items():
            if not name.startswith(uncertain):
                weight.log_scale.fill_(CERTAIN)
        intensity = model(batch)[0][0].exp()
        sample = copy.deepcopy(model)
        drawn = []
        generator = torch.Generator().manual_seed(0)
        for _ in range(n_pairs):
            noise = {
                name: torch.randn(weight.mean.shape, generator=generator, dtype=torch.float64)
                for name, weight in shrunk(model).items()
            }
            pair = []
            for sign in (1, -1):  # opposite draws, so that the mean of the weights adds no error
                for name, weight in shrunk(sample).items():
                    original = shrunk(model)[name]
                    weight.mean.copy_(original.mean + sign * original.variance.sqrt() * noise[name])
                    weight.log_scale.fill_(CERTAIN)
                pair.append(sample(batch)[0][0].exp())
            drawn.append((pair[0] + pair[1]) / 2)
    samples = torch.stack(drawn)
    error = samples.std(0) / math.sqrt(n_pairs)
    assert ((samples.mean(0) - intensity).abs() <= 5 * error + 1e-9).all()
    # Leaving the variance out would not have passed.
    with torch.no_grad():
        for weight in shrunk(model).values():
            weight.log_scale.fill_(CERTAIN)
        plug_in = model(batch)[0][0].exp()
    assert ((samples.mean(0) - plug_in).abs() > 5 * error).any()


def test_loss_is_the_negative_evidence_lower_bound_per_event(
    make_model: Model, make_shape: Shape, make_batch: Batches, draw_events: Draw, rng: np.random.Generator
) -> None:
    model = make_model(make_shape(2), make_shape(4), n_levels=2)
    rows = [(s, draw_events(rng, n_bins=25, n_units=n, n_levels=2)) for s, n in ((1, 4), (0, 2), (1, 4))]
    batch = make_batch(model, *rows, n_bins=25, history=5, n_scored=[20, 10, 15])
    parts, found = model.loss(batch), model.likelihood(batch)
    n_events = sum(
        5 <= t < 5 + n for (_, events), n in zip(rows, (20, 10, 15), strict=True) for t, _, _ in events
    )
    torch.testing.assert_close(parts["nll"], -found.cells.sum().detach() / n_events)
    torch.testing.assert_close(parts["level_nll"], -found.levels.sum().detach() / n_events)
    kl = (0.35 * model.kl(1) + 0.10 * model.kl(0)).detach()  # of 100 training bins each
    torch.testing.assert_close(parts["kl"], kl / n_events, check_dtype=False, rtol=1e-6, atol=0)
    torch.testing.assert_close(
        parts["loss"].detach(), parts["nll"] + parts["level_nll"] + parts["kl"], check_dtype=False
    )
    assert [name for name, value in parts.items() if value.requires_grad] == ["loss"]


@pytest.mark.parametrize("rank", [0, 2])
def test_a_pass_over_the_training_bins_counts_each_prior_once(
    make_model: Model,
    make_shape: Shape,
    make_batch: Batches,
    draw_events: Draw,
    rng: np.random.Generator,
    rank: int,
) -> None:
    model = make_model(make_shape(2), make_shape(4), rank=rank)
    pieces = [(s, n) for s in (0, 1) for n in (30, 30, 17, 23)]  # 100 training bins a session
    total = 0.0
    for k in rng.permutation(8).reshape(4, 2):
        chunk = [pieces[i] for i in k]
        rows = [(s, draw_events(rng, n_bins=36, n_units=(2, 4)[s], rate=1.0)) for s, _ in chunk]
        batch = make_batch(model, *rows, n_bins=36, history=6, n_scored=[n for _, n in chunk])
        total += float(model.loss(batch)["kl"] * model.likelihood(batch).counts.sum().detach())
    assert total == pytest.approx(float((model.kl(0) + model.kl(1)).detach()), rel=1e-6)


def test_silent_batch_has_a_finite_loss(make_model: Model, make_batch: Batches) -> None:
    model = make_model(n_levels=2)
    loss = model.loss(make_batch(model, (0, []), n_bins=10))["loss"]
    loss.backward()
    assert bool(loss.isfinite())
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("layers", [0, 1])
def test_every_weight_learns(
    make_model: Model,
    make_shape: Shape,
    make_batch: Batches,
    draw_events: Draw,
    rng: np.random.Generator,
    rank: int,
    layers: int,
) -> None:
    model = make_model(make_shape(3), make_shape(4), rank=rank, layers=layers, n_levels=2)
    rows = [(s, draw_events(rng, n_bins=40, n_units=n, n_levels=2)) for s, n in ((0, 3), (1, 4))]
    model.loss(make_batch(model, *rows, n_bins=40))["loss"].backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_divergence_of_a_session_is_its_own(make_model: Model, make_shape: Shape) -> None:
    model = make_model(make_shape(2), make_shape(4))
    before = float(model.kl(1).detach())
    with torch.no_grad():
        model.history.own.mean[model.rows(0)] += 1.0
    assert float(model.kl(1).detach()) == before
    assert float(model.kl(0).detach()) > 0
