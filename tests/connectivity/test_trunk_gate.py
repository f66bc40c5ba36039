import copy
import math

import numpy as np
import torch

from neuroformer.connectivity.trunk_gate import SHARES, gated_intensity
from neuroformer.model import (
    CouplingConfig,
    HistoryConfig,
    ModelConfig,
    Neuroformer,
    SessionShape,
    TrunkConfig,
)
from neuroformer.model.observation import poisson_log_likelihood


def parts(recorded, session):
    recording = recorded.recordings[session]
    return [[batch for _, batch in recorded.in_order(part, [recording])] for part in ("train", "val")]


def scaled(model, share):
    """The model with its readout of the trunk times `share`."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.trunk.readout.mean.mul_(share)
        other.trunk.readout.log_scale.add_(math.log(share) if share else -50.0)
    return other


@torch.no_grad()
def expected(log_intensity, batches):
    """Expected events of each unit, and the events."""
    totals = [
        (log_intensity(batch).exp() * batch.scored[:, batch.first_scored :, None]).sum((0, 1))
        for batch in batches
    ]
    counts = [batch.counts(scored_only=True).sum((0, 1)) for batch in batches]
    return sum(totals), sum(counts)


def test_a_trunk_that_learned_chance_is_scaled_down(recorded, make_random_model):
    # The second session's last unit has no event: its constant stays as it is.
    for session in (0, 1):
        model = make_random_model(state=4, log_scale=-1.0)
        training, validation = parts(recorded, session)
        log_intensity, share = gated_intensity(model, training, validation)
        assert share < 0.5
        smaller = scaled(model, share)
        total, events = expected(lambda batch, smaller=smaller: smaller(batch)[0], training)
        constant = torch.where(events > 0, (events / total).log(), 0)
        with torch.no_grad():
            torch.testing.assert_close(log_intensity(validation[0]), smaller(validation[0])[0] + constant)
        total, events = expected(log_intensity, training)
        torch.testing.assert_close(total[events > 0], events[events > 0].double())


@torch.no_grad()
def test_the_share_has_the_largest_likelihood_of_the_validation_part(recorded, make_random_model):
    training, validation = parts(recorded, 0)
    chosen = []
    for strength in (0.02, 0.1, 1.0):
        model = scaled(make_random_model(state=4, log_scale=-3.0), strength)
        found = []
        for share in SHARES:
            other = scaled(model, share)
            total, events = expected(lambda batch, other=other: other(batch)[0], training)
            constant = (events / total).log() if share < 1 else 0
            cells = 0.0
            for batch in validation:
                counts = batch.counts(scored_only=True).double()
                scored = batch.scored[:, batch.first_scored :, None]
                cells += (poisson_log_likelihood(other(batch)[0] + constant, counts) * scored).sum()
            found.append(float(cells))
        chosen.append(gated_intensity(model, training, validation)[1])
        assert chosen[-1] == SHARES[int(np.argmax(found))]


def test_a_trunk_that_pays_is_taken_as_it_is(tiles):
    rng = np.random.default_rng(0)
    bursting = np.repeat(rng.random(80) < 0.5, 50)  # all units share it
    counts = (rng.random((4000, 4)) < np.where(bursting, 0.3, 0.02)[:, None]).astype(int)
    config = ModelConfig(
        coupling=CouplingConfig(heads=1, window_s=0.02),
        history=HistoryConfig(window_s=0.02, functions=2),
        trunk=TrunkConfig(width=2, layers=0, heads=1, state=1, time_constants_s=[0.05]),
    )
    rate = torch.as_tensor(counts.mean(0), dtype=torch.float32)
    shape = SessionShape(rate=rate, train_bins=3000, level_frequency=torch.ones(1))
    model = Neuroformer(config=config, bin_s=0.005, sessions=[shape]).eval()
    history = model.context
    training = tiles(counts[:3000], history=history, piece=250, rows=4)
    validation = tiles(counts[3000:], history=history, piece=250, rows=4)
    with torch.no_grad():
        # The state is the population's recent events, and every unit is driven by it.
        model.trunk.unit.copy_(torch.tensor([1.0, 0.0]).expand(4, 2))
        model.trunk.pool[0].weight.copy_(torch.tensor([[1.0, 0.0]]))
        model.trunk.bias.fill_(-0.8)
        model.trunk.readout.mean.fill_(1.0)
        total, events = expected(lambda batch: model(batch)[0], training)
        model.bias.add_((events / total).log())
        log_intensity, share = gated_intensity(model, training, validation)
        assert share == 1
        torch.testing.assert_close(log_intensity(validation[0]), model(validation[0])[0])


def test_a_model_smaller_a_trunk_is_taken_as_it_is(recorded, make_random_model):
    model = make_random_model()
    log_intensity, share = gated_intensity(model, *parts(recorded, 0))
    assert share == 1
    _, batch = next(recorded.in_order("val", [recorded.recordings[0]]))
    with torch.no_grad():
        torch.testing.assert_close(log_intensity(batch), model(batch)[0])
