from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from scipy.stats import norm, poisson

from neuroformer.baselines.decoding import Grid, Target
from neuroformer.baselines.decoding.motion import filtered, transitions
from neuroformer.baselines.decoding.naive_bayes import NaiveBayesDecoder
from neuroformer.errors import UserError
from neuroformer.settings.decoding import NaiveBayesConfig

Walk = Callable[..., tuple[list[np.ndarray], list[np.ndarray]]]
LINE = Target(name="position", bounds=((0.0, 100.0),))


@pytest.mark.parametrize("prior", ["flat", "occupancy"])
@pytest.mark.parametrize("traces", [False, True])
def test_the_posterior_is_that_of_a_loop(walk: Walk, prior: str, traces: bool) -> None:
    x, y = walk(lengths=(60, 40), n_units=6)
    if traces:
        x = [part + np.float32(0.25) for part in x]
    y[0][20:25] = np.nan
    window, sigma, prior_s, power, cells = 3, 0.1, 0.5, 0.5, 8
    config = NaiveBayesConfig(
        windows_s=[0.3],
        smoothing=[sigma],
        prior_s=[prior_s],
        evidence=[power],
        prior=prior,  # type: ignore[arg-type]
        cells=cells,
    )
    found = NaiveBayesDecoder(LINE, bin_s=0.1, config=config).fit(x, y).predict(x)
    width = 100 / cells
    middle = (np.arange(cells) + 0.5) * width
    sums, bins, cell = [], [], []
    for part, labels in zip(x, y, strict=True):
        for t in range(len(part)):
            past = part[max(0, t - window + 1) : t + 1]
            sums.append(past.astype(float).sum(0))
            bins.append(len(past))
            known = np.isfinite(labels[t, 0])
            cell.append(min(cells - 1, int(labels[t, 0] / width)) if known else -1)
    a = prior_s / 0.1
    labelled = [t for t in range(len(cell)) if cell[t] >= 0]
    rate, occupied = np.zeros((cells, 6)), np.ones(cells)
    for g, j in product(range(cells), range(6)):
        near = {t: np.exp(-0.5 * ((middle[g] - middle[cell[t]]) / (sigma * 100)) ** 2) for t in labelled}
        occupied[g] = 1 + sum(near.values())
        if traces:
            average = np.mean([sums[t][j] / bins[t] for t in labelled])
            above = sum(near[t] * sums[t][j] / bins[t] for t in labelled) + a * average
            rate[g, j] = above / (sum(near.values()) + a)
        else:
            average = max(sum(sums[t][j] for t in labelled), 0.5) / sum(bins[t] for t in labelled)
            above = sum(near[t] * sums[t][j] for t in labelled) + a * window * average
            rate[g, j] = above / (sum(near[t] * bins[t] for t in labelled) + a * window)
            if not any(sums[t][j] for t in labelled):
                rate[g, j] = average  # a silent unit says nothing
    if traces:
        values = np.array([sums[t] / bins[t] for t in labelled])
        residual = ((values - rate[[cell[t] for t in labelled]]) ** 2).mean(0)
        around = values.var(0)
        deviation = np.sqrt(np.maximum(residual, np.maximum(0.1 * around, 1e-3 * around.mean())))
    posterior = np.empty((len(sums), cells))
    for t, g in product(range(len(sums)), range(cells)):
        if traces:
            log = norm.logpdf(sums[t] / bins[t], rate[g], deviation).sum()
        else:
            log = poisson.logpmf(sums[t], rate[g] * bins[t]).sum()
        posterior[t, g] = power * log + (np.log(occupied[g]) if prior == "occupancy" else 0)
    posterior = np.exp(posterior - posterior.max(1, keepdims=True))
    posterior /= posterior.sum(1, keepdims=True)
    np.testing.assert_allclose(np.concatenate(found.probability), posterior, atol=1e-6)
    np.testing.assert_allclose(found.grid.centers[:, 0], middle)


@pytest.mark.parametrize("smooth", [False, True])
def test_forward_and_backward_are_sums_over_all_paths(rng: np.random.Generator, smooth: bool) -> None:
    n_bins, n_cells = 5, 3
    matrix = rng.dirichlet(np.ones(n_cells), n_cells)
    initial = rng.dirichlet(np.ones(n_cells))
    likelihood = rng.uniform(0.1, 1, (n_bins, n_cells))
    expected = np.zeros((n_bins, n_cells))
    for t in range(n_bins):
        last = n_bins if smooth else t + 1
        for path in product(range(n_cells), repeat=last):
            p = initial[path[0]] * likelihood[0, path[0]]
            for u in range(1, last):
                p *= matrix[path[u - 1], path[u]] * likelihood[u, path[u]]
            expected[t, path[t]] += p
    expected /= expected.sum(1, keepdims=True)
    found = filtered(np.log(likelihood) - 700, matrix, initial, smooth=smooth)
    np.testing.assert_allclose(found, expected)
    both = filtered(np.log(np.stack([likelihood, likelihood**0.5])), matrix, initial, smooth=smooth)
    np.testing.assert_allclose(both[0], expected)


