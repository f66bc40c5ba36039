import numpy as np
import pytest

from simulate import CircuitConfig, simulate_circuit
from simulate.config import SynapseConfig, WiringConfig
from simulate.izhikevich import LOWEST_MV, IzhikevichConfig, IzhikevichNeurons

SHARP = {"threshold_mv": 30.0, "escape_mv": 0.01, "input_sigma": 0.0}
"""An event where v reaches its peak, and nowhere else, as in the paper."""


@pytest.mark.parametrize(("dt", "noise"), [(0.001, 0.0), (0.0005, 0.0), (0.001, 2.0)])
def test_same_events_and_likelihoods_as_step_by_step(dt, noise):
    n, n_steps = 10, round(0.6 / dt)
    config = CircuitConfig(
        units=n,
        neuron="izhikevich",
        dt_s=dt,
        duration_s=0.6,
        block_s=0.2,
        wiring=WiringConfig(density=0.4, weight=3.0, delay_min_s=0.003, delay_max_s=0.006),
        synapse=SynapseConfig(excitatory_s=0.004, inhibitory_s=0.008),
        izhikevich=IzhikevichConfig(input=8.0, inhibitory_input=6.0, noise=noise),
    )
    circuit = simulate_circuit(config)
    wiring, activity, cell = circuit.wiring, circuit.activity, config.izhikevich
    _, neuron_rng, _, event_rng = map(np.random.default_rng, np.random.SeedSequence(0).spawn(4))
    r, spread, ms = neuron_rng.random(n), neuron_rng.standard_normal(n), dt * 1000
    a, b, c, d, constant = np.zeros((5, n))
    for j in range(n):
        if wiring.inhibitory[j]:
            a[j], b[j], c[j], d[j], constant[j] = 0.02 + 0.08 * r[j], 0.25 - 0.05 * r[j], -65, 2, 6.0
        else:
            a[j], b[j], c[j], d[j], constant[j] = 0.02, 0.2, -65 + 15 * r[j] ** 2, 8 - 6 * r[j] ** 2, 8.0
    constant += 0.5 * spread
    v = np.full(n, -65.0)
    u = b * v
    counts, log_likelihood = np.zeros((n_steps, n)), np.zeros((n_steps, n))
    for t in range(n_steps):
        current, ago = constant.copy(), np.arange(t, 0, -1)
        for i, j, w, delay in zip(wiring.source, wiring.target, wiring.weight, wiring.delay, strict=True):
            kernel = np.exp(-(ago - delay) * dt / (0.008 if w < 0 else 0.004))
            current[j] += w * np.where(ago >= delay, kernel, 0.0) @ counts[:t, i]
        if noise:
            current += noise / np.sqrt(ms) * neuron_rng.standard_normal(n)
        for _ in range(round(ms / 0.5)):
            v = np.clip(v + 0.5 * (0.04 * v**2 + 5 * v + 140 - u + current), LOWEST_MV, 30.0)
        u = u + ms * a * (b * v - u)
        rate = dt * cell.escape_hz * np.exp((v - cell.threshold_mv) / cell.escape_mv)
        rate = np.where(v >= 30, 100.0, np.minimum(rate, 100.0))
        counts[t] = event_rng.standard_exponential(n) < rate
        log_likelihood[t] = np.where(counts[t] > 0, np.log1p(-np.exp(-rate)), -rate)
        v = np.where(counts[t] > 0, c, v)
        u = np.where(counts[t] > 0, u + d, u)
    found = np.zeros_like(counts)
    found[activity.steps, activity.neurons] = activity.counts
    assert counts.sum() > 40
    np.testing.assert_array_equal(found, counts)
    expected = log_likelihood.reshape(3, -1, n).sum(axis=1)
    np.testing.assert_allclose(activity.log_likelihood, expected, rtol=1e-6, atol=1e-9)


def spike_times(current, *, inhibitory, seconds=1.0):
    """Steps (ms) of the events of one neuron without noise, fed a constant input."""
    config = IzhikevichConfig(input=current, inhibitory_input=current, **SHARP)
    cell = IzhikevichNeurons(
        config, inhibitory=np.array([inhibitory]), dt=0.001, rng=np.random.default_rng(0)
    )
    times = []
    for t in range(round(seconds * 1000)):
        if cell.intensity(np.zeros((1, 1)), np.zeros((1, 1), bool))[0, 0] > 50:
            cell.fire(np.array([0]), np.array([1]), np.array([0]))
            times.append(t)
    return np.array(times)


def test_a_regular_spiking_neuron_adapts_and_a_fast_spiking_one_fires_faster():
    regular, fast = spike_times(10.0, inhibitory=False), spike_times(10.0, inhibitory=True)
    assert regular[1] - regular[0] < 0.8 * np.diff(regular)[-1]
    assert len(fast) > 2 * len(regular) > 10


def test_firing_begins_at_the_rheobase_and_grows_with_the_input():
    # The resting state loses its stability where 0.08 v + 5 = a: at v = -62.25, which is I = 3.8 for b = 0.2.
    assert (spike_times(3.7, inhibitory=False) < 300).all()  # but for what the start sets off
    rates = [len(spike_times(current, inhibitory=False)) for current in (4.2, 6.0, 10.0, 20.0)]
    assert rates == sorted(set(rates))
    assert rates[0] > 0


def test_strong_inhibition_does_not_make_it_fire():
    assert len(spike_times(-200.0, inhibitory=False)) == 0


def test_more_escape_noise_more_events_below_the_rheobase():
    def rate(escape_mv):
        config = CircuitConfig(
            units=30,
            neuron="izhikevich",
            dt_s=0.001,
            duration_s=5.0,
            wiring=WiringConfig(density=0.0),
            izhikevich=IzhikevichConfig(escape_mv=escape_mv),
        )
        return simulate_circuit(config).activity.rates_hz.mean()

    assert rate(7.0) > 2 * rate(5.0) > 2
