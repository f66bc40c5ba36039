"""The likelihood against term-by-term sums, against the product over next tokens, and however it is cut."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from neuroformer.batch import Batch
from neuroformer.model import Neuroformer, SessionShape
from neuroformer.model.coupling import FullCoupling, LowRankCoupling
from neuroformer.model.observation import next_token_log_prob

Model = Callable[..., Neuroformer]
Batches = Callable[..., Batch]
Event = tuple[int, int, int]
Draw = Callable[..., list[Event]]
Shape = Callable[..., SessionShape]

T, N = 12, 3


def intensity_by_hand(model: Neuroformer, events: list[Event], session: int, t: int, j: int) -> float:
    """E λ_j(t) as a sum over the events before bin t, one at a time; a trunk without blocks."""
    lag_of = [(t - s, i, math.exp(model.level_gain[k]) if model.n_levels > 1 else 1.0) for s, i, k in events]
    past = [(lag, i, g) for lag, i, g in lag_of if lag >= 1]
    row = model.rows(session).tolist()
    mean, variance = float(model.bias[row[j]]), 0.0

    history, basis = model.history, model.history.basis
    for k in range(basis.shape[0]):
        trace = sum(g * float(basis[k, lag - 1]) for lag, i, g in past if i == j and lag <= 5)
        mean += float(history.shared[session, k] + history.own.mean[row[j], k]) * trace
        variance += math.exp(2 * float(history.own.log_scale[row[j], k])) * trace**2

    coupling = model.coupling
    for h in range(2):
        weights = [math.exp(float(x)) for x in coupling.kernels.logits[h]]
        kernel = [2 * w / sum(weights) for w in weights]  # √4 times a softmax over 4 lags
        traces = [
            sum(g * kernel[lag - 1] for lag, i, g in past if i == n and lag <= 4) for n in range(len(row))
        ]
        if isinstance(coupling, FullCoupling):
            pairs = coupling.sessions[session]
            for i, trace in enumerate(traces):
                if i != j:
                    mean += float(pairs.mean[h, i, j]) * trace
                    variance += math.exp(2 * float(pairs.log_scale[h, i, j])) * trace**2
        else:
            for r in range(h * coupling.rank, (h + 1) * coupling.rank):
                latent = sum(float(coupling.source[row[i], r]) * trace for i, trace in enumerate(traces))
                mean += float(coupling.target.mean[row[j], r]) * latent
                variance += math.exp(2 * float(coupling.target.log_scale[row[j], r])) * latent**2

    if model.trunk is not None:
        trunk = model.trunk
        level = 1 / math.sqrt(max(0.1, float(trunk.events_per_bin[session])))
        for s in range(trunk.bias.shape[0]):
            drive = float(trunk.bias[s])
            for tau, pool in zip((1.5, 2.0), trunk.pool, strict=True):
                for lag, i, g in past:
                    if lag <= 8:  # four times the longest time constant
                        token = trunk.unit[row[i]] + trunk.session[session]
                        drive += (
                            level * g * math.exp(-lag / tau) / math.sqrt(tau) * float(pool.weight[s] @ token)
                        )
            state = math.tanh(drive)
            mean += float(trunk.readout.mean[row[j], s]) * state
            variance += math.exp(2 * float(trunk.readout.log_scale[row[j], s])) * state**2
    return math.exp(mean + variance / 2)


@pytest.mark.parametrize("state", [0, 4])
@pytest.mark.parametrize(("rank", "kind"), [(0, FullCoupling), (2, LowRankCoupling)])
@pytest.mark.parametrize("n_levels", [1, 3])
def test_equals_a_sum_term_by_term(
    make_model: Model,
    make_shape: Shape,
    make_batch: Batches,
    draw_events: Draw,
    rng: np.random.Generator,
    state: int,
    rank: int,
    kind: type,
    n_levels: int,
) -> None:
    shapes = [make_shape(2), make_shape(N)]
    model = make_model(*shapes, layers=0, rank=rank, state=state, n_levels=n_levels)
    assert isinstance(model.coupling, kind)
    assert (model.trunk is None) == (state == 0)
    events = draw_events(rng, n_bins=T, n_units=N, rate=0.5, n_levels=n_levels)
    assert len({(t, j) for t, j, _ in events}) < len(events)  # some unit repeats itself within a bin
    with torch.no_grad():
        found = model.likelihood(make_batch(model, (1, events), n_bins=T))
        expected = np.zeros((T, N))
        for t in range(T):
            for j in range(N):
                intensity = intensity_by_hand(model, events, 1, t, j)
                k = sum((s, i) == (t, j) for s, i, _ in events)
                expected[t, j] = k * math.log(intensity) - intensity - math.log(math.factorial(k))
    np.testing.assert_allclose(found.cells[0].numpy(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("layers", [0, 1])
@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("n_units", [2, 3])
@pytest.mark.parametrize("silent", [False, True])
def test_equals_the_product_over_next_tokens(
    make_model: Model,
    make_shape: Shape,
    make_batch: Batches,
    draw_events: Draw,
    rng: np.random.Generator,
    layers: int,
    rank: int,
    n_units: int,
    silent: bool,
) -> None:
    model = make_model(make_shape(n_units), layers=layers, rank=rank)
    events = [] if silent else draw_events(rng, n_bins=T, n_units=n_units, rate=0.4)
    total, last_bin, last_unit, n_last = 0.0, 0, -1, 0
    with torch.no_grad():
        for n, token in enumerate([*events, None]):
            # The intensities that hold if nothing comes after the events so far.
            log_intensity, _ = model(make_batch(model, (0, events[:n]), n_bins=T))
            probabilities, silence = next_token_log_prob(log_intensity[0].exp()[last_bin:], last_unit, n_last)
            assert float(probabilities.exp().sum() + silence.exp()) == pytest.approx(1.0, abs=1e-12)
            if token is None:
                total += float(silence)
            else:
                t, j, _ = token
                total += float(probabilities[t - last_bin, j])
                n_last = n_last + 1 if (t, j) == (last_bin, last_unit) else 1
                last_bin, last_unit = t, j
        exact = model.likelihood(make_batch(model, (0, events), n_bins=T)).cells.sum()
    assert total == pytest.approx(float(exact), abs=1e-9)


def stretch(events: list[Event], start: int, stop: int) -> list[Event]:
    """Events of bins [start, stop), counted from start."""
    return [(t - start, j, k) for t, j, k in events if start <= t < stop]


@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize("rank", [0, 2])
def test_is_the_same_however_a_recording_is_cut(
    make_model: Model,
    make_batch: Batches,
    draw_events: Draw,
    rng: np.random.Generator,
    layers: int,
    rank: int,
) -> None:
    model = make_model(layers=layers, rank=rank, n_levels=2)
    context, length = model.context, 60
    events = draw_events(rng, n_bins=context + length, n_units=N, n_levels=2)
    with torch.no_grad():
        whole = model.likelihood(make_batch(model, (0, events), n_bins=context + length, history=context))
        for size in (1, 7, 25):
            pieces, levels = [], 0.0
            for start in range(context, context + length, size):
                stop = min(start + size, context + length)
                chunk = stretch(events, start - context, stop)
                n_bins = stop - start + context
                found = model.likelihood(make_batch(model, (0, chunk), n_bins=n_bins, history=context))
                pieces.append(found.cells[0])
                levels += float(found.levels.sum())
            torch.testing.assert_close(torch.cat(pieces), whole.cells[0], rtol=0, atol=1e-6)
            assert levels == pytest.approx(float(whole.levels.sum()), abs=1e-6)


@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("state", [0, 4])
def test_depends_on_the_context_and_on_nothing_before(
    make_model: Model, make_batch: Batches, layers: int, rank: int, state: int
) -> None:
    model = make_model(layers=layers, rank=rank, state=state)
    context = model.context
    assert context == (8 + 6 * layers if state else 5)  # four time constants, six bins a block; own history

    def intensity(first_unit: int, first_bin: int) -> torch.Tensor:
        # A chain of events, each at the far end of what the next can see; the units of all but the first stay.
        links = [context + 2 - 8 - 6 * n for n in range(layers)] if state else []
        events = sorted([(first_bin, first_unit, 0), *((t, 1, 0) for t in links)])
        return model(make_batch(model, (0, events), n_bins=context + 3, history=context + 2))[0]

    with torch.no_grad():
        # The scored bin is number context + 2; bin 2 is the oldest that it may see.
        torch.testing.assert_close(intensity(0, 1), intensity(2, 1), rtol=0, atol=1e-12)
        torch.testing.assert_close(intensity(0, 0), intensity(2, 1), rtol=0, atol=1e-12)
        assert (intensity(0, 2) - intensity(2, 2)).abs().max() > 1e-7


def test_only_scored_bins_of_real_units_count(
    make_model: Model, make_shape: Shape, make_batch: Batches, draw_events: Draw, rng: np.random.Generator
) -> None:
    model = make_model(make_shape(2), make_shape(N))
    rows = [(s, draw_events(rng, n_bins=30, n_units=n, rate=1.0)) for s, n in ((0, 2), (1, 3))]
    batch = make_batch(model, *rows, n_bins=30, history=10, n_scored=[20, 5])
    found = model.likelihood(batch)
    assert found.cells.shape == found.counts.shape == found.log_intensity.shape == (2, 20, 3)
    assert (found.cells[0, :, 2] == 0).all()
    assert (found.cells[1, 5:] == 0).all()
    assert (found.counts[1, 5:] == 0).all()
    assert (found.cells[0, :, :2] != 0).all()
    assert (found.cells[1, :5] != 0).all()
    for row, (_, events) in enumerate(rows):
        assert found.counts[row].sum() == sum(10 <= t < 10 + (20, 5)[row] for t, _, _ in events)


def test_a_new_model_is_the_homogeneous_poisson_model(
    make_shape: Shape, make_batch: Batches, make_model: Model, draw_events: Draw, rng: np.random.Generator
) -> None:
    shape = make_shape(N)
    model = Neuroformer(config=make_model().config, bin_s=1.0, sessions=[shape]).eval()
    events = draw_events(rng, n_bins=30, n_units=N)
    with torch.no_grad():
        intensity = model(make_batch(model, (0, events), n_bins=30))[0].exp()[0]
    # The posteriors start narrow but not at a point, hence not exactly so.
    torch.testing.assert_close(intensity, shape.rate.float().expand(30, N), rtol=0.05, atol=0)
