import numpy as np
import pytest
import torch

from neuroformer.connectivity.trunk_attention import (
    attention_gradient,
    attention_rollout,
    rolled_out,
    self_attention,
)

METHODS = [self_attention, attention_rollout, attention_gradient]


@pytest.fixture(params=[0, 1], ids=["first session", "second session"])
def session(request):
    return request.param


def attention(model, batch):
    """Weights (B, H, E, E) of every block, and the tokens before the first."""
    x, angles, mask = model.trunk.embed(batch), model.trunk.angles(batch), model.trunk.mask(batch)
    start, weights = x, []
    for block in model.trunk.blocks:
        weights.append(block.weights(x, angles, mask))
        x = block(x, angles, mask)
    return start, weights


def log_rates(model, batch, weights):
    """(N,) summed log-intensities of the scored bins, with these weights of attention."""
    x, angles = model.trunk.embed(batch), model.trunk.angles(batch)
    for block, given in zip(model.trunk.blocks, weights, strict=True):
        x = block.attended(x, angles, given)
    mean, variance = model.trunk(model.trunk.state(batch, model.event_weight(batch), tokens=x), batch)
    scored = batch.scored[:, batch.first_scored :, None]
    return ((mean + variance / 2) * scored).sum((0, 1))


@torch.no_grad()
@pytest.mark.parametrize("layers", [1, 2])
def test_the_gradient_map_is_the_slope_in_the_attention_to_a_source(
    recorded, make_random_model, session, layers
):
    """Scale all attention to the events of a source by 1 + s, and take the slope at s = 0 by finite differences."""
    model, recording = make_random_model(state=4, layers=layers, log_scale=-1.0), recorded.recordings[session]
    n = recording.session.n_units
    slope, events, step = np.zeros((n, n)), np.zeros(n), 1e-5
    for _, batch in recorded.in_order("val", [recording]):
        _, weights = attention(model, batch)
        for source in range(n):
            key = ((batch.event_unit == source) & batch.event_mask).double()
            events[source] += key.sum()
            up, down = (
                log_rates(model, batch, [w * (1 + sign * step * key[:, None, None]) for w in weights])
                for sign in (1, -1)
            )
            slope[source] += ((up - down) / (2 * step)).numpy()
    expected = slope / np.maximum(events, 1)[:, None]
    np.fill_diagonal(expected, 0)
    with torch.enable_grad():
        found = attention_gradient(model, recorded, recording)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(found.matrix, expected, rtol=1e-4, atol=1e-7)


@torch.no_grad()
def test_attention_as_it_is_gives_the_models_own_intensities(recorded, make_random_model):
    model = make_random_model(state=4, layers=2, log_scale=-1.0)
    _, batch = next(recorded.in_order("val", recorded.recordings[:1]))
    _, weights = attention(model, batch)
    trunk = log_rates(model, batch, weights)
    mean, variance = model.trunk(model.trunk.state(batch, model.event_weight(batch)), batch)
    scored = batch.scored[:, batch.first_scored :, None]
    torch.testing.assert_close(trunk, ((mean + variance / 2) * scored).sum((0, 1)), rtol=1e-6, atol=1e-6)


def test_blocks_that_have_learned_nothing_have_no_gradient(recorded, make_random_model):
    model = make_random_model(state=4, layers=2)
    for block in model.trunk.blocks:
        torch.nn.init.zeros_(block.out.weight)
    found = attention_gradient(model, recorded, recorded.recordings[0])
    assert (found.matrix == 0).all()
    assert (found.p_values[~np.eye(3, dtype=bool)] == 1).all()


def multiplied_up(first, second):
    one = torch.eye(first.shape[-1], dtype=first.dtype)
    return (second + one) @ (first + one) / 4


@torch.no_grad()
@pytest.mark.parametrize(
    ("method", "combine"),
    [(self_attention, lambda first, second: (first + second) / 2), (attention_rollout, multiplied_up)],
)
def test_attention_paid_is_that_of_a_loop_over_events(recorded, make_random_model, method, combine):
    model, recording, n = make_random_model(state=4, layers=2), recorded.recordings[1], 5
    paid, events = np.zeros((n, n)), np.zeros(n)
    for _, batch in recorded.in_order("val", [recording]):
        weights = combine(*(block.mean(1) for block in attention(model, batch)[1]))
        for row in range(len(batch.session)):
            for e in range(batch.event_bin.shape[1]):
                at = int(batch.event_bin[row, e])
                earlier = [k for k in range(e) if batch.event_bin[row, k] < at]
                if not batch.event_mask[row, e] or at < batch.first_scored or not earlier:
                    continue
                target = int(batch.event_unit[row, e])
                events[target] += 1
                for k in range(earlier[-1] + 1):
                    paid[batch.event_unit[row, k], target] += float(weights[row, earlier[-1], k])
    firing = events > 0
    assert firing.tolist() == [True] * 4 + [False]
    chance = paid.sum(1) / events.sum()
    expected = np.zeros((n, n))
    expected[:4, :4] = (paid[:, firing] / events[firing] / np.where(chance, chance, 1)[:, None] - 1)[:4]
    np.fill_diagonal(expected, 0)
    assert np.abs(expected).max() > 0.05
    np.testing.assert_allclose(method(model, recorded, recording).matrix, expected, atol=1e-9)


def test_rolled_out_attention_sums_to_1_and_carries_the_residual_stream():
    generator = torch.Generator().manual_seed(0)
    weights = [torch.rand(2, 6, 6, generator=generator).tril().add(torch.eye(6)) for _ in range(3)]
    weights = [w / w.sum(-1, keepdim=True) for w in weights]
    found = rolled_out(weights)
    torch.testing.assert_close(found.sum(-1), torch.ones(2, 6))
    assert (found.triu(1) == 0).all()
    one = torch.eye(6)
    torch.testing.assert_close(found, (weights[2] + one) @ (weights[1] + one) @ (weights[0] + one) / 8)
    torch.testing.assert_close(rolled_out([one]), one)


@pytest.mark.parametrize("method", METHODS)
def test_maps_have_their_names_and_p_values_and_no_diagonal(recorded, make_random_model, method):
    model = make_random_model(state=4, layers=2)
    found = method(model, recorded, recorded.recordings[1])
    assert found.name == method.__name__
    assert (found.matrix.diagonal() == 0).all()
    assert np.isfinite(found.matrix).all()
    assert (found.matrix[4] == 0).all()  # never fires
    off = ~np.eye(5, dtype=bool)
    assert ((found.p_values[off] >= 0) & (found.p_values[off] <= 1)).all()
    assert found.lag_profile is None
    assert all(parameter.grad is None for parameter in model.parameters())
