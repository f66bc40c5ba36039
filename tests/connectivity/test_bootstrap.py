import numpy as np
import pytest

from neuroformer.connectivity.bootstrap import interval, pair_weights
from neuroformer.connectivity.ranking import off_diagonal, rank, weighted_average_precision


def test_the_first_weighting_counts_every_pair_once_and_draws_are_products_of_units():
    weights = np.concatenate(list(pair_weights(np.random.default_rng(0), n_units=5, draws=30)))
    assert weights.shape == (31, 20)
    assert (weights[0] == 1).all()
    square = np.zeros((5, 5))
    for draw in weights[1:]:
        square[~np.eye(5, dtype=bool)] = draw
        np.testing.assert_array_equal(square, square.T)
        units = np.sqrt(square[0, 1] * square[0, 2] / square[1, 2]) if square[1, 2] else None
        if units is not None:
            assert units == round(units)
        assert draw.sum() <= 5**2


def test_blocks_change_nothing(monkeypatch):
    whole = np.concatenate(list(pair_weights(np.random.default_rng(1), n_units=4, draws=9)))
    monkeypatch.setattr("neuroformer.connectivity.bootstrap.BLOCK_ENTRIES", 3 * 4**2)
    blocks = list(pair_weights(np.random.default_rng(1), n_units=4, draws=9))
    assert [len(block) for block in blocks] == [3, 3, 3, 1]
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


def test_interval_leaves_out_what_is_unknown():
    assert interval(np.array([np.nan, *range(101)])) == pytest.approx((2.5, 97.5))
    assert interval(np.full(3, np.nan)) is None


def circuit(rng: np.random.Generator, *, n: int, unit_spread: float) -> tuple[np.ndarray, np.ndarray]:
    """(score, edge) of pairs: an estimate whose noise belongs in part to its source and target."""
    edge = rng.random((n, n)) < 0.15
    noise = rng.standard_normal((n, n)) * np.exp(unit_spread * rng.standard_normal(n))[:, None]
    score = 2 * edge + noise + unit_spread * rng.standard_normal(n)
    return off_diagonal(np.abs(score)), off_diagonal(edge)


@pytest.mark.parametrize("unit_spread", [0.0, 0.4])
def test_intervals_cover_what_the_rule_of_wiring_gives_on_average(unit_spread):
    rng = np.random.default_rng(2)
    n, covered, too_narrow = 25, 0, 0

    def precision(weight, score, edge):
        return weighted_average_precision(rank(score, edge, weight))

    ones = np.ones((1, n * (n - 1)))
    expected = np.mean([precision(ones, *circuit(rng, n=n, unit_spread=unit_spread)) for _ in range(400)])
    trials = 150
    for _ in range(trials):
        found = circuit(rng, n=n, unit_spread=unit_spread)
        (weights,) = pair_weights(rng, n_units=n, draws=100)
        low, high = interval(precision(weights[1:], *found))
        covered += low <= expected <= high
        # Drawing pairs one by one, as if they were independent.
        pairs = rng.multinomial(ones.size, np.full(ones.size, 1 / ones.size), size=100).astype(float)
        low, high = interval(precision(pairs, *found))
        too_narrow += not low <= expected <= high
    assert covered >= 0.9 * trials
    if unit_spread:
        assert too_narrow > 0.15 * trials
