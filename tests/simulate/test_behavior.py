import numpy as np
import pytest
from scipy.signal import lfilter

from neuroformer.errors import UserError
from neuroformer.session import validate_file, write_session
from simulate import CircuitConfig, simulate_circuit, to_session
from simulate.behavior import Behavior
from simulate.config import GlmConfig, WiringConfig
from simulate.input_config import BEHAVIORS, BehaviorConfig

DT = 0.005


def behavior(*, n=50, units=50, seconds=1000.0, seed=0, **settings):
    config = BehaviorConfig(**{"variables": list(BEHAVIORS)} | settings)
    rng = np.random.default_rng(seed)
    return Behavior(config, n=n, units=units, n_steps=round(seconds / DT), dt=DT, rng=rng)


def simulated(duration_s=60.0, **settings):
    config = CircuitConfig(
        units=30,
        hidden=10,
        duration_s=duration_s,
        wiring=WiringConfig(density=0.0),
        glm=GlmConfig(rate_hz=8.0),
        behavior=BehaviorConfig(**{"variables": list(BEHAVIORS)} | settings),
    )
    return simulate_circuit(config)


def low_passed(data, time_constant_s):
    counts = np.zeros((round(data.stop / DT), data.n_units))
    np.add.at(counts, ((data.events.times / DT).astype(int), data.events.units), 1)
    return lfilter([1.0], [1.0, -np.exp(-DT / time_constant_s)], counts, axis=0)


def at_samples(series):
    return np.minimum((series.timestamps / DT + 1e-6).astype(int), 10**9)


def test_latents_have_the_time_constant_and_the_values_the_physical_scale():
    found = behavior(time_constant_s=0.5, seconds=5000.0)
    series = found.record(None)
    assert {name: (one.unit, one.period) for name, one in series.items()} == {
        "speed": ("cm/s", None),
        "heading": ("deg", 360.0),
        "tail_angle": ("deg", None),
    }
    speed = 2 * np.log(series["speed"].values / 10)
    tail = series["tail_angle"].values / 20
    heading = np.exp(1j * np.deg2rad(series["heading"].values.astype(float)))
    for latent in (speed, tail):
        assert latent.mean() == pytest.approx(0.0, abs=0.1)
        assert latent.std() == pytest.approx(1.0, rel=0.05)
    lag = 25  # of 50 samples a second: one time constant
    for latent in (speed, tail, heading):
        later = np.mean(latent[lag:] * np.conj(latent[:-lag])).real
        assert later == pytest.approx(np.exp(-1), abs=0.05)
    assert 0 <= series["heading"].values.min() < series["heading"].values.max() < 360
    assert np.histogram(series["heading"].values, bins=4)[0].min() > 0.15 * len(heading)


@pytest.mark.parametrize("name", BEHAVIORS)
def test_tuned_neurons_get_the_strength_asked_for_and_others_nothing(name):
    found = behavior(variables=[name], strength=0.7, fraction=0.4, seconds=1000.0, time_constant_s=0.25)
    drive = found.input(0, 200_000)
    tuned = found.tunings[name].tuned
    assert tuned.sum() == 20
    np.testing.assert_allclose(drive[:, tuned].std(axis=0), 0.7, rtol=0.1)
    np.testing.assert_array_equal(drive[:, ~tuned], 0.0)


def test_what_is_recorded_is_what_drives():
    found = behavior(seconds=20.0, strength=0.5)
    series = found.record(None)
    steps = at_samples(series["speed"])
    total = 0.0
    for name, latent in (
        ("speed", 2 * np.log(series["speed"].values / 10)),
        ("tail_angle", series["tail_angle"].values / 20),
    ):
        total = total + np.outer(latent, found.tunings[name].gain.real)
    preferred = -np.angle(found.tunings["heading"].gain)
    cosine = np.sqrt(2) * np.cos(np.deg2rad(series["heading"].values)[:, None] - preferred)
    total = total + cosine * found.tunings["heading"].tuned
    np.testing.assert_allclose(found.input(0, 4000)[steps], 0.5 * total, atol=1e-5)


