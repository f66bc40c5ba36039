import re

import numpy as np
import pytest

from neuroformer.cli.settings import list_settings
from neuroformer.errors import UserError
from simulate import CircuitConfig, simulate_circuit
from simulate.activity import Activity
from simulate.advice import advise
from simulate.conductance import ConductanceConfig
from simulate.config import DriveConfig, GlmConfig, LifConfig, WiringConfig
from simulate.izhikevich import IzhikevichConfig
from simulate.plasticity import PlasticityConfig
from simulate.stability import refuse_unhealthy, synchrony


def activity(counts, dt=0.01):
    steps, neurons = np.nonzero(counts)
    n_steps, n = counts.shape
    return Activity(
        steps=steps,
        neurons=neurons,
        counts=counts[steps, neurons],
        log_likelihood=np.zeros((1, n)),
        n_steps=n_steps,
        dt=dt,
    )


def test_synchrony_of_independent_and_of_identical_neurons(rng):
    independent = rng.poisson(0.2, (20_000, 25))
    assert synchrony(activity(independent)) == pytest.approx(1 / 5, rel=0.05)
    assert synchrony(activity(np.repeat(independent[:, :1], 25, axis=1))) == pytest.approx(1.0)
    assert synchrony(activity(np.zeros((100, 25), int))) == 0.0


def test_synchrony_is_of_bins_of_10_ms(rng):
    coarse = rng.poisson(0.2, (1_000, 10))
    fine = np.zeros((10_000, 10), int)
    fine[::10] = coarse
    assert synchrony(activity(fine, dt=0.001)) == pytest.approx(synchrony(activity(coarse, dt=0.01)))


def test_a_silent_circuit_is_refused_with_advice():
    with pytest.raises(UserError, match=r"silent: mean rate 0.0\d+ Hz .* synchrony .* raise glm.rate_hz"):
        simulate_circuit(CircuitConfig(duration_s=20.0, glm=GlmConfig(rate_hz=0.01)))


@pytest.mark.parametrize(
    "settings",
    [
        {"wiring": WiringConfig(weight=5.0), "glm": GlmConfig(ceiling_hz=10_000.0)},
        {"neuron": "lif", "wiring": WiringConfig(weight=500.0), "lif": LifConfig(input_mv=30.0)},
    ],
)
def test_a_seizure_ends_the_run_early_with_advice(settings):
    # Ten years would not end in the time of a test.
    with pytest.raises(UserError, match=r"epileptic: mean rate \d+ Hz within 1 s.* lower wiring.weight"):
        simulate_circuit(CircuitConfig(duration_s=3e8, **settings))


def test_a_circuit_in_lockstep_is_refused(rng):
    together = np.repeat(rng.poisson(0.2, (2_000, 1)), 20, axis=1)
    with pytest.raises(UserError, match=r"synchrony 1.00, expected a synchrony of at most 0.7; lower"):
        refuse_unhealthy(activity(together))


def test_a_working_circuit_passes(rng):
    refuse_unhealthy(activity(rng.poisson(0.1, (2_000, 20))))


ADVICE = [
    ({"neuron": "glm"}, "raise glm.rate_hz", "lower wiring.weight, wiring.density or glm.rate_hz"),
    ({"neuron": "lif", "drive": DriveConfig(n=1)}, "raise lif.input_mv", "drive.strength or lif.input_mv"),
    ({"neuron": "conductance"}, "raise conductance.input_mv", "or conductance.input_mv"),
    ({"neuron": "izhikevich", "dt_s": 0.001}, "raise izhikevich.input", "or izhikevich.input"),
    ({"wiring": WiringConfig(kind="clustered")}, "glm.rate_hz", "lower wiring.clustered.strength"),
    ({"wiring": WiringConfig(kind="motifs")}, "glm.rate_hz", "lower wiring.motifs.convergent"),
    ({"plasticity": PlasticityConfig(fraction=0.2)}, "glm.rate_hz", "lower plasticity.factor"),
]


@pytest.mark.parametrize(("settings", "wake", "calm"), ADVICE)
def test_advice_names_settings_that_there_are_and_that_apply(settings, wake, calm):
    advice = advise(CircuitConfig(**settings))
    assert wake in advice.wake
    assert calm in advice.calm
    known = {setting.key for setting in list_settings(CircuitConfig)}
    named = re.findall(r"[a-z_]+(?:\.[a-z_]+)+", f"{advice.wake} {advice.calm}")
    assert set(named) <= known
    assert ("drive.strength" in named) == ("drive" in settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"neuron": "conductance", "conductance": ConductanceConfig(input_mv=60.0)},
        {"neuron": "izhikevich", "wiring": WiringConfig(weight=60.0, excitatory=1.0)},
    ],
)
def test_other_neurons_have_seizures_too(settings):
    source = rf"{settings['neuron']}\.input"
    with pytest.raises(UserError, match=rf"epileptic: mean rate \d+ Hz within 0.5 s.*{source}"):
        simulate_circuit(CircuitConfig(duration_s=3e8, dt_s=0.001, block_s=0.5, **settings))


@pytest.mark.parametrize(
    "settings",
    [
        {"neuron": "conductance", "conductance": ConductanceConfig(input_mv=-20.0)},
        {
            "neuron": "izhikevich",
            "izhikevich": IzhikevichConfig(input=-9.0, inhibitory_input=-9.0, escape_mv=1.0),
        },
    ],
)
def test_other_neurons_may_be_silent_too(settings):
    with pytest.raises(UserError, match=rf"silent: .*raise {settings['neuron']}\.input"):
        simulate_circuit(CircuitConfig(duration_s=3.0, dt_s=0.001, **settings))
