"""Room for a new session, and what is read out of the model for one."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from neuroformer.batch import Batch
from neuroformer.model import CouplingConfig, ModelConfig, Neuroformer, SessionShape, context_bins
from neuroformer.model.coupling import FullCoupling, LowRankCoupling

Model = Callable[..., Neuroformer]
Batches = Callable[..., Batch]
Draw = Callable[..., list[tuple[int, int, int]]]
Shape = Callable[..., SessionShape]

ranks = pytest.mark.parametrize("rank", [0, 2])


@ranks
@pytest.mark.parametrize("state", [0, 4])
def test_new_session_leaves_what_is_there_bit_for_bit(
    make_model: Model,
    make_shape: Shape,
    make_batch: Batches,
    draw_events: Draw,
    rng: np.random.Generator,
    rank: int,
    state: int,
) -> None:
    model = make_model(make_shape(3), make_shape(2), rank=rank, state=state, n_levels=2)
    batch = make_batch(model, (1, draw_events(rng, n_bins=30, n_units=2, n_levels=2)), n_bins=30)
    with torch.no_grad():
        before, found = {k: v.clone() for k, v in model.state_dict().items()}, model.likelihood(batch)
        kl = [model.kl(0), model.kl(1)]
    model.add_session(make_shape(5, levels=[0.5, 0.5]))
    after = model.state_dict()
    for name, value in before.items():
        assert torch.equal(after[name][: len(value)] if value.ndim else after[name], value), name
        assert after[name].dtype == value.dtype, name
    with torch.no_grad():
        again = model.likelihood(batch)
        assert all(
            torch.equal(getattr(found, k), getattr(again, k)) for k in ("cells", "levels", "log_intensity")
        )
        assert [model.kl(0), model.kl(1)] == kl
    assert all(p.requires_grad for p in model.parameters())


@ranks
def test_new_session_has_rows_after_the_others_and_starts_at_its_rates(
    make_model: Model, make_shape: Shape, make_batch: Batches, rank: int
) -> None:
    model = make_model(make_shape(3), make_shape(2), rank=rank)
    shape = make_shape(5)
    model.add_session(shape)
    assert [model.rows(s).tolist() for s in range(3)] == [[0, 1, 2], [3, 4], [5, 6, 7, 8, 9]]
    assert model.train_bins.tolist() == [100, 100, 100]
    with torch.no_grad():
        silent = model(make_batch(model, (2, []), n_bins=8))[0][0].exp()
    torch.testing.assert_close(silent, shape.rate.expand(8, 5), rtol=0.01, atol=0)


def test_kind_of_coupling_follows_the_largest_session(make_shape: Shape) -> None:
    def kind(rank: int | None, *sizes: int) -> type:
        config = ModelConfig(coupling=CouplingConfig(rank=rank))
        return type(Neuroformer(config=config, bin_s=0.005, sessions=[make_shape(n) for n in sizes]).coupling)

    assert kind(None, 3, 128) is FullCoupling
    assert kind(None, 3, 129) is LowRankCoupling
    assert kind(0, 129) is FullCoupling
    assert kind(4, 3) is LowRankCoupling


def test_model_with_a_larger_session_added_is_rebuilt_from_its_own_settings(make_shape: Shape) -> None:
    shapes = [make_shape(3), make_shape(130)]
    model = Neuroformer(config=ModelConfig(), bin_s=0.005, sessions=shapes[:1])
    model.add_session(shapes[1])
    rebuilt = Neuroformer(config=model.config, bin_s=0.005, sessions=shapes)
    rebuilt.load_state_dict(model.state_dict())


@ranks
def test_map_is_what_an_event_does_to_the_others(
    make_model: Model, make_shape: Shape, make_batch: Batches, rank: int
) -> None:
    """Without a trunk and without posterior variance, the log-intensity after one event *is* the map."""
    model = make_model(make_shape(2), make_shape(4), rank=rank, state=0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("log_scale"):
                parameter.fill_(-40.0)
    mean, variance = model.coupling_map(1)
    assert mean.shape == variance.shape == (4, 4, 4)  # source, target, lag
    assert (mean.diagonal() == 0).all()
    assert (variance.diagonal() == 0).all()
    own = model.history.kernel(1, model.rows(1))
    with torch.no_grad():
        rest = model(make_batch(model, (1, []), n_bins=8))[0][0]
        for source in range(4):
            effect = model(make_batch(model, (1, [(0, source, 0)]), n_bins=8))[0][0] - rest
            for target in range(4):
                if source != target:
                    torch.testing.assert_close(effect[1:5, target], mean[source, target], rtol=0, atol=1e-9)
                    assert (effect[5:, target].abs() < 1e-9).all()
                elif rank == 0:  # a low-rank product has a diagonal, which adds to own history
                    torch.testing.assert_close(effect[1:6, target], own[target], rtol=0, atol=1e-9)


@ranks
def test_map_is_made_of_the_weights_of_its_heads(make_model: Model, make_shape: Shape, rank: int) -> None:
    model = make_model(make_shape(2), make_shape(4), rank=rank)
    for session, n_units in enumerate((2, 4)):
        weights = model.coupling_weights(session)
        assert weights.shape == (2, n_units, n_units)  # head, source, target
        assert not weights.requires_grad
        assert (weights.diagonal(dim1=1, dim2=2) == 0).all()
        mean, _ = model.coupling_map(session)
        with torch.no_grad():
            profile = torch.einsum("hst,hl->stl", weights, model.coupling.kernels())
            heads = model.coupling.head_weights(session, model.rows(session))
        torch.testing.assert_close(profile, mean)
        torch.testing.assert_close(heads - heads.diagonal(dim1=1, dim2=2).diag_embed(), weights)


@ranks
def test_map_knows_how_sure_it_is(make_model: Model, make_shape: Shape, rank: int) -> None:
    model = make_model(make_shape(3), rank=rank)
    mean, variance = model.coupling_map(0)
    off = ~torch.eye(3, dtype=torch.bool)
    assert (variance[off] > 0).all()
    assert not mean.requires_grad
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("coupling") and name.endswith("log_scale"):
                parameter.add_(np.log(2))
    wider_mean, wider = model.coupling_map(0)
    torch.testing.assert_close(wider, 4 * variance)
    assert torch.equal(wider_mean, mean)


def test_context_of_a_model_is_that_of_its_settings() -> None:
    config = ModelConfig()
    shape = SessionShape(rate=torch.ones(2), train_bins=10, level_frequency=torch.ones(1))
    for bin_s in (0.001, 0.005, 0.02):
        model = Neuroformer(config=config, bin_s=bin_s, sessions=[shape])
        assert model.context == context_bins(config, bin_s) == round(1.5 / bin_s)  # 4 · 0.25 s + 0.5 s
