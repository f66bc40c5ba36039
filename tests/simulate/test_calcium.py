import sys

import numpy as np
import pytest

from neuroformer.errors import UserError
from neuroformer.importers import calcium as importer
from neuroformer.importers.clocks import Ticks
from neuroformer.importers.mapping import Deconvolution
from neuroformer.session import Session, validate_file, write_session
from simulate import CircuitConfig, simulate_circuit, to_session
from simulate.activity import Activity
from simulate.calcium import calcium, fluorescence, image
from simulate.calcium_config import CalciumConfig
from simulate.config import GlmConfig
from simulate.deconvolution import deconvolve, noise_level

DT = 0.005
PLAIN = {"saturation": 0.0, "amplitude_sigma": 0.0, "noise": 0.0}
GLM = GlmConfig(rate_hz=1.0)


def activity(spikes):
    """From (n_steps, n) counts."""
    steps, neurons = np.nonzero(spikes)
    return Activity(
        steps=steps,
        neurons=neurons,
        counts=spikes[steps, neurons],
        log_likelihood=np.zeros((1, spikes.shape[1])),
        n_steps=len(spikes),
        dt=DT,
    )


def traces(spikes, *, seed=0, **settings):
    config = CalciumConfig(**{"frame_rate_hz": 1 / DT} | PLAIN | settings)
    return image(activity(spikes), config, rng=np.random.default_rng(seed))


def one_spike(step=100, n_steps=1000):
    spikes = np.zeros((n_steps, 1), int)
    spikes[step] = 1
    return spikes


def test_a_spike_leaves_a_double_exponential_with_the_amplitude_as_its_peak():
    times, values = traces(one_spike(), rise_s=0.05, decay_s=0.4, amplitude=0.3, baseline=0.1)
    since = (np.arange(1000) - 100) * DT
    kernel = np.where(since >= 0, np.exp(-since / 0.4) - np.exp(-since / 0.05), 0.0)
    latency = 0.05 * 0.4 / 0.35 * np.log(8)
    peak = np.exp(-latency / 0.4) - np.exp(-latency / 0.05)
    np.testing.assert_allclose(values[:, 0], 0.1 + 0.3 * kernel / peak, rtol=1e-5)
    assert values.max() == pytest.approx(0.4, abs=1e-3)
    np.testing.assert_allclose(times, (np.arange(1000) + 0.5) * DT)


