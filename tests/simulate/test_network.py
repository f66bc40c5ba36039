"""The fast simulation against a plain one: step by step, from the equations, with the same random numbers."""

import numpy as np
import pytest
from scipy import stats

from simulate import CircuitConfig, simulate_circuit
from simulate.config import DriveConfig, GlmConfig, LifConfig, SynapseConfig, WiringConfig

FAST = SynapseConfig(excitatory_s=0.004, inhibitory_s=0.007)


def wiring(**settings):
    return WiringConfig(**{"density": 0.3, "delay_min_s": 0.003, "delay_max_s": 0.007, **settings})


CIRCUITS = {
    "glm, poisson, one step at a time": CircuitConfig(
        units=8,
        hidden=4,
        duration_s=3.0,
        wiring=WiringConfig(density=0.3),
        glm=GlmConfig(rate_hz=20.0),
        drive=DriveConfig(n=2, time_constant_s=0.1),
    ),
    "glm, poisson, blocks of 3 steps": CircuitConfig(
        units=8, dt_s=0.001, duration_s=0.5, wiring=wiring(), glm=GlmConfig(rate_hz=60.0, refractory_s=0.004)
    ),
    "glm, bernoulli, blocks of 3 steps": CircuitConfig(
        units=12,
        dt_s=0.001,
        duration_s=0.5,
        block_s=0.1,
        wiring=wiring(),
        synapse=FAST,
        glm=GlmConfig(emission="bernoulli", rate_hz=60.0, refractory_s=0.002, recovery_s=0.005),
    ),
    "lif, blocks of 3 steps": CircuitConfig(
        units=12,
        neuron="lif",
        dt_s=0.001,
        duration_s=0.5,
        block_s=0.1,
        wiring=wiring(weight=10.0),
        synapse=FAST,
        lif=LifConfig(input_mv=15.0, reset_mv=-60.0),
        drive=DriveConfig(n=1, strength=3.0),
    ),
    "lif, blocks of 2 steps, cut short by the likelihood's": CircuitConfig(
        units=8,
        neuron="lif",
        dt_s=0.001,
        duration_s=0.3,
        block_s=0.005,
        wiring=wiring(weight=10.0, delay_min_s=0.002),
        lif=LifConfig(input_mv=15.0, refractory_s=0.004),
    ),
    "lif without refractory period": CircuitConfig(
        units=6, neuron="lif", dt_s=0.001, duration_s=0.5, lif=LifConfig(input_mv=15.0, refractory_s=0.0)
    ),
    "no edges": CircuitConfig(
        units=5,
        dt_s=0.001,
        duration_s=0.5,
        wiring=WiringConfig(density=0.0),
        glm=GlmConfig(rate_hz=60.0, refractory_s=0.003),
    ),
}


def intensities(config, wiring, counts, bias, drive):
    """(n,) expected counts of the step after the (t, n) counts, from the whole past."""
    t, n = counts.shape
    dt, ago = config.dt_s, np.arange(len(counts), 0, -1)
    tau = np.where(wiring.inhibitory, config.synapse.inhibitory_s, config.synapse.excitatory_s)
    current = drive.copy()
    for source, target, weight, delay in zip(
        wiring.source, wiring.target, wiring.weight, wiring.delay, strict=True
    ):
        acts = ago >= delay
        kernel = np.exp(-(ago[acts] - delay) * dt / tau[source])
        current[target] += weight * kernel @ counts[acts, source]
    last = np.array([max(np.flatnonzero(counts[:, j]), default=-(10**6)) for j in range(n)])
    refractory = t - last <= round(config.refractory_s / dt)
    if config.neuron == "glm":
        history = -config.glm.recovery * np.exp(-(ago - 1) * dt / config.glm.recovery_s) @ counts
        value = np.exp(bias + current + history)
        return np.where(refractory, 0.0, np.minimum(value, config.glm.ceiling_hz * dt)), refractory, current
    return None, refractory, current


