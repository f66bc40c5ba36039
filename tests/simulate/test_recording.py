import numpy as np
import pytest
from scipy import stats
from scipy.signal import lfilter

from neuroformer.session import Session, validate_file, write_session
from simulate import CircuitConfig, simulate_circuit, summarize, to_session
from simulate.activity import Activity
from simulate.config import GlmConfig, WiringConfig
from simulate.recording import place_events
from simulate.wirings.distance import DistanceConfig


@pytest.fixture(scope="module")
def confounded():
    return simulate_circuit(
        CircuitConfig(units=20, hidden=10, duration_s=10.25, wiring=WiringConfig(density=0.2))
    )


def test_hidden_neurons_take_part_but_are_not_recorded(confounded):
    data = to_session(confounded, session_id="a")
    assert data.n_units == 20
    assert data.events.units.max() < 20
    assert confounded.activity.neurons.max() >= 20
    assert data.truth.hidden == 10
    assert data.truth.weights.shape == data.truth.delays.shape == (20, 20)
    everyone = data.truth.extra["all_weights"]
    assert everyone.shape == (30, 30)
    np.testing.assert_array_equal(everyone[:20, :20], data.truth.weights)
    assert np.count_nonzero(everyone[20:, :20]) > 0
    assert data.units["cell_type"].tolist() == ["E"] * 16 + ["I"] * 4


def test_hidden_neurons_change_what_is_observed():
    config = {"units": 20, "duration_s": 10.0, "wiring": WiringConfig(density=0.0)}
    apart = simulate_circuit(CircuitConfig(hidden=10, **config))
    assert apart.activity.of_first(20).totals.sum() < apart.activity.totals.sum()


def test_delays_are_seconds_where_there_are_edges(confounded):
    truth = to_session(confounded, session_id="a").truth
    np.testing.assert_array_equal(truth.delays > 0, truth.weights != 0)
    assert np.unique(truth.delays).tolist() == pytest.approx([0.0, 0.005, 0.01])


def test_blocks_cover_the_recording_and_the_last_may_be_short(confounded):
    data = to_session(confounded, session_id="a")
    assert data.stop == 10.25
    np.testing.assert_allclose(data.truth.block_starts, np.arange(11))
    assert data.truth.log_likelihood.shape == (11, 20)


def test_events_of_a_step_lie_evenly_inside_it():
    counts = np.array([1, 3, 2])
    activity = Activity(
        steps=np.array([0, 2, 2]),
        neurons=np.array([1, 0, 1]),
        counts=counts,
        log_likelihood=np.zeros((1, 2)),
        n_steps=3,
        dt=0.006,
    )
    events = place_events(activity)
    np.testing.assert_allclose(events.times, [0.003, 0.013, 0.0135, 0.015, 0.0165, 0.017])
    assert events.units.tolist() == [1, 0, 1, 0, 1, 0]


def test_the_file_is_valid_and_gives_back_counts_on_the_grid(confounded, tmp_path):
    path = write_session(tmp_path / "a.h5", to_session(confounded, session_id="a"))
    assert validate_file(path) == []
    with Session(path) as session:
        events, dt = session.events(), session.truth.dt
    found = np.zeros((2050, 20), int)
    np.add.at(found, (np.floor(events.times / dt).astype(int), events.units), 1)
    seen = confounded.activity.of_first(20)
    expected = np.zeros_like(found)
    expected[seen.steps, seen.neurons] = seen.counts
    np.testing.assert_array_equal(found, expected)
    for unit in range(20):
        assert (np.diff(events.times[events.units == unit]) > 0).all()


def test_the_likelihood_follows_from_the_events_and_the_wiring_of_the_file(tmp_path):
    glm = GlmConfig(rate_sigma=0.0, ceiling_hz=150.0)
    config = CircuitConfig(units=15, duration_s=20.0, wiring=WiringConfig(density=0.2), glm=glm)
    path = write_session(tmp_path / "a.h5", to_session(simulate_circuit(config), session_id="a"))
    with Session(path) as session:
        events, truth = session.events(), session.truth
    dt = truth.dt
    counts = np.zeros((4000, 15))
    np.add.at(counts, (np.floor(events.times / dt).astype(int), events.units), 1)

    def decaying(series, time_constant_s, delay):
        delayed = np.concatenate([np.zeros(delay), series[: len(series) - delay]])
        return lfilter([1.0], [1.0, -np.exp(-dt / time_constant_s)], delayed)

    log_rate = np.full((4000, 15), np.log(glm.rate_hz * dt))
    for unit in range(15):
        log_rate[:, unit] -= glm.recovery * decaying(counts[:, unit], glm.recovery_s, 1)
    for source, target in np.argwhere(truth.weights != 0):
        weight, delay = truth.weights[source, target], round(truth.delays[source, target] / dt)
        time_constant = config.synapse.excitatory_s if weight > 0 else config.synapse.inhibitory_s
        log_rate[:, target] += weight * decaying(counts[:, source], time_constant, delay)
    law = stats.poisson(np.exp(np.minimum(log_rate, np.log(glm.ceiling_hz * dt))))
    expected = law.logpmf(counts).reshape(20, 200, 15).sum(axis=1)
    np.testing.assert_allclose(truth.log_likelihood, expected, rtol=1e-5)


