import numpy as np
import pytest

from neuroformer.errors import UserError
from simulate import CircuitConfig, simulate_circuit
from simulate.activity import Activity
from simulate.config import GlmConfig, LifConfig, WiringConfig
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