def test_a_longer_run_begins_as_the_shorter_one():
    short, long = behavior(seconds=5.0), behavior(seconds=20.0)
    np.testing.assert_allclose(short.input(0, 1000), long.input(0, 1000), rtol=1e-12)


def test_behaviour_that_drives_shows_in_the_rates(tmp_path):
    data = to_session(simulated(time_constant_s=2.0, strength=1.0), session_id="a")
    assert validate_file(write_session(tmp_path / "a.h5", data)) == []
    smooth = low_passed(data, 0.5)
    extra = data.truth.extra
    for name in ("speed", "tail_angle"):
        series, gain = data.behavior[name], extra[f"{name}_gain"]
        found = [np.corrcoef(smooth[at_samples(series), j], series.values)[0, 1] for j in range(30)]
        assert (gain != 0).sum() > 5
        assert np.mean(np.array(found)[gain > 0]) > 0.2
        assert np.mean(np.array(found)[gain < 0]) < -0.2
    series, preferred = data.behavior["heading"], extra["heading_preferred"]
    tuned = np.flatnonzero(np.isfinite(preferred))
    found = [
        np.corrcoef(smooth[at_samples(series), j], np.cos(np.deg2rad(series.values - preferred[j])))[0, 1]
        for j in tuned
    ]
    assert np.mean(found) > 0.2


def test_behaviour_that_is_driven_is_a_readout_of_the_units(tmp_path):
    data = to_session(simulated(direction="driven", noise=0.0), session_id="a")
    assert validate_file(write_session(tmp_path / "a.h5", data)) == []
    smooth = low_passed(data, 1.0)
    scaled = (smooth - smooth.mean(axis=0)) / smooth.std(axis=0)
    readout = scaled @ data.truth.extra["tail_angle_gain"]
    series = data.behavior["tail_angle"]
    expected = 20 * (readout - readout.mean()) / readout.std()
    np.testing.assert_allclose(series.values, expected[at_samples(series)], atol=1e-3)
    preferred = np.deg2rad(data.truth.extra["heading_preferred"])
    vector = np.nansum(np.exp(1j * preferred) * scaled, axis=1)
    parts = [part / part.std() for part in (vector.real, vector.imag)]
    heading = data.behavior["heading"]
    angle = np.rad2deg(np.arctan2(parts[1], parts[0]))[at_samples(heading)]
    off = (heading.values - angle + 180) % 360 - 180
    np.testing.assert_allclose(off, 0.0, atol=1e-2)


def test_driven_behaviour_changes_no_event_and_its_noise_has_the_share_asked_for():
    plain = simulate_circuit(
        CircuitConfig(
            units=30,
            hidden=10,
            duration_s=60.0,
            wiring=WiringConfig(density=0.0),
            glm=GlmConfig(rate_hz=8.0),
        )
    )
    clean, noisy = (simulated(direction="driven", noise=noise) for noise in (0.0, 0.6))
    np.testing.assert_array_equal(clean.activity.steps, plain.activity.steps)
    np.testing.assert_array_equal(clean.activity.neurons, plain.activity.neurons)
    seen = [to_session(one, session_id="a").behavior["tail_angle"].values / 20 for one in (clean, noisy)]
    assert np.corrcoef(*seen)[0, 1] == pytest.approx(0.8, abs=0.12)


def test_only_observed_units_drive_behaviour():
    tunings = behavior(units=20, direction="driven", fraction=0.5).tunings
    assert all(one.tuned.sum() == 10 and not one.tuned[20:].any() for one in tunings.values())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variables": ["pace"]}, "expected speed, heading, tail_angle, each at most once"),
        ({"variables": ["speed", "speed"]}, "each at most once"),
        ({"noise": 1.5}, "behavior.noise=1.5: expected a number from 0 to 1"),
        ({"time_constant_s": 0.0}, "behavior.time_constant_s=0.0: expected a number above 0"),
    ],
)
def test_senseless_settings(settings, message):
    with pytest.raises(UserError, match=message):
        BehaviorConfig(**settings)


def test_more_samples_than_steps_are_refused():
    with pytest.raises(UserError, match=r"behavior.rate_hz=500: expected at most 200"):
        behavior(rate_hz=500.0)
