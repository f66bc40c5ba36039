import hashlib

import numpy as np
import pytest
from scipy import stats

from neuroformer.session import validate_file, write_session
from simulate import CircuitConfig, simulate_circuit, to_session
from simulate.calcium_config import CalciumConfig
from simulate.config import DriveConfig, GlmConfig, LifConfig, WiringConfig
from simulate.drive import SlowDrive
from simulate.figure import draw_circuit
from simulate.input_config import BehaviorConfig, StatesConfig, StimulusConfig
from simulate.inputs import Inputs

EVERYTHING = {
    "units": 12,
    "hidden": 3,
    "duration_s": 20.0,
    "drive": DriveConfig(n=2),
    "states": StatesConfig(dwell_s=[1.0, 1.0]),
    "stimulus": StimulusConfig(kind="gratings"),
    "behavior": BehaviorConfig(variables=["speed", "heading"]),
    "calcium": CalciumConfig(frame_rate_hz=10.0),
}


def fingerprint(config):
    activity = simulate_circuit(config).activity
    data = b"".join(part.tobytes() for part in (activity.steps, activity.neurons, activity.counts))
    return hashlib.sha256(data).hexdigest()[:16]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "3013b07388f6eb40"),
        ({"neuron": "lif", "dt_s": 0.001, "lif": LifConfig(input_mv=15.0)}, "2eae05624339c486"),
    ],
    ids=["glm", "lif"],
)
def test_circuits_without_these_inputs_are_the_old_ones_to_the_bit(settings, expected):
    assert fingerprint(CircuitConfig(units=20, duration_s=4.0, **settings)) == expected


def test_all_inputs_add_up():
    config = CircuitConfig(**EVERYTHING)
    inputs = Inputs(config, n=15)
    slow = SlowDrive(config.drive, n=15, dt=0.005, rng=np.random.default_rng(5))
    again = SlowDrive(config.drive, n=15, dt=0.005, rng=np.random.default_rng(5))
    advance = inputs.joined(slow.advance)
    found = np.concatenate([advance(length) for length in (1, 199, 300)])
    expected = sum(part.input(0, 500) for part in (inputs.states, inputs.stimulus, inputs.behavior))
    drive = np.concatenate([again.advance(length) for length in (1, 199, 300)])
    np.testing.assert_allclose(found, expected + drive, atol=1e-12)


def test_the_likelihood_is_that_of_rates_that_the_inputs_move():
    glm = GlmConfig(rate_hz=10.0, rate_sigma=0.0, recovery=0.0, ceiling_hz=150.0)
    parts = {name: EVERYTHING[name] for name in ("states", "stimulus", "behavior")}
    config = CircuitConfig(units=6, duration_s=10.0, wiring=WiringConfig(density=0.0), glm=glm, **parts)
    circuit = simulate_circuit(config)
    drive = sum(
        part.input(0, 2000)
        for part in (circuit.inputs.states, circuit.inputs.stimulus, circuit.inputs.behavior)
    )
    counts = np.zeros((2000, 6))
    counts[circuit.activity.steps, circuit.activity.neurons] = circuit.activity.counts
    law = stats.poisson(np.minimum(10.0 * np.exp(drive), 150.0) * 0.005)
    expected = law.logpmf(counts).reshape(10, 200, 6).sum(axis=1)
    np.testing.assert_allclose(circuit.activity.log_likelihood, expected, rtol=1e-9)


def test_without_inputs_the_slow_drive_is_passed_on_as_it_is():
    inputs = Inputs(CircuitConfig(), n=60)
    assert inputs.joined(None) is None
    advance = SlowDrive(DriveConfig(n=1), n=60, dt=0.005, rng=np.random.default_rng(0)).advance
    assert inputs.joined(advance) == advance


def test_a_new_input_leaves_wiring_and_the_other_inputs_alone():
    config = {"units": 10, "duration_s": 5.0, "states": StatesConfig(dwell_s=[1.0, 1.0])}
    alone = simulate_circuit(CircuitConfig(**config))
    both = simulate_circuit(CircuitConfig(**config, behavior=BehaviorConfig(variables=["speed"])))
    np.testing.assert_array_equal(alone.wiring.weight, both.wiring.weight)
    np.testing.assert_array_equal(alone.inputs.states.states, both.inputs.states.states)


@pytest.mark.parametrize("neuron", ["glm", "lif"])
def test_everything_at_once_gives_a_valid_session_twice_the_same(neuron, tmp_path):
    lif = LifConfig(input_mv=13.0)
    config = CircuitConfig(**EVERYTHING, neuron=neuron, wiring=WiringConfig(weight=0.5), lif=lif)
    circuit = simulate_circuit(config)
    data, again = (to_session(one, session_id="a") for one in (circuit, simulate_circuit(config)))
    assert validate_file(write_session(tmp_path / "a.h5", data)) == []
    np.testing.assert_array_equal(data.traces.values, again.traces.values)
    np.testing.assert_array_equal(data.stimulus["frames"].values, again.stimulus["frames"].values)
    for name in ("speed", "heading"):
        np.testing.assert_array_equal(data.behavior[name].values, again.behavior[name].values)
    assert data.truth.extra.keys() == again.truth.extra.keys()
    for name, values in data.truth.extra.items():
        np.testing.assert_array_equal(values, again.truth.extra[name])


def test_the_figure_shows_a_row_for_each_thing_there_is():
    circuit = simulate_circuit(CircuitConfig(**EVERYTHING))
    figure = draw_circuit(circuit, to_session(circuit, session_id="a"))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[3:] == ["ΔF/F and the events found in it", "Stimulus", "Speed", "Heading"]
    figure.draw_without_rendering()
    width, height = figure.get_size_inches() * figure.dpi
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert box.x0 >= -1
        assert box.y0 >= -1
        assert box.x1 <= width + 1
        assert box.y1 <= height + 1
