"""Posteriors, the readout's density and trials against brute force on small grids."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from neuroformer.data import Span
from neuroformer.data.grid import Axis, Grid
from neuroformer.data.motion import MotionCounts
from neuroformer.decoding.methods import DEFAULT_WEIGHT, Inverter, grid_estimate, readout_density
from neuroformer.decoding.predict import Stretch
from neuroformer.inversion.filtering import smooth
from neuroformer.model.readout import Decoded
from neuroformer.training.knowledge import Knowledge

PLACE = Axis(name="place", dimension=0, edges=np.array([0.0, 1.0, 2.0]))
SIDE = Axis(name="side", dimension=0, edges=np.array([-0.5, 0.5, 1.5]), labels=("left", "right"), static=True)


def inverter(*axes: Axis, evidence: float = 0.7) -> Inverter:
    grid = Grid(axes=axes)
    g = len(grid)
    rng = np.random.default_rng(3)
    steps = rng.integers(0, 6, (g, g)) if not all(a.static for a in axes) else np.diag(np.full(g, 9))
    counts = MotionCounts(
        visits=steps.sum(1).astype(float),
        steps=steps.astype(float),
        unknown=np.array([[30.0, 4.0], [4.0, 12.0]]),
    )
    return Inverter(grid, Knowledge(motion=counts, prior=None, evidence=evidence))


def stretch(g: int, n: int = 4, readout: dict[str, Decoded] | None = None) -> Stretch:
    score = 2 * np.random.default_rng(0).standard_normal((n, g + 1))
    return Stretch(
        span=Span(epoch=0, start=0, stop=n),
        time=np.arange(n),
        truth={},
        readout=readout or {},
        log_likelihood=score,
    )


def two_readouts(n: int) -> dict[str, Decoded]:
    rng = torch.Generator().manual_seed(1)
    logits = torch.randn(1, n, 2, generator=rng)[0]
    return {
        "place": Decoded(
            mean=2 * torch.rand(n, 1, generator=rng), spread=0.3 + torch.rand(n, 1, generator=rng)
        ),
        "side": Decoded(log_probability=logits.log_softmax(-1)),
    }


@pytest.mark.parametrize("weight", [0.0, 0.25])
def test_the_posterior_is_that_of_all_paths_given_that_behaviour_is_known(weight: float) -> None:
    inv, n = inverter(PLACE, SIDE), 4
    one = stretch(4, n, two_readouts(n))
    assert one.log_likelihood is not None
    score = 0.7 * one.log_likelihood
    if weight:
        density = weight * readout_density(inv.grid, one.readout)
        score = score + np.column_stack([density, np.log(np.exp(density) @ inv.motion.start)])
    smoothed, causal = np.zeros((n, 5)), np.zeros((n, 5))
    for stop in range(1, n + 1):
        for path in product(range(5), repeat=stop):
            weigh = inv.chain.start[path[0]] * np.exp(score[0, path[0]])
            for t in range(1, stop):
                weigh *= inv.chain.step[path[t - 1], path[t]] * np.exp(score[t, path[t]])
            causal[stop - 1, path[-1]] += weigh
            if stop == n:
                smoothed[np.arange(n), path] += weigh
    for is_smoothed, expected in ((True, smoothed), (False, causal)):
        cells = expected[:, :4] / expected[:, :4].sum(1, keepdims=True)
        assert inv.posterior(one, smoothed=is_smoothed, weight=weight) == pytest.approx(cells)


def test_the_readouts_density_is_the_product_of_its_parts_and_sums_to_one() -> None:
    said = two_readouts(3)
    found = readout_density(Grid(axes=(PLACE, SIDE)), said)
    assert np.exp(found).sum(1) == pytest.approx(1)
    mean, spread = (np.asarray(x)[:, 0] for x in (said["place"].mean, said["place"].spread))
    variance = spread**2 + 1 / 12
    place = np.exp(-0.5 * (np.array([0.5, 1.5]) - mean[:, None]) ** 2 / variance[:, None])
    side = np.exp(np.asarray(said["side"].log_probability))
    expected = (place[:, :, None] * side[:, None]).reshape(3, 4)
    assert np.exp(found) == pytest.approx(expected / expected.sum(1, keepdims=True), rel=1e-5)


def test_an_angle_comes_round_in_the_readouts_density() -> None:
    axis = Axis(name="heading", dimension=0, edges=np.linspace(0, 360, 9), period=360.0)
    said = {"heading": Decoded(mean=torch.tensor([[1.0]]), spread=torch.tensor([[30.0]]))}
    found = readout_density(Grid(axes=(axis,)), said)[0]
    turned = {"heading": Decoded(mean=torch.tensor([[359.0]]), spread=torch.tensor([[30.0]]))}
    assert found[::-1] == pytest.approx(readout_density(Grid(axes=(axis,)), turned)[0])
    assert found[0] > found[7] > found[6]


def test_a_trial_of_static_variables_multiplies_its_bins() -> None:
    inv = inverter(SIDE)
    one = stretch(2, 6)
    assert one.log_likelihood is not None
    bins = np.array([1, 2, 4])
    total = np.log(inv.motion.start) + 0.7 * one.log_likelihood[bins, :2].sum(0)
    expected = np.exp(total - total.max())
    assert inv.of_trial(one, bins) == pytest.approx(expected / expected.sum())


def test_the_weight_is_the_one_under_which_the_labels_are_most_probable() -> None:
    inv, n = inverter(PLACE, SIDE), 40
    cells = np.random.default_rng(5).integers(0, 4, n)
    right = {
        "place": Decoded(mean=torch.tensor(cells // 2 + 0.5)[:, None], spread=torch.full((n, 1), 0.1)),
        "side": Decoded(
            log_probability=torch.tensor(np.where(np.arange(2) == cells[:, None] % 2, -0.01, -5.0))
        ),
    }
    wrong = {
        "place": Decoded(mean=torch.tensor(1.5 - cells // 2)[:, None], spread=torch.full((n, 1), 0.1)),
        "side": Decoded(
            log_probability=torch.tensor(np.where(np.arange(2) != cells[:, None] % 2, -0.01, -5.0))
        ),
    }
    assert inv.choose_weight([stretch(4, n, right)], [cells], smoothed=True) == 0.5
    assert inv.choose_weight([stretch(4, n, wrong)], [cells], smoothed=True) == 0.0
    nothing = np.full(n, -1)
    assert inv.choose_weight([stretch(4, n, right)], [nothing], smoothed=True) == DEFAULT_WEIGHT


def test_marginals_become_medians_and_probabilities() -> None:
    grid = Grid(axes=(PLACE, SIDE))
    posterior = np.array([[0.25, 0.0, 0.5, 0.25]])
    place, side = grid_estimate(grid, "place", [posterior]), grid_estimate(grid, "side", [posterior])
    assert place.mean is not None
    assert side.probability is not None
    assert place.mean[0] == pytest.approx(np.array([[1 + (0.5 - 0.25) / 0.75]]))
    assert side.probability[0] == pytest.approx(np.array([[0.75, 0.25]]))
    assert side.mean is None


def test_smoothing_where_a_cell_cannot_be_reached_gives_no_nan() -> None:
    inv = inverter(SIDE)
    static = inv.motion  # no step from one side to the other
    score = np.array([[0.0, -2000.0], [0.0, -1.0], [0.0, 0.0]])
    assert smooth(score, static) == pytest.approx(np.array([[1.0, 0.0]] * 3))