def test_evidence_against_every_neighbour_still_leaves_a_distribution() -> None:
    log = np.full((4, 3), -5000.0)
    log[np.arange(4), [0, 2, 0, 2]] = 0
    matrix = np.full((3, 3), 1e-5) + (1 - 3e-5) * np.eye(3)
    for smooth in (False, True):
        found = filtered(log, matrix, np.full(3, 1 / 3), smooth=smooth)
        np.testing.assert_allclose(found[np.arange(4), [0, 2, 0, 2]], 1)


def test_motion_is_what_was_seen_and_what_is_typical() -> None:
    grid = Grid([np.linspace(0, 10, 6)])
    pairs = np.array([[0, 1], [1, 2], [0, 1], [2, 2]])
    matrix = transitions(pairs, grid.steps())
    np.testing.assert_allclose(matrix.sum(1), 1)
    assert (matrix > 0).all()
    assert matrix[0, 1] > matrix[0, 0] > 10 * matrix[0, 2]
    assert matrix[4].argmax() == 4  # at the end: cannot go on
    assert matrix[3, 4] > 0.4  # never visited: moves as elsewhere
    ring = Grid([np.linspace(0, 10, 6)], period=10.0)
    assert transitions(pairs, ring.steps())[4, 0] > 0.4
    np.testing.assert_allclose(transitions(np.empty((0, 2), int), grid.steps()).argmax(1), np.arange(5))


@pytest.mark.parametrize("kind", ["line", "plane", "circle"])
def test_a_motion_prior_helps(walk: Walk, kind: str) -> None:
    target = {"line": LINE, "plane": Target(name="a"), "circle": Target(name="a", period=100.0)}[kind]
    x, y = walk(kind, lengths=(400,), n_units=14)
    x_test, y_test = walk(kind, seed=1, lengths=(250,), n_units=14)
    errors = {}
    for motion in ("none", "forward", "smooth"):
        config = NaiveBayesConfig(
            windows_s=[0.1],
            smoothing=[0.05],
            prior_s=[0.5],
            evidence=[1.0],
            motion=motion,  # type: ignore[arg-type]
            cells_2d=8,
            cells=20,
        )
        mean = NaiveBayesDecoder(target, bin_s=0.1, config=config).fit(x, y).predict(x_test).mean[0]
        errors[motion] = np.abs(target.error(y_test[0], mean)).mean()
    assert errors["smooth"] < errors["forward"] < errors["none"]


def test_grid_cells_points_and_spreads() -> None:
    grid = Grid([np.linspace(0, 10, 6)])
    assert grid.cells(np.array([[-3.0], [0.0], [1.99], [2.0], [10.0], [99.0]])).tolist() == [0, 0, 0, 1, 4, 4]
    p = np.array([[0.5, 0.25, 0.25, 0, 0], [0, 0, 1.0, 0, 0], [0.3, 0.4, 0.3, 0, 0]])
    np.testing.assert_allclose(grid.point(p, "median")[:, 0], [2.0, 5.0, 3.0])
    np.testing.assert_allclose(grid.point(p, "mean")[:, 0], [2.5, 5.0, 3.0])
    np.testing.assert_allclose(grid.point(p, "mode")[:, 0], [1.0, 5.0, 3.0])
    np.testing.assert_allclose(grid.spread(p)[:, 0] ** 2, np.array([2.75, 0, 2.4]) + 4 / 12)
    ring = Grid([np.linspace(0, 12, 5)], period=12.0)
    assert ring.cells(np.array([[-1.0], [13.0], [12.0]])).tolist() == [3, 0, 0]
    np.testing.assert_allclose(ring.point(np.array([[0.5, 0, 0, 0.5]]), "median") % 12, [[0.0]], atol=1e-9)
    np.testing.assert_allclose(ring.kernel(0.1)[0, 3], ring.kernel(0.1)[0, 1])
    np.testing.assert_allclose(ring.spread(np.full((1, 4), 0.25)), 12 / np.sqrt(12))
    plane = Grid([np.linspace(0, 2, 3), np.linspace(0, 3, 4)])
    np.testing.assert_array_equal(plane.cells(plane.centers), np.arange(6))
    np.testing.assert_allclose(plane.point(np.eye(6), "median"), plane.centers)


def test_traces_below_zero_are_not_poisson() -> None:
    config = NaiveBayesConfig(observations="poisson")
    with pytest.raises(UserError, match="use gaussian"):
        NaiveBayesDecoder(LINE, bin_s=0.1, config=config).fit([np.full((20, 2), -1.0)], [np.ones((20, 1))])


def test_bounds_must_fit_the_labels() -> None:
    target = Target(name="a", bounds=((0.0, 1.0), (0.0, 1.0)))
    with pytest.raises(UserError, match="1 dimension"):
        NaiveBayesDecoder(target, bin_s=0.1).fit([np.zeros((20, 2))], [np.ones((20, 1))])
