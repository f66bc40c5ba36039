"""What holds in every kind of wiring."""

import hashlib
from typing import get_args

import numpy as np
import pytest

from simulate import CircuitConfig, simulate_circuit
from simulate.config import WiringConfig, WiringKind
from simulate.wiring import cell_types, draw_wiring

KINDS = get_args(WiringKind)


def draw(kind, *, seed=0, n=120, observed=None, **settings):
    parts = [n] if observed is None else [observed, n - observed]
    config = WiringConfig(kind=kind, hub_exponent=None, **settings)
    return draw_wiring(
        config,
        inhibitory=np.concatenate([cell_types(part, excitatory=config.excitatory) for part in parts]),
        delays=(2, 5),
        rng=np.random.default_rng(seed),
        places_rng=np.random.default_rng(seed + 1000),
        observed=observed,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_dales_law_log_normal_weights_delays_and_no_self_connections(kind):
    wiring = draw(kind, weight=0.5, weight_sigma=0.4, inhibition=3.0)
    inhibitory = wiring.inhibitory[wiring.source]
    assert (wiring.weight[inhibitory] < 0).all()
    assert (wiring.weight[~inhibitory] > 0).all()
    assert (wiring.source != wiring.target).all()
    spread = np.log(wiring.weight / wiring.median)
    assert spread.mean() == pytest.approx(0, abs=0.05)
    assert spread.std() == pytest.approx(0.4, rel=0.06)
    np.testing.assert_allclose(wiring.median[inhibitory], -1.5)
    assert wiring.delay.min() >= 2
    assert kind == "distance" or wiring.delay.max() == 5


@pytest.mark.parametrize("kind", KINDS)
def test_density_is_as_asked(kind):
    found = [len(draw(kind, seed=seed, density=0.08).source) / (120 * 119) for seed in range(8)]
    assert np.mean(found) == pytest.approx(0.08, rel=0.08)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seeds_give_the_same_wiring_and_others_another(kind):
    first, second, other = draw(kind), draw(kind), draw(kind, seed=1)
    for name in ("source", "target", "weight", "delay"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert not np.array_equal(first.matrix(first.weight), other.matrix(other.weight))


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_neurons_have_their_share_of_every_place(kind):
    wiring = draw(kind, observed=60)
    for name, places in wiring.places.items():
        assert len(places) == 120
        if name in ("layer", "cluster"):
            np.testing.assert_array_equal(np.unique(places[:60]), np.unique(places[60:]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_circuit_of_each_kind_runs(kind):
    circuit = simulate_circuit(CircuitConfig(units=20, duration_s=5.0, wiring=WiringConfig(kind=kind)))
    assert 1 < circuit.activity.rates_hz.mean() < 30


PINNED = {
    "glm": (CircuitConfig(units=20, hidden=5, duration_s=20.0), "ac18f24cb6c9cddc"),
    "lif": (
        CircuitConfig(units=20, neuron="lif", dt_s=0.001, duration_s=5.0, wiring=WiringConfig(weight=6.0)),
        "b3188d77653ecd36",
    ),
}


@pytest.mark.parametrize(("config", "expected"), PINNED.values(), ids=PINNED.keys())
def test_random_wiring_and_its_events_are_what_they_always_were(config, expected):
    circuit = simulate_circuit(config)
    wiring, activity = circuit.wiring, circuit.activity
    parts = activity.steps, activity.neurons, activity.counts, wiring.source, wiring.target, wiring.delay
    found = hashlib.sha256(b"".join(part.astype("<i8").tobytes() for part in parts)).hexdigest()
    assert found[:16] == expected
