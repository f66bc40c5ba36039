import numpy as np
import pytest

from neuroformer.errors import UserError
from simulate import CircuitConfig, simulate_circuit, to_session
from simulate.input_config import StatesConfig
from simulate.states import States

DT = 0.01


def states(dwell_s, *, n=5, n_steps=200_000, seed=0, **settings):
    config = StatesConfig(dwell_s=dwell_s, **settings)
    return States(config, n=n, n_steps=n_steps, dt=DT, rng=np.random.default_rng(seed))


def test_the_time_in_a_state_is_geometric_with_the_mean_asked_for():
    first, visited = (found := states([0.2, 0.5, 0.1])).runs()
    stays = np.diff(np.r_[first, 200_000]) * DT
    for state, dwell in enumerate([0.2, 0.5, 0.1]):
        own = stays[visited == state]
        assert own.mean() == pytest.approx(dwell, rel=0.06)
        assert (own > 2 * dwell).mean() == pytest.approx((1 - DT / dwell) ** round(2 * dwell / DT), abs=0.02)
    np.testing.assert_allclose(np.bincount(found.states) / 200_000, np.array([2, 5, 1]) / 8, atol=0.03)


def test_from_a_state_each_other_one_is_alike():
    _, visited = states([0.05, 0.05, 0.05]).runs()
    assert (np.diff(visited) != 0).all()
    assert (np.diff(visited) % 3 == 1).mean() == pytest.approx(0.5, abs=0.02)


def test_input_is_the_level_of_the_state_times_the_loading():
    found = states([0.2, 0.5], n=4000, strength=0.8, spread=0.25)
    assert found.loadings.mean() == pytest.approx(0.8, rel=0.02)
    assert found.loadings.std() == pytest.approx(0.2, rel=0.05)
    np.testing.assert_allclose(found.input(70, 90), (found.states[70:90, None] - 0.5) * found.loadings)


def test_runs_start_in_the_stationary_distribution():
    starts = [states([0.3, 0.1], n_steps=1, seed=seed).states[0] for seed in range(2000)]
    assert np.mean(starts) == pytest.approx(0.25, abs=0.03)


def test_a_longer_run_begins_as_the_shorter_one():
    np.testing.assert_array_equal(
        states([0.2, 0.5], n_steps=1000).states, states([0.2, 0.5], n_steps=5000).states[:1000]
    )


def test_states_move_all_rates_and_are_kept_as_truth():
    config = CircuitConfig(
        units=20, duration_s=60.0, states=StatesConfig(dwell_s=[1.0, 1.0], strength=1.5, spread=0.0)
    )
    data = to_session(simulate_circuit(config), session_id="a")
    extra = data.truth.extra
    state = extra["states"][np.searchsorted(extra["state_starts"], data.events.times, side="right") - 1]
    high = np.diff(np.r_[extra["state_starts"], 60.0])[extra["states"] == 1].sum()
    rates = np.array([(state == 0).sum() / (60 - high), (state == 1).sum() / high])
    assert rates[1] > 2 * rates[0]
    np.testing.assert_allclose(extra["state_loadings"], np.full(20, 1.5))
    assert not data.behavior
    assert not data.stimulus


@pytest.mark.parametrize(
    ("dwell_s", "message"),
    [([1.0], "two states or more"), ([1.0, 0.0], "numbers above 0"), ([1.0, np.nan], "numbers above 0")],
)
def test_senseless_dwell_times(dwell_s, message):
    with pytest.raises(UserError, match=message):
        StatesConfig(dwell_s=dwell_s)


def test_a_dwell_time_below_a_step_is_refused():
    with pytest.raises(UserError, match=r"expected at least one step \(dt_s=0.01\) each"):
        states([1.0, 0.005])
