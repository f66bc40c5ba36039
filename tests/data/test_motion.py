"""The chain that behaviour follows: counted, never across a gap, and able to leave every cell."""

import json

import numpy as np
import pytest

from neuroformer.data.grid import Axis, Grid
from neuroformer.data.motion import MotionCounts, count_motion, make_motion, with_unknown


def line(n: int, name: str = "x") -> Axis:
    return Axis(name=name, dimension=0, edges=np.linspace(0, 1, n + 1))


RING = Axis(name="turn", dimension=0, edges=np.linspace(0, 360, 13), period=360.0)
MODE = Axis(name="mode", dimension=0, edges=np.arange(4) - 0.5, labels=("a", "b", "c"))
SIDE = Axis(name="side", dimension=0, edges=np.arange(3) - 0.5, labels=("l", "r"), static=True)


def walk(rng: np.random.Generator, grid: Grid, n: int = 300) -> np.ndarray:
    return np.cumsum(rng.integers(-1, 2, n)) % len(grid)


@pytest.mark.parametrize(
    "axes",
    [(line(10),), (RING,), (MODE,), (SIDE,), (line(5), RING), (RING, SIDE), (MODE, line(4, "y"), line(3))],
)
@pytest.mark.parametrize("n", [0, 300])
def test_every_row_is_a_distribution(axes: tuple[Axis, ...], n: int, rng: np.random.Generator) -> None:
    grid = Grid(axes=axes)
    counts = count_motion(grid, [walk(rng, grid, n)] if n else [])
    for motion in (make_motion(grid, counts), with_unknown(make_motion(grid, counts), counts)):
        np.testing.assert_allclose(motion.step.sum(1), 1)
        assert motion.start.sum() == pytest.approx(1)
        assert (motion.step >= 0).all()
        assert (motion.start > 0).all()


def test_steps_are_counted_between_neighbours_and_not_across_a_gap() -> None:
    grid = Grid(axes=(line(4),))
    counts = count_motion(grid, [np.array([0, 1, -1, 3, 3, 2]), np.array([2]), np.array([], int)])
    expected = np.zeros((4, 4))
    expected[0, 1] = expected[3, 3] = expected[3, 2] = 1
    np.testing.assert_array_equal(counts.steps, expected)
    np.testing.assert_array_equal(counts.visits, [1, 1, 2, 2])
    np.testing.assert_array_equal(counts.unknown, [[3, 1], [1, 0]])
    twice = counts + counts
    np.testing.assert_array_equal(twice.steps, 2 * expected)


def test_counts_survive_a_checkpoint(rng: np.random.Generator) -> None:
    grid = Grid(axes=(line(3), RING))
    counts = count_motion(grid, [walk(rng, grid)])
    again = MotionCounts.from_state(json.loads(json.dumps(counts.state())))
    for name in ("visits", "steps", "unknown"):
        np.testing.assert_array_equal(getattr(again, name), getattr(counts, name))


def test_many_labels_outweigh_the_prior_and_few_lean_on_it(rng: np.random.Generator) -> None:
    grid = Grid(axes=(line(6),))
    step = rng.dirichlet(np.ones(6), 6)
    pairs = [np.array([a, b]) for a in range(6) for b in rng.choice(6, 1000, p=step[a])]
    found = make_motion(grid, count_motion(grid, pairs)).step
    np.testing.assert_allclose(found, step, atol=0.05)
    few = make_motion(grid, count_motion(grid, [np.array([2, 3, 2, 3])])).step
    assert (np.diag(few)[:1] > few[0, 1:]).all()  # a cell that was never visited: mostly near
    assert few[0, 1] > few[0, 4] > 0


def test_a_ring_comes_round(rng: np.random.Generator) -> None:
    grid = Grid(axes=(RING,))
    step = make_motion(grid, count_motion(grid, [np.array([4, 5, 6, 7, 6, 5])])).step
    assert step[0, 11] == pytest.approx(step[0, 1], rel=0.01)
    assert step[0, 11] > 50 * step[0, 6]
    straight = Grid(axes=(line(12),))
    assert make_motion(straight, count_motion(straight, [np.array([4, 5, 6])])).step[0, 11] < 1e-3


def test_what_holds_for_a_trial_does_not_move() -> None:
    side = Grid(axes=(SIDE,))
    paths = [np.array([0, 0, 0, -1, -1, 1, 1])]
    np.testing.assert_array_equal(make_motion(side, count_motion(side, paths)).step, np.eye(2))
    both = Grid(axes=(RING, SIDE))
    step = make_motion(both, count_motion(both, [np.array([0, 2, 4, -1, 1, 3, 5])])).step.reshape(
        12, 2, 12, 2
    )
    assert step[:, 0, :, 1].sum(1).max() < 1e-3


def test_unknown_behaviour_is_a_state_of_its_own() -> None:
    grid = Grid(axes=(line(3),))
    path = np.r_[np.zeros(50, int), np.full(100, -1), np.ones(50, int)]
    counts = count_motion(grid, [path])
    known = make_motion(grid, counts)
    chain = with_unknown(known, counts)
    assert chain.step[0, 3] == pytest.approx(2 / 101)
    assert chain.step[3, 3] == pytest.approx(100 / 102)
    assert chain.start[3] == pytest.approx(0.5, abs=0.01)
    np.testing.assert_allclose(chain.step[3, :3] / chain.step[3, :3].sum(), known.start)
