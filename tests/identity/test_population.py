import dataclasses

import numpy as np
import pytest

from neuroformer.identity.activity import Activity, Stretch
from neuroformer.identity.population import (
    TRIGGERED_LAGS,
    behavior_features,
    correlation_graph,
    population_features,
    triggered_rate,
)


def of(values: np.ndarray, behavior: np.ndarray) -> Activity:
    n = values.shape[1]
    stretch = Stretch(
        start=0.0,
        stop=0.1 * len(values),
        times=[np.zeros(0)] * n,
        amplitudes=None,
        activity=values,
        behavior=behavior,
    )
    return Activity(
        name="a",
        n_units=n,
        bin_s=0.1,
        step_s=0.1,
        from_traces=False,
        behavior_names=tuple(f"b{k}" for k in range(behavior.shape[1])),
        stretches=[stretch],
    )


@pytest.fixture
def made(rng: np.random.Generator) -> Activity:
    """Units 0–3 follow one drive, unit 4 nobody; the drive is the behaviour, four samples late."""
    drive = np.convolve(rng.normal(size=1000), np.ones(3), "same")
    values = rng.normal(size=(1000, 5))
    values[:, :4] += 2 * drive[:, None]
    return of(values, np.roll(drive, 4)[:, None])


def test_who_follows_the_population_is_seen(made: Activity) -> None:
    values, names = population_features(made)
    coupling = values[:, names.index("population_lag_0")]
    assert coupling[:4].min() > 0.7
    assert abs(coupling[4]) < 0.15
    first = values[:, names.index("component_0")]
    assert np.abs(first[:4]).min() > 0.7


def test_the_features_do_not_depend_on_the_order_of_units(made: Activity) -> None:
    order = np.array([4, 2, 0, 3, 1])
    values, _ = population_features(made)
    turned, _ = population_features(of(made.stretches[0].activity[:, order], made.stretches[0].behavior))
    np.testing.assert_allclose(turned, values[order], atol=1e-6)


def test_behavior_is_met_at_its_lag(made: Activity) -> None:
    values, names = behavior_features(made)
    by_lag = {lag: values[0, names.index(f"b0_level_lag_{lag}")] for lag in (-16, -4, 0, 4, 16)}
    assert max(by_lag, key=lambda lag: by_lag[lag]) == 4
    assert abs(values[4, names.index("b0_level_lag_4")]) < 0.15


def test_the_graph_has_no_diagonal(made: Activity) -> None:
    graph = correlation_graph(made)
    assert np.diagonal(graph).tolist() == [0] * 5
    np.testing.assert_allclose(graph, graph.T, atol=1e-12)
    np.testing.assert_allclose(graph[0, 1], np.corrcoef(made.stretches[0].activity.T)[0, 1], atol=1e-12)


def test_what_a_unit_does_to_the_others_shows_after_its_events(rng: np.random.Generator) -> None:
    """Unit 0 makes the others fire two bins later; by hand for one unit and lag."""
    driver = np.sort(rng.choice(np.arange(1, 900), 80, replace=False))
    bins = [
        driver,
        np.sort(np.r_[driver + 2, rng.integers(0, 1000, 80)]),
        np.sort(rng.integers(0, 1000, 160)),
    ]
    times = [(b + 0.5) * 0.1 for b in bins]
    made = of(np.zeros((1000, 3)), np.zeros((1000, 0)))
    stretch = dataclasses.replace(made.stretches[0], times=times)
    found = triggered_rate(dataclasses.replace(made, stretches=[stretch]))
    assert TRIGGERED_LAGS[int(found[0].argmax())] == 2
    assert TRIGGERED_LAGS[int(found[1].argmax())] == -2
    others = np.bincount(np.concatenate(bins[1:]), minlength=1000)
    by_hand = (others[driver + 1].mean() - others.mean()) / others.std()
    np.testing.assert_allclose(found[0, TRIGGERED_LAGS.index(1)], by_hand)
