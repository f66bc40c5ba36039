import numpy as np
import pytest

from neuroformer.errors import UserError
from neuroformer.session import Session, validate_file, write_session
from simulate import CircuitConfig, simulate_circuit, to_session
from simulate.config import GlmConfig, WiringConfig
from simulate.frames import draw_frames
from simulate.input_config import StimulusConfig
from simulate.stimulus import Stimulus, temporal_filter

KINDS = ["gratings", "white_noise", "moving_dots"]


def frames(kind, *, seconds=12.0, seed=0, **settings):
    return draw_frames(
        StimulusConfig(kind=kind, **settings), seconds=seconds, rng=np.random.default_rng(seed)
    )


def stimulus(kind, *, n=40, seconds=120.0, seed=0, **settings):
    config = StimulusConfig(kind=kind, **settings)
    return Stimulus(config, n=n, n_steps=round(seconds / 0.005), dt=0.005, rng=np.random.default_rng(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_reproducible_and_a_longer_stimulus_begins_alike(kind):
    short, long = frames(kind), frames(kind, seconds=40.0)
    assert short.values.shape == (360, 16, 16)
    assert short.values.dtype == np.uint8
    np.testing.assert_array_equal(short.values, frames(kind).values)
    np.testing.assert_array_equal(short.values, long.values[:360])
    np.testing.assert_array_equal(short.direction, long.direction[:360])
    assert not np.array_equal(short.values, frames(kind, seed=1).values)


def test_each_direction_is_shown_once_in_each_round_after_a_grey_pause():
    shown = frames("gratings", seconds=24.0, trial_s=1.0, pause_s=0.5)
    np.testing.assert_allclose(shown.trial_starts, 0.5 + 1.5 * np.arange(16))
    for part in (slice(0, 8), slice(8, 16)):
        np.testing.assert_allclose(np.sort(shown.trial_directions[part]), np.arange(8) * 45.0)
    pause = np.isnan(shown.direction)
    assert pause.mean() == pytest.approx(1 / 3)
    assert (shown.values[pause] == 128).all()
    trial = np.searchsorted(shown.trial_starts, shown.times[~pause] + 1e-9, side="right") - 1
    np.testing.assert_array_equal(shown.direction[~pause], shown.trial_directions[trial])


def test_a_trial_that_is_cut_short_is_not_in_the_table():
    assert len(frames("gratings", seconds=2.9).trial_starts) == 1


@pytest.mark.parametrize("kind", ["gratings", "moving_dots"])
def test_the_picture_moves_in_its_direction_at_its_speed(kind):
    # One pixel is 1/16 of a width: at 16 frames a second and one width a second, one pixel a frame.
    shown = frames(kind, rate_hz=16.0, cycles=2.0, drift_hz=2.0, directions=4, seconds=12.0)
    steps = {0.0: (0, 1), 90.0: (1, 0), 180.0: (0, -1), 270.0: (-1, 0)}
    compared = 0
    for before, after in zip(range(len(shown.times) - 1), range(1, len(shown.times)), strict=True):
        angle = shown.direction[before]
        if angle == shown.direction[after]:
            moved = np.roll(shown.values[before], steps[angle], axis=(0, 1)).astype(int)
            assert np.abs(moved - shown.values[after]).max() <= 1
            compared += 1
    assert compared > 50


def test_white_noise_is_black_or_white_and_independent():
    values = (frames("white_noise", seconds=100.0).values.astype(float) - 128) / 127
    assert set(np.unique(values)) == {-1.0, 1.0}
    assert abs(values.mean()) < 0.01
    assert abs((values[1:] * values[:-1]).mean()) < 0.01
    assert abs((values[:, 1:] * values[:, :-1]).mean()) < 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_input_has_the_strength_asked_for(kind):
    found = stimulus(kind, strength=0.7, fraction=0.5)
    spread = found.input(0, 24_000).std(axis=0)
    responds = np.isfinite(found.preferred)
    assert responds.sum() == 20
    np.testing.assert_allclose(spread[responds], 0.7, rtol=0.2)
    np.testing.assert_array_equal(spread[~responds], 0.0)


def test_input_is_the_linear_filter_of_the_frames_that_is_in_the_truth():
    found = stimulus("white_noise", n=3, seconds=10.0)
    contrast = (found.frames.values.astype(float) - 128) / 127
    seen = np.einsum("nhw,fhw->fn", found.fields, contrast)
    taps = temporal_filter(found.config)
    expected = sum(tap * np.vstack([np.zeros((k, 3)), seen[: len(seen) - k]]) for k, tap in enumerate(taps))
    steps = np.arange(2000)
    frame = ((steps + 0.5) * 0.005 * 30).astype(int)
    np.testing.assert_allclose(found.input(0, 2000), expected.real[frame], atol=1e-9)
    assert taps[0] == 0  # a frame acts from the next one on


def test_a_grey_screen_moves_nobody():
    found = stimulus("gratings", n=5)
    np.testing.assert_allclose(found.fields.sum(axis=(1, 2)), 0.0, atol=1e-12)


def test_neurons_prefer_their_direction_over_the_opposite_one():
    found = stimulus("gratings", n=60, seconds=240.0, directions=24, pause_s=1.0)
    response = found.input(0, 48_000)
    direction = found.frames.direction[((np.arange(48_000) + 0.5) * 0.15).astype(int)]
    power = np.array([(response[direction == angle] ** 2).mean(axis=0) for angle in np.arange(0, 360, 15)])
    best = power.argmax(axis=0) * 15
    off = np.abs((best - found.preferred + 180) % 360 - 180)
    assert np.median(off) < 25
    opposite = power[(power.argmax(axis=0) + 12) % 24, np.arange(60)]
    assert np.median(opposite / power.max(axis=0)) < 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_sessions_hold_the_stimulus_and_neurons_follow_it(kind, tmp_path):
    config = CircuitConfig(
        units=15,
        hidden=5,
        duration_s=60.0,
        wiring=WiringConfig(density=0.0),
        glm=GlmConfig(rate_hz=8.0),
        stimulus=StimulusConfig(kind=kind, strength=1.0),
    )
    circuit = simulate_circuit(config)
    path = write_session(tmp_path / "a.h5", to_session(circuit, session_id="a"))
    assert validate_file(path) == []
    with Session(path) as session:
        data = session.load()
    assert data.stimulus["frames"].values.shape == (1800, 16, 16)
    assert data.truth.extra["receptive_fields"].shape == (15, 2, 16, 16)
    assert data.truth.extra["preferred_direction"].shape == (15,)
    trials = kind != "white_noise"
    assert ("direction" in data.stimulus) is trials
    assert ("orientation" in data.stimulus) is (kind == "gratings")
    assert (len(data.trials.get("start", ())) == 40) is trials
    if kind == "gratings":
        np.testing.assert_allclose(data.trials["orientation"], data.trials["direction"] % 180)
        assert data.stimulus["orientation"].labels == ("0", "45", "90", "135")
    counts = np.zeros((12_000, 15))
    np.add.at(counts, ((data.events.times / 0.005).astype(int), data.events.units), 1)
    drive = circuit.inputs.stimulus.input(0, 12_000)[:, :15]
    follow = [np.corrcoef(counts[:, j], np.exp(drive[:, j]))[0, 1] for j in range(15)]
    assert np.min(follow) > 0.05
    assert np.mean(follow) > 0.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 3}, "stimulus.size=3: expected at least 4"),
        ({"cycles": 9.0}, "two pixels a cycle"),
        ({"drift_hz": 20.0}, "stimulus.drift_hz=20.0: expected at most half of rate_hz"),
        ({"fraction": 1.5}, "stimulus.fraction=1.5: expected a fraction from 0 to 1"),
        ({"trial_s": 0.0}, "stimulus.trial_s=0.0: expected a number above 0"),
    ],
)
def test_senseless_settings(settings, message):
    with pytest.raises(UserError, match=message):
        StimulusConfig(**settings)
