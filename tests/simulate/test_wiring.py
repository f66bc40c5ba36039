import numpy as np
import pytest

from simulate.config import WiringConfig
from simulate.wiring import cell_types, draw_wiring


def draw(seed=0, *, n=300, delays=(2, 5), **settings):
    config = WiringConfig(**settings)
    inhibitory = cell_types(n, excitatory=config.excitatory)
    return draw_wiring(config, inhibitory=inhibitory, delays=delays, rng=np.random.default_rng(seed))


def out_degrees(wiring):
    return np.bincount(wiring.source, minlength=wiring.n)


def test_every_neuron_either_excites_or_inhibits():
    weights = (wiring := draw()).matrix(wiring.weight)
    assert wiring.inhibitory.sum() == 60
    assert (weights[~wiring.inhibitory] >= 0).all()
    assert (weights[wiring.inhibitory] <= 0).all()
    assert (wiring.weight != 0).all()


def test_no_neuron_reaches_itself_and_no_pair_twice():
    wiring = draw(density=0.9)
    assert (wiring.source != wiring.target).all()
    assert len(set(zip(wiring.source, wiring.target, strict=True))) == len(wiring.source)


@pytest.mark.parametrize("hub_exponent", [None, 3.0])
def test_density_is_as_asked(hub_exponent):
    densities = [
        len(draw(seed, density=0.1, hub_exponent=hub_exponent).source) / (300 * 299) for seed in range(5)
    ]
    assert np.mean(densities) == pytest.approx(0.1, rel=0.06)


def test_hubs_have_many_targets():
    plain, hubs = out_degrees(draw(hub_exponent=None)), out_degrees(draw(hub_exponent=2.5))
    assert plain.max() < 2 * plain.mean()
    assert hubs.max() > 3 * hubs.mean()
    assert hubs.var() > 5 * plain.var()
    in_degrees = np.bincount(draw(hub_exponent=2.5).target, minlength=300)
    assert in_degrees.max() < 2 * in_degrees.mean()


def test_weights_are_log_normal_with_the_median_of_their_type():
    wiring = draw(weight=0.4, weight_sigma=0.5, inhibition=3.0)
    inhibitory = wiring.inhibitory[wiring.source]
    excitation, inhibition = np.log(wiring.weight[~inhibitory]), np.log(-wiring.weight[inhibitory])
    assert np.exp(np.median(excitation)) == pytest.approx(0.4, rel=0.05)
    assert np.exp(np.median(inhibition)) == pytest.approx(1.2, rel=0.05)
    assert excitation.std() == pytest.approx(0.5, rel=0.05)


def test_delays_cover_the_range_evenly():
    counts = np.bincount(draw(delays=(2, 5)).delay)
    assert counts[:2].sum() == 0
    assert len(counts) == 6
    np.testing.assert_allclose(counts[2:] / counts.sum(), 0.25, atol=0.02)


def test_matrix_holds_values_at_source_and_target():
    wiring = draw(n=30)
    delays = wiring.matrix(wiring.delay)
    assert delays.dtype == np.float32
    assert delays[wiring.source[7], wiring.target[7]] == wiring.delay[7]
    assert np.count_nonzero(delays) == len(wiring.source)
