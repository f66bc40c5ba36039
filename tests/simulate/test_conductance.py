import numpy as np
import pytest

from simulate import CircuitConfig, simulate_circuit
from simulate.conductance import ConductanceConfig, ConductanceNeurons
from simulate.config import DriveConfig, SynapseConfig, WiringConfig

BUSY = ConductanceConfig(input_mv=14.0, refractory_s=0.003)


@pytest.mark.parametrize("drive", [0, 1])
def test_same_events_and_likelihoods_as_step_by_step(drive):
    config = CircuitConfig(
        units=10,
        neuron="conductance",
        dt_s=0.001,
        duration_s=0.6,
        block_s=0.2,
        wiring=WiringConfig(density=0.4, weight=0.4, delay_min_s=0.003, delay_max_s=0.006),
        synapse=SynapseConfig(excitatory_s=0.004, inhibitory_s=0.008),
        conductance=BUSY,
        drive=DriveConfig(n=drive, strength=3.0),
    )
    circuit = simulate_circuit(config)
    wiring, activity, cell = circuit.wiring, circuit.activity, config.conductance
    _, neuron_rng, drive_rng, event_rng = map(np.random.default_rng, np.random.SeedSequence(0).spawn(4))
    constant = cell.input_mv + cell.input_sigma_mv * neuron_rng.standard_normal(10)
    loadings, process = np.zeros((1, 10)), np.zeros(1)
    if drive:
        loadings = drive_rng.standard_normal((1, 10))
        loadings, process = 3.0 * np.sign(loadings), drive_rng.standard_normal(1)
    kept = np.exp(-0.001 / config.drive.time_constant_s)
    v, counts, log_likelihood = np.full(10, cell.rest_mv), np.zeros((600, 10)), np.zeros((600, 10))
    for t in range(600):
        opened = np.zeros((2, 10))
        ago = np.arange(t, 0, -1)
        for i, j, w, d in zip(wiring.source, wiring.target, wiring.weight, wiring.delay, strict=True):
            tau = 0.008 if w < 0 else 0.004
            kernel = np.where(ago >= d, np.exp(-(ago - d) * 0.001 / tau), 0.0)
            opened[int(w < 0), j] += abs(w) * kernel @ counts[:t, i]
        if drive:
            process = kept * process + np.sqrt(1 - kept**2) * drive_rng.standard_normal(1)
        total = 1 + opened.sum(axis=0)
        pull = cell.rest_mv + constant + process @ loadings
        towards = (pull + opened[0] * cell.excitatory_mv + opened[1] * cell.inhibitory_mv) / total
        v = towards + np.exp(-total * 0.001 / cell.membrane_s) * (v - towards)
        held = counts[max(t - 3, 0) : t].any(axis=0)
        v = np.where(held, cell.reset_mv, v)
        rate = 0.001 * cell.escape_hz * np.exp((v - cell.threshold_mv) / cell.escape_mv)
        rate[held] = 0
        counts[t] = event_rng.standard_exponential(10) < rate
        log_likelihood[t] = np.where(counts[t] > 0, np.log(-np.expm1(-np.maximum(rate, 1e-300))), -rate)
        v = np.where(counts[t] > 0, cell.reset_mv, v)
    found = np.zeros_like(counts)
    found[activity.steps, activity.neurons] = activity.counts
    assert counts.sum() > 40
    np.testing.assert_array_equal(found, counts)
    np.testing.assert_allclose(activity.log_likelihood, log_likelihood.reshape(3, 200, 10).sum(axis=1))


def test_the_step_is_exact_while_conductances_are_constant():
    config = ConductanceConfig(input_sigma_mv=0.0, input_mv=5.0)

    def after_20_ms(dt):
        cells = ConductanceNeurons(config, n=1, dt=dt, rng=np.random.default_rng(0))
        steps = round(0.02 / dt)
        current = np.zeros((steps, 3, 1))
        current[:, 0], current[:, 1] = 0.2, -0.5
        intensity = cells.intensity(current, np.zeros((steps, 1), bool))[-1, 0] / dt
        return config.threshold_mv + config.escape_mv * np.log(intensity / config.escape_hz)

    rest = (-65 + 5 + 0.5 * -75) / 1.7
    exact = rest + np.exp(-1.7) * (-65 - rest)
    assert after_20_ms(0.0001) == pytest.approx(exact)
    assert after_20_ms(0.01) == pytest.approx(exact)


def test_inhibition_at_rest_only_divides():
    config = ConductanceConfig(inhibitory_mv=-65.0, input_mv=10.0, input_sigma_mv=0.0)

    def depolarisation(inhibition):
        cells = ConductanceNeurons(config, n=1, dt=0.001, rng=np.random.default_rng(0))
        current = np.zeros((1000, 3, 1))
        current[:, 1] = -inhibition
        intensity = cells.intensity(current, np.zeros((1000, 1), bool))[-1, 0] / 0.001
        return config.threshold_mv + config.escape_mv * np.log(intensity / config.escape_hz) + 65

    assert depolarisation(0.0) == pytest.approx(10.0)
    assert depolarisation(1.0) == pytest.approx(5.0)
    assert depolarisation(3.0) == pytest.approx(2.5)


def test_rate_is_that_of_a_renewal_process_with_this_hazard():
    config = CircuitConfig(
        units=40,
        neuron="conductance",
        dt_s=0.001,
        duration_s=20.0,
        wiring=WiringConfig(density=0.0),
        conductance=ConductanceConfig(input_mv=13.0, input_sigma_mv=0.0),
    )
    cell, times = config.conductance, np.arange(1, 3000) * 0.001
    v = cell.rest_mv + 13.0 + np.exp(-times / cell.membrane_s) * (cell.reset_mv - cell.rest_mv - 13.0)
    hazard = 0.001 * cell.escape_hz * np.exp((v - cell.threshold_mv) / cell.escape_mv)
    mean_gap = cell.refractory_s + 0.001 * (1 + np.exp(-np.cumsum(hazard)).sum())
    assert simulate_circuit(config).activity.rates_hz.mean() == pytest.approx(1 / mean_gap, rel=0.02)
