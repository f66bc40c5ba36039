from dataclasses import replace

import numpy as np
import pytest
import torch

from neuroformer.connectivity import interventions
from neuroformer.connectivity.interventions import silencing, stimulation
from neuroformer.data import Span

SILENT = 4  # unit of the second session
LAGS = 5


@pytest.fixture(params=[0, 1], ids=["first session", "second session"])
def session(request):
    return request.param


def off_diagonal(n):
    return ~np.eye(n, dtype=bool)


def test_without_a_trunk_stimulation_is_the_lag_profile_of_the_coupling(
    recorded, make_random_model, rng, session
):
    model = make_random_model()
    found = stimulation(model, recorded, recorded.recordings[session], contexts=3, rng=rng)
    mean, _ = model.coupling_map(session)
    assert np.abs(mean.numpy()).max() > 0.5
    np.testing.assert_allclose(found.lag_profile, mean.numpy(), atol=1e-6)
    np.testing.assert_allclose(found.lags_s, 0.01 * np.arange(1, LAGS + 1))
    n = len(mean)
    assert (found.matrix.diagonal() == 0).all()
    assert np.isfinite(found.p_values[off_diagonal(n)]).all()


def test_an_event_of_an_uncertain_weight_raises_the_mean_intensity_by_half_its_variance(
    recorded, make_random_model, rng
):
    model, n = make_random_model(log_scale=-0.7), 5
    found = stimulation(model, recorded, recorded.recordings[1], contexts=8, rng=rng).lag_profile
    mean, variance = model.coupling_map(1)
    exact = (mean + variance / 2).numpy()
    # A unit without other events; for the others the squares of traces have mixed terms, which are positive.
    np.testing.assert_allclose(found[SILENT], exact[SILENT], atol=1e-6)
    others = off_diagonal(n) & (np.arange(n) != SILENT)[:, None]
    assert (found[others] >= exact[others] - 1e-6).all()
    assert (found[others] > exact[others] + 0.01).any()


def test_an_event_is_forgotten_after_the_window(recorded, make_random_model, rng):
    model = make_random_model()
    found = stimulation(model, recorded, recorded.recordings[0], contexts=2, n_lags=12, rng=rng).lag_profile
    assert found.shape == (3, 3, 12)
    assert np.abs(found[0, 1, :LAGS]).max() > 0.1
    np.testing.assert_allclose(found[:, :, LAGS:], 0, atol=1e-6)


def test_stimulation_reads_the_trunk_as_well(recorded, make_random_model, rng):
    model = make_random_model(state=4)
    model.coupling.sessions[0].mean.data.zero_()
    found = stimulation(model, recorded, recorded.recordings[0], contexts=2, rng=rng).lag_profile
    assert np.abs(found[off_diagonal(3)]).max() > 0.01


@pytest.mark.parametrize("state", [0, 4])
def test_an_added_event_changes_nothing_before_it(recorded, make_random_model, state):
    model, recording = make_random_model(state=state), recorded.recordings[0]
    chunk = recording.chunk(Span(epoch=0, start=300, stop=320), model.context + 10)
    changed = [interventions._with_event(chunk, unit) for unit in range(3)]
    earlier = [replace(c, history=model.context, n_scored=30) for c in (chunk, *changed)]
    base, *others = interventions._log_intensity(model, earlier, recorded.vocabulary)
    for unit, other in enumerate(others):
        assert len(changed[unit].tokens) == len(chunk.tokens) + 1
        np.testing.assert_allclose(
            other[:10], base[:10], atol=1e-12
        )  # the event's own bin is the last of these
        assert np.abs(other[10] - base[10]).max() > 1e-3


def test_tokens_with_an_added_event_stay_in_order(recorded):
    chunk = recorded.recordings[1].chunk(Span(epoch=0, start=300, stop=320), 20)
    for unit in range(5):
        tokens = interventions._with_event(chunk, unit).tokens
        keys = tokens.bins * 100 + tokens.units
        assert (np.diff(keys) >= 0).all()
        added = (tokens.bins == 19) & (tokens.units == unit)
        assert added.sum() == 1 + ((chunk.tokens.bins == 19) & (chunk.tokens.units == unit)).sum()