def test_an_edge_shows_at_its_delay_in_the_cross_correlation():
    config = CircuitConfig(
        units=20,
        dt_s=0.001,
        duration_s=50.0,
        wiring=WiringConfig(density=0.05, weight=2.5, delay_min_s=0.004, delay_max_s=0.009),
        glm=GlmConfig(rate_hz=10.0, ceiling_hz=400.0),
    )
    truth = to_session(circuit := simulate_circuit(config), session_id="a").truth
    counts = np.zeros((circuit.activity.n_steps, 20))
    counts[circuit.activity.steps, circuit.activity.neurons] = circuit.activity.counts
    rises = []
    for source, target in np.argwhere(truth.weights > 1):
        rate = np.array(
            [counts[:-15, source] @ counts[lag : len(counts) - 15 + lag, target] for lag in range(15)]
        )
        rises.append((np.diff(rate).argmax() + 1) / 1000 - truth.delays[source, target])
    assert len(rises) > 5
    assert np.mean(np.abs(rises) < 1e-6) > 0.9


def test_summary_of_a_circuit(confounded):
    summary = summarize(confounded)
    data = to_session(confounded, session_id="a")
    assert summary["n_events"] == len(data.events)
    assert summary["rates_hz"]["mean"] == pytest.approx(len(data.events) / 20 / 10.25)
    assert summary["edges"]["observed"] == np.count_nonzero(data.truth.weights)
    assert summary["edges"]["inhibitory"] == np.count_nonzero(data.truth.weights < 0)
    assert summary["edges"]["all"] == np.count_nonzero(data.truth.extra["all_weights"])
    assert 0.05 < summary["bits_per_spike"]["truth"] < 3


@pytest.mark.parametrize("emission", ["poisson", "bernoulli"])
def test_nothing_is_attainable_where_rates_are_constant(emission):
    glm = GlmConfig(emission=emission, rate_hz=20.0, recovery=0.0)
    config = CircuitConfig(units=20, duration_s=50.0, wiring=WiringConfig(density=0.0), glm=glm)
    bits = summarize(simulate_circuit(config))["bits_per_spike"]["truth"]
    assert -0.002 < bits <= 0  # the constant rates were fitted to these very events


@pytest.mark.parametrize(
    ("kind", "column", "shape"),
    [
        ("distance", "position", (20, 2)),
        ("feed_forward", "layer", (20,)),
        ("ring", "angle_deg", (20,)),
        ("clustered", "cluster", (20,)),
    ],
)
def test_the_unit_table_tells_where_each_unit_lies(kind, column, shape, tmp_path):
    config = CircuitConfig(units=20, hidden=10, duration_s=5.0, wiring=WiringConfig(kind=kind))
    path = write_session(tmp_path / "a.h5", to_session(simulate_circuit(config), session_id="a"))
    assert validate_file(path) == []
    with Session(path) as session:
        assert session.units[column].shape == shape


def test_delays_grow_with_distance():
    sheet = DistanceConfig(velocity_m_s=0.1)
    config = CircuitConfig(
        units=40, dt_s=0.001, duration_s=5.0, wiring=WiringConfig(kind="distance", distance=sheet)
    )
    data = to_session(simulate_circuit(config), session_id="a")
    source, target = np.nonzero(data.truth.weights)
    position = data.units["position"]
    travel_s = np.linalg.norm(position[source] - position[target], axis=1) * 1e-6 / 0.1
    rest = data.truth.delays[source, target] - travel_s
    assert travel_s.max() > 0.005
    assert rest.min() > 0.0044  # delay_min_s, but for the rounding to steps
    assert rest.max() < 0.0106