def test_a_frame_is_the_mean_over_its_time():
    _, fine = traces(one_spike())
    times, coarse = traces(one_spike(), frame_rate_hz=10.0)
    np.testing.assert_allclose(coarse[:, 0], fine[:, 0].reshape(50, 20).mean(axis=1), rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(times, 0.05 + 0.1 * np.arange(50))


def test_frames_need_not_be_whole_steps():
    times, values = traces(np.zeros((1001, 2), int), frame_rate_hz=30.0)
    assert values.shape == (150, 2)  # the rest of 5 ms is no frame
    np.testing.assert_allclose(np.diff(times), 1 / 30)


def test_noise_and_amplitudes_are_as_asked():
    _, values = traces(np.zeros((40_000, 3), int), noise=0.07)
    np.testing.assert_allclose(values.std(axis=0), 0.07, rtol=0.02)
    assert abs(np.corrcoef(values[1:, 0], values[:-1, 0])[0, 1]) < 0.03
    _, peaks = traces(np.repeat(one_spike(), 400, axis=1), amplitude_sigma=0.5)
    assert np.log(peaks.max(axis=0)).std() == pytest.approx(0.5, rel=0.1)


def test_fluorescence_saturates_and_a_weak_signal_grows_with_the_hill_exponent():
    config = CalciumConfig(hill=2.0, saturation=0.25)
    assert fluorescence(np.array([1.0]), config) == pytest.approx(1.0)
    assert fluorescence(np.array([1e6]), config) == pytest.approx(5.0)  # (1 + γ) / γ
    weak = fluorescence(np.array([1e-3, 2e-3]), config)
    assert weak[1] / weak[0] == pytest.approx(4.0, rel=1e-4)
    burst = np.zeros((1000, 1), int)
    burst[100] = 50
    _, linear = traces(burst)
    _, bounded = traces(burst, saturation=0.25)
    assert linear.max() == pytest.approx(50 * 0.2, rel=0.01)
    assert bounded.max() == pytest.approx(0.2 * 1.25 * 50 / (1 + 0.25 * 50), rel=0.01)


def test_calcium_adds_up():
    spikes = np.zeros(500)
    spikes[[50, 60]] = 1, 2
    config = CalciumConfig()
    apart = [calcium(np.where(np.arange(500) == at, spikes, 0), config, dt=DT) for at in (50, 60)]
    np.testing.assert_allclose(calcium(spikes, config, dt=DT), sum(apart), atol=1e-12)


def test_events_are_those_of_the_importer(rng):
    config = CalciumConfig(frame_rate_hz=10.0, noise=0.05)
    spikes = rng.poisson(0.005, (60_000, 3))
    times, values = image(activity(spikes), config, rng=rng)
    found = deconvolve(times, values, config)
    edges = np.arange(len(times) + 1) / 10
    ticks = Ticks(times=times, edges=edges, step=0.1)
    expected = importer.deconvolve(values, ticks, Deconvolution(decay=0.4, threshold=2.0), [])
    np.testing.assert_allclose(found.times, expected.times)
    np.testing.assert_array_equal(found.units, expected.units)
    np.testing.assert_allclose(found.amplitudes, expected.amplitudes, rtol=1e-4)
    assert len(found) > 200
    assert noise_level(values[:, 0]) == importer.noise_level(values[:, 0])


@pytest.fixture(scope="module")
def circuit():
    return simulate_circuit(
        CircuitConfig(units=10, duration_s=60.0, glm=GLM, calcium=CalciumConfig(frame_rate_hz=10.0))
    )


def test_the_file_has_traces_and_events_and_keeps_the_spikes_as_truth(circuit, tmp_path):
    path = write_session(tmp_path / "a.h5", data := to_session(circuit, session_id="a"))
    assert validate_file(path) == []
    plain = to_session(
        simulate_circuit(CircuitConfig(units=10, duration_s=60.0, glm=GLM)), session_id="plain"
    )
    with Session(path) as session:
        assert session.load().traces.values.shape == (600, 10)
        assert session.events().amplitudes is not None
        assert session.truth.log_likelihood.shape == (0, 10)
    np.testing.assert_array_equal(data.truth.extra["spike_times"], plain.events.times)
    np.testing.assert_array_equal(data.truth.extra["spike_units"], plain.events.units)
    np.testing.assert_array_equal(data.truth.extra["spike_log_likelihood"], plain.truth.log_likelihood)
    np.testing.assert_array_equal(data.truth.weights, plain.truth.weights)


def test_most_spikes_apart_from_others_are_found(circuit):
    data = to_session(circuit, session_id="a")
    assert np.isin(np.round(data.events.times * 20) % 2, 1).all()  # the middles of frames
    rate = np.zeros((600, 10))
    spikes = np.zeros((600, 10))
    np.add.at(rate, ((data.events.times * 10).astype(int), data.events.units), data.events.amplitudes)
    frames = (data.truth.extra["spike_times"] * 10).astype(int)
    np.add.at(spikes, (frames, data.truth.extra["spike_units"]), 1)
    near = [np.corrcoef(np.convolve(spikes[:, j], [0, 1, 1], "same"), rate[:, j])[0, 1] for j in range(10)]
    assert np.mean(near) > 0.5


def test_true_spikes_can_stay_and_then_their_likelihood_does():
    imaging = CalciumConfig(frame_rate_hz=10.0, events="spikes")
    data = to_session(
        simulate_circuit(CircuitConfig(units=5, duration_s=20.0, glm=GLM, calcium=imaging)), session_id="a"
    )
    assert data.events.amplitudes is None
    assert data.truth.log_likelihood.shape == (20, 5)
    assert data.traces is not None


def test_the_same_seed_gives_the_same_traces(circuit):
    first, second = (to_session(circuit, session_id="a").traces.values for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frame_rate_hz": 1000.0}, "expected at most 200, a frame a time step"),
        ({"frame_rate_hz": 0.1}, "a frame is longer than the recording of 5 s"),
    ],
)
def test_a_camera_that_is_too_fast_or_too_slow(settings, message):
    with pytest.raises(UserError, match=message):
        traces(one_spike(), **settings)


def test_traces_without_events_are_refused_with_advice():
    with pytest.raises(UserError, match="no calcium event in 50 frames of 2 units; raise duration_s"):
        deconvolve(np.arange(50) / 10, np.zeros((50, 2), np.float32), CalciumConfig(frame_rate_hz=10.0))


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "oasis", None)
    with pytest.raises(
        UserError, match=r"pip install 'neuroformer\[calcium\]', or say calcium.events=spikes"
    ):
        deconvolve(np.arange(50) / 10, np.zeros((50, 2), np.float32), CalciumConfig(frame_rate_hz=10.0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decay_s": 0.05}, r"calcium.decay_s=0.05: expected more than calcium.rise_s \(0.05\)"),
        ({"noise": -1.0}, "calcium.noise=-1.0: expected 0 or a number above it"),
        ({"hill": 0.0}, "calcium.hill=0.0: expected a number above 0"),
        ({"baseline": np.nan}, "calcium.baseline=nan: expected a finite number"),
    ],
)
def test_senseless_settings(settings, message):
    with pytest.raises(UserError, match=message):
        CalciumConfig(**settings)