def test_the_pasts_are_drawn_by_the_generator(recorded, make_random_model):
    model = make_random_model(state=4)
    one, same, other = (
        stimulation(
            model, recorded, recorded.recordings[0], contexts=2, rng=np.random.default_rng(seed)
        ).matrix
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)


def test_silencing_is_what_the_coupling_added_after_each_event(recorded, make_random_model, session):
    model, recording = make_random_model(), recorded.recordings[session]
    profile = model.coupling_map(session)[0].numpy()
    n = len(profile)
    expected = np.zeros((n, n, LAGS))
    for i in range(n):
        lost, events, total, bins = np.zeros((n, LAGS)), np.zeros(LAGS), np.zeros(n), 0
        for span in recording.part("val"):
            counts = recording.counts(Span(epoch=span.epoch, start=0, stop=span.stop))[:, i]
            for t in range(span.start, span.stop):
                past = [(lag, counts[t - lag]) for lag in range(1, LAGS + 1) if t >= lag]
                delta = sum(count * profile[i, :, lag - 1] for lag, count in past)
                total, bins = total + delta, bins + 1
                for lag, count in past:
                    lost[:, lag - 1] += count * delta
                    events[lag - 1] += count
        if events.min() > 0:
            expected[i] = lost / events - total[:, None] / bins
    found = silencing(model, recorded, recording).lag_profile
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_silencing_shows_a_source_without_coupling_as_nothing(recorded, make_random_model):
    model = make_random_model()
    weights = model.coupling.sessions[1].mean.data
    weights[:, 2] = 0
    weights[:, 1, 3] = 0
    found = silencing(model, recorded, recorded.recordings[1])
    connected = off_diagonal(5)
    connected[[2, SILENT]] = False  # without coupling, without events
    connected[1, 3] = False
    np.testing.assert_allclose(found.matrix[~connected], 0, atol=1e-9)
    assert np.abs(found.matrix[connected]).min() > 1e-3


def test_a_unit_without_events_cannot_be_silenced(recorded, make_random_model):
    found = silencing(make_random_model(state=4), recorded, recorded.recordings[1])
    assert (found.lag_profile[SILENT] == 0).all()
    assert np.abs(found.lag_profile[0, 1:]).max() > 0


@pytest.mark.parametrize("rows", [1, 3])
def test_how_rows_are_put_into_batches_does_not_matter(recorded, make_random_model, monkeypatch, rows):
    model, recording = make_random_model(state=4, log_scale=-1.0), recorded.recordings[1]

    def both():
        rng = np.random.default_rng(0)
        return stimulation(model, recorded, recording, contexts=2, rng=rng), silencing(
            model, recorded, recording
        )

    whole = both()
    monkeypatch.setattr(interventions, "ROWS", rows)
    for one, other in zip(whole, both(), strict=True):
        np.testing.assert_allclose(other.lag_profile, one.lag_profile, atol=1e-6)


def test_a_long_recording_is_silenced_in_pieces_spread_over_it(recorded, make_random_model, monkeypatch):
    model, recording = make_random_model(), recorded.recordings[0]
    read = []
    chunk = type(recording).chunk
    monkeypatch.setattr(
        type(recording), "chunk", lambda self, span, *rest: read.append(span) or chunk(self, span, *rest)
    )
    monkeypatch.setattr(interventions, "MOST_SILENCED_S", 1.2)  # .4 s for each of 3 units, 80 bins
    monkeypatch.setattr(interventions, "LEAST_SILENCED_S", 0.0)
    found = silencing(model, recorded, recording)
    assert len(read) == interventions.PIECES
    assert sum(map(len, read)) <= 80
    part = recording.part("val")
    assert (read[0].epoch, read[0].start) == (part[0].epoch, part[0].start)
    assert (read[-1].epoch, read[-1].stop) == (part[-1].epoch, part[-1].stop)
    assert np.isfinite(found.lag_profile).all()


def test_the_models_gradients_are_left_alone(recorded, make_random_model, rng):
    model = make_random_model(state=4)
    stimulation(model, recorded, recorded.recordings[0], contexts=1, rng=rng)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.is_grad_enabled()