def plain(config, wiring):
    """(T, n) counts and (B, n) log-likelihoods."""
    n, n_steps, dt = wiring.n, round(config.duration_s / config.dt_s), config.dt_s
    _, neuron_rng, drive_rng, event_rng = map(
        np.random.default_rng, np.random.SeedSequence(config.seed).spawn(4)
    )
    spread = neuron_rng.standard_normal(n)
    drive = np.zeros((n_steps, n))
    if config.drive.n:
        loadings = drive_rng.standard_normal((config.drive.n, n))
        loadings /= np.sqrt((loadings**2).sum(axis=0))
        decay = np.exp(-dt / config.drive.time_constant_s)
        process = drive_rng.standard_normal(config.drive.n)
        for t in range(n_steps):
            process = decay * process + np.sqrt(1 - decay**2) * drive_rng.standard_normal(config.drive.n)
            drive[t] = config.drive.strength * process @ loadings
    lif, bias = config.lif, np.log(config.glm.rate_hz * dt) + config.glm.rate_sigma * spread
    potential, decay = np.full(n, lif.rest_mv), np.exp(-dt / lif.membrane_s)
    counts, log_likelihood = np.zeros((n_steps, n)), np.zeros((n_steps, n))
    for t in range(n_steps):
        rate, refractory, current = intensities(config, wiring, counts[:t], bias, drive[t])
        if config.neuron == "lif":
            total = lif.input_mv + lif.input_sigma_mv * spread + current
            potential = lif.rest_mv + decay * (potential - lif.rest_mv) + (1 - decay) * total
            potential = np.where(refractory, lif.reset_mv, potential)
            rate = dt * lif.escape_hz * np.exp((potential - lif.threshold_mv) / lif.escape_mv)
            rate = np.where(refractory, 0.0, rate)
        uniform = np.exp(-event_rng.standard_exponential(n))
        if config.emission == "poisson":
            law = stats.poisson(rate)
            counts[t] = law.ppf(uniform)
        else:
            law = stats.bernoulli(1 - np.exp(-rate))
            counts[t] = uniform > np.exp(-rate)
        log_likelihood[t] = law.logpmf(counts[t])
        potential = np.where(counts[t] > 0, lif.reset_mv, potential)
    block = round(config.block_s / dt)
    return counts, np.add.reduceat(log_likelihood, np.arange(0, n_steps, block), axis=0)


@pytest.mark.parametrize("config", CIRCUITS.values(), ids=CIRCUITS.keys())
def test_same_events_and_likelihoods_as_step_by_step(config):
    circuit = simulate_circuit(config)
    counts, log_likelihood = plain(config, circuit.wiring)
    activity = circuit.activity
    found = np.zeros_like(counts)
    found[activity.steps, activity.neurons] = activity.counts
    assert counts.sum() > 40  # enough happens to compare
    np.testing.assert_array_equal(found, counts)
    np.testing.assert_allclose(activity.log_likelihood, log_likelihood, rtol=1e-9, atol=1e-9)


def test_several_events_of_a_step_do_occur_under_poisson():
    circuit = simulate_circuit(CIRCUITS["glm, poisson, one step at a time"])
    assert circuit.activity.counts.max() > 1
    assert simulate_circuit(CIRCUITS["lif, blocks of 3 steps"]).activity.counts.max() == 1


def test_same_settings_same_events_and_another_seed_other_ones():
    def events(**changes):
        activity = simulate_circuit(CircuitConfig(units=20, duration_s=20.0, **changes)).activity
        return activity.steps, activity.neurons, activity.counts, activity.log_likelihood

    for first, second in zip(events(seed=3), events(seed=3), strict=True):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(events(seed=3)[0], events(seed=4)[0])


def test_a_longer_run_begins_as_the_shorter_one():
    short, long = (
        simulate_circuit(CircuitConfig(units=20, hidden=5, duration_s=duration, drive=DriveConfig(n=2)))
        for duration in (10.0, 30.0)
    )
    np.testing.assert_array_equal(short.wiring.weight, long.wiring.weight)
    np.testing.assert_array_equal(short.wiring.delay, long.wiring.delay)
    n = len(short.activity.steps)
    np.testing.assert_array_equal(short.activity.steps, long.activity.steps[:n])
    np.testing.assert_array_equal(short.activity.neurons, long.activity.neurons[:n])
    np.testing.assert_array_equal(short.activity.log_likelihood, long.activity.log_likelihood[:10])


@pytest.mark.parametrize(
    "settings",
    [
        {"glm": GlmConfig(rate_hz=50.0, emission="bernoulli", refractory_s=0.005)},
        {"neuron": "lif", "lif": LifConfig(input_mv=15.0, refractory_s=0.005)},
    ],
)
def test_no_event_within_the_refractory_period(settings):
    activity = simulate_circuit(CircuitConfig(units=20, dt_s=0.001, duration_s=20.0, **settings)).activity
    gaps = np.concatenate([np.diff(activity.steps[activity.neurons == neuron]) for neuron in range(20)])
    assert gaps.min() == 6  # 5 silent steps, then it may fire at once


def test_recovery_makes_short_gaps_rare():
    def short_gaps(recovery):
        config = CircuitConfig(
            units=20, duration_s=50.0, wiring=WiringConfig(density=0), glm=GlmConfig(recovery=recovery)
        )
        activity = simulate_circuit(config).activity
        gaps = np.concatenate([np.diff(activity.steps[activity.neurons == neuron]) for neuron in range(20)])
        return np.mean(gaps <= 2)

    assert short_gaps(recovery=3.0) < 0.3 * short_gaps(recovery=0.0)
