"""What makes each kind of wiring what it is, on large networks."""

import numpy as np
import pytest

from neuroformer.errors import UserError
from simulate.wirings.clustered import ClusteredConfig, clustered
from simulate.wirings.distance import DistanceConfig, distance
from simulate.wirings.feed_forward import FeedForwardConfig, feed_forward
from simulate.wirings.motifs import MotifsConfig, joint_probability, motifs
from simulate.wirings.ring import RingConfig, ring
from simulate.wirings.sketch import Population, scaled_to_density
from simulate.wirings.small_world import SmallWorldConfig, small_world


def population(n=400, *, excitatory=0.8):
    return Population(inhibitory=np.arange(n) >= excitatory * n, observed=n)


def others(n):
    return ~np.eye(n, dtype=bool)


def test_places_are_even_for_each_type_and_for_observed_and_hidden():
    crowd = Population(inhibitory=np.array([False, False, True, False, False, True]), observed=3)
    np.testing.assert_allclose(crowd.spread(), [0.25, 0.75, 0.5, 0.25, 0.75, 0.5])


def test_scaling_reaches_the_density_though_some_pairs_are_certain():
    profile = np.array([[0.0, 1.0, 100.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    scaled = scaled_to_density(profile, 0.5, cure="")
    assert scaled.sum() == pytest.approx(3.0)
    np.testing.assert_allclose(scaled, [[0, 0.4, 1], [0.4, 0, 0.4], [0.4, 0.4, 0]])
    assert scaled_to_density(profile, 1.0, cure="").sum() == pytest.approx(6)
    with pytest.raises(UserError, match=r"wiring.density=0.5: expected at most 0.333 .*; lower it"):
        scaled_to_density(profile * (np.arange(3) == 1), 0.5, cure="lower it")


def test_edges_lead_from_a_layer_to_the_next_and_nowhere_else(rng):
    sketch = feed_forward(FeedForwardConfig(layers=5), density=0.1, population=population(), rng=rng)
    source, target = np.nonzero(sketch.connected)
    layer = sketch.places["layer"]
    np.testing.assert_array_equal(layer[target], layer[source] + 1)
    assert np.bincount(layer).tolist() == [80] * 5
    assert np.unique(layer[320:]).tolist() == [0, 1, 2, 3, 4]  # every layer has inhibitory neurons


def test_a_chain_too_long_for_its_density_is_refused(rng):
    with pytest.raises(UserError, match=r"wiring.density=0.3: .* wiring.feed_forward.layers"):
        feed_forward(FeedForwardConfig(layers=10), density=0.3, population=population(), rng=rng)


def test_excitation_is_narrow_and_inhibition_wide_on_the_ring(rng):
    crowd = population(excitatory=0.5)
    sketch = ring(RingConfig(excitatory_deg=25, inhibitory_deg=80), density=0.1, population=crowd, rng=rng)
    angle = np.deg2rad(sketch.places["angle_deg"])
    difference = angle[:, None] - angle[None, :]
    for inhibitory, width in ((False, 25), (True, 80)):
        rows = crowd.inhibitory == inhibitory
        connected = sketch.connected[rows]
        assert connected.mean() == pytest.approx(0.1, rel=0.05)
        profile = np.exp((np.cos(difference[rows]) - 1) / np.deg2rad(width) ** 2)
        near = np.cos(difference[rows]) > 0.9
        expected = (profile * near).sum() / profile.sum()
        assert (connected & near).sum() / connected.sum() == pytest.approx(expected, rel=0.1)
    opposite = np.cos(difference) < -0.5
    assert sketch.connected[~crowd.inhibitory][opposite[~crowd.inhibitory]].mean() < 0.002
    assert sketch.connected[crowd.inhibitory][opposite[crowd.inhibitory]].mean() > 0.03


def test_clusters_are_denser_and_stronger_inside_at_an_unchanged_mean(rng):
    config = ClusteredConfig(n=4, ratio=3.0, strength=1.7)
    sketch = clustered(config, density=0.1, population=population(), rng=rng)
    cluster = sketch.places["cluster"]
    assert np.bincount(cluster[:320]).tolist() == [80] * 4
    assert (cluster[320:] == -1).all()
    same = (cluster[:, None] == cluster) & (cluster >= 0)
    excitatory = np.outer(cluster >= 0, cluster >= 0) & others(400)
    inside = sketch.connected[same & others(400)].mean()
    across = sketch.connected[excitatory & ~same].mean()
    assert inside / across == pytest.approx(3.0, rel=0.1)
    assert sketch.connected[excitatory].mean() == pytest.approx(0.1, rel=0.03)
    assert sketch.connected[~excitatory & others(400)].mean() == pytest.approx(0.1, rel=0.03)
    np.testing.assert_array_equal(sketch.strength, np.where(same, 1.7, 1.0))


def hops(sketch, n):
    place = np.argsort(np.argsort(sketch.places["angle_deg"], kind="stable"))
    apart = np.abs(place[:, None] - place[None, :])
    return np.minimum(apart, n - apart)


@pytest.mark.parametrize("rewire", [0.0, 0.2, 1.0])
def test_a_small_world_has_the_asked_fraction_of_edges_off_the_lattice(rng, rewire):
    sketch = small_world(SmallWorldConfig(rewire=rewire), density=0.05, population=population(), rng=rng)
    k = round(0.05 * 399)
    assert (sketch.connected.sum(axis=1) == k).all()
    assert not sketch.connected.diagonal().any()
    off = (sketch.connected & (hops(sketch, 400) > k / 2)).sum() / sketch.connected.sum()
    assert off == pytest.approx(rewire, abs=0.02)
    assert rewire not in (0, 1) or off == rewire


def test_few_shortcuts_shorten_paths_and_keep_neighbourhoods():
    def length_and_clustering(rewire):
        sketch = small_world(
            SmallWorldConfig(rewire=rewire),
            density=0.03,
            population=population(),
            rng=np.random.default_rng(0),
        )
        edges = sketch.connected.astype(float)
        reached, distance_to = np.eye(400, dtype=bool), np.zeros((400, 400))
        while not reached.all():
            distance_to += ~reached
            reached |= reached @ sketch.connected
        two_steps = edges @ edges
        return distance_to.mean(), (two_steps * edges).sum() / (two_steps * others(400)).sum()

    lattice, small, random = (length_and_clustering(rewire) for rewire in (0.0, 0.05, 1.0))
    assert small[0] < 0.4 * lattice[0]
    assert small[1] > 0.7 * lattice[1]
    assert random[1] < 0.2 * lattice[1]


def test_half_of_all_pairs_is_the_most_that_a_small_world_takes(rng):
    with pytest.raises(UserError, match=r"wiring.density=0.6: expected at most 0.5"):
        small_world(SmallWorldConfig(), density=0.6, population=population(20), rng=rng)


@pytest.mark.parametrize("decay", ["exponential", "gaussian"])
def test_edges_thin_out_with_distance_as_asked(rng, decay):
    config = DistanceConfig(side_um=1000, length_um=150, decay=decay, velocity_m_s=0.2)
    sketch = distance(config, density=0.05, population=population(800), rng=rng)
    position = sketch.places["position"]
    assert position.min() >= 0
    assert 950 < position.max() <= 1000
    away = np.hypot(*(position[:, None] - position[None, :]).T)
    np.testing.assert_allclose(sketch.travel_s, away * 1e-6 / 0.2)
    edges = np.array([100.0, 200.0, 300.0, 400.0])
    pairs, found = (np.histogram(away[mask], edges)[0] for mask in (others(800), sketch.connected))
    middle = (edges[1:] + edges[:-1]) / 2 / 150
    expected = np.exp(-middle if decay == "exponential" else -(middle**2) / 2)
    chance = found / pairs
    np.testing.assert_allclose(chance / chance[0], expected / expected[0], rtol=0.15)


def test_delays_know_no_distance_without_a_velocity(rng):
    sketch = distance(DistanceConfig(velocity_m_s=None), density=0.1, population=population(50), rng=rng)
    assert sketch.travel_s is None


def pairs(connected):
    """How many pairs of edges there are of each kind, over as many as there would be by chance."""
    n, edges = len(connected), connected.astype(float)
    into, out = edges.sum(axis=0), edges.sum(axis=1)
    p = edges.sum() / (n * (n - 1))
    triples = n * (n - 1) * (n - 2)
    mutual = np.trace(edges @ edges)
    counts = {
        "reciprocal": mutual / (n * (n - 1)),
        "convergent": (into * (into - 1)).sum() / triples,
        "divergent": (out * (out - 1)).sum() / triples,
        "chain": ((into * out).sum() - mutual) / triples,
    }
    return {name: count / p**2 - 1 for name, count in counts.items()}


@pytest.mark.parametrize(
    "excess",
    [
        {"reciprocal": 3.0, "convergent": 0.0, "divergent": 0.0, "chain": 0.0},
        {"reciprocal": 3.0, "convergent": 0.3, "divergent": 0.4, "chain": 0.2},
        {"reciprocal": -0.5, "convergent": 0.3, "divergent": 0.2, "chain": -0.2},
        {"reciprocal": 0.0, "convergent": 0.0, "divergent": 0.0, "chain": 0.0},
    ],
)
def test_pairs_of_edges_are_as_frequent_as_asked(excess):
    found = [
        pairs(
            motifs(
                MotifsConfig(**excess),
                density=0.1,
                population=population(600),
                rng=np.random.default_rng(seed),
            ).connected
        )
        for seed in range(4)
    ]
    for name, value in excess.items():
        assert np.mean([counts[name] for counts in found]) == pytest.approx(value, abs=0.06, rel=0.05), name


def test_joint_probability_is_that_of_two_normal_numbers(rng):
    assert joint_probability(1.0, 0.0) == pytest.approx(0.15866**2, rel=1e-4)
    assert joint_probability(1.0, 1.0) == pytest.approx(0.15866, rel=1e-4)
    assert joint_probability(1.0, -1.0) == pytest.approx(0.0, abs=1e-9)
    assert joint_probability(0.0, 0.5) == pytest.approx(1 / 3)  # 1/4 + asin(ρ) / 2π


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reciprocal": 20.0}, r"reciprocal=20: expected -1.00 to 9.00 at wiring.density=0.1"),
        ({"chain": 1.0}, r"chain=1: expected nearer to 0.* raise wiring.motifs.convergent"),
        ({"convergent": 4.0, "divergent": 4.0}, r"reciprocal=3: no network has that many"),
    ],
)
def test_motifs_that_no_network_has_are_refused(rng, settings, message):
    with pytest.raises(UserError, match=message):
        motifs(MotifsConfig(**settings), density=0.1, population=population(20), rng=rng)
