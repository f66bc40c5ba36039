from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from neuroformer.identity.features import normalized
from neuroformer.identity.probes import ClassSpace, Labelled, Scorer, linear_probe, nearest_neighbours, tune


def clusters(rng: np.random.Generator, *, n: int = 12, spread: float = 0.3) -> Labelled:
    """Three labels in three animals."""
    label = np.tile(np.arange(3), n)
    centre = np.array([[0.0, 0, 0], [3, 0, 0], [0, 3, 0]])
    values = centre[label] + rng.normal(0, spread, (len(label), 3))
    return Labelled(values=values, label=label, animal=np.repeat(["a", "b", "c"], n))


@pytest.mark.parametrize("probe", [linear_probe, nearest_neighbours])
def test_what_lies_apart_is_told_apart(probe: Callable[[int], Scorer], rng: np.random.Generator) -> None:
    training, asked = clusters(rng), clusters(rng)
    scores = probe(5)(training, asked.values)
    assert scores.shape == (36, 5)
    assert (scores.argmax(1) == asked.label).all()
    assert np.isneginf(scores[:, 3:]).all()  # labels that no training unit has
    assert np.isfinite(scores[:, :3]).all()


@pytest.mark.parametrize("probe", [linear_probe, nearest_neighbours])
def test_a_rare_label_counts_as_much_as_a_common_one(
    probe: Callable[[int], Scorer], rng: np.random.Generator
) -> None:
    label = np.array([0] * 90 + [1] * 10)
    training = Labelled(
        values=rng.normal(label[:, None] * 1.5, 1.0, (100, 1)), label=label, animal=np.tile(["a", "b"], 50)
    )
    found = probe(2)(training, np.array([[-3.0], [4.0]])).argmax(1)
    assert found.tolist() == [0, 1]


def test_the_setting_is_chosen_on_animals_left_out(rng: np.random.Generator) -> None:
    training = clusters(rng)
    seen: list[tuple[set[str], int]] = []

    def probe(inner: Labelled, values: np.ndarray) -> Callable[[float], np.ndarray]:
        seen.append((set(inner.animal), len(values)))
        return lambda setting: np.full((len(values), 3), -abs(setting - 2.0))

    assert tune(training, (1.0, 2.0, 5.0), probe, default=9.0) == 2.0
    assert all(len(animals) == 2 and n == 12 for animals, n in seen)
    one = training.rows(training.animal == "a")
    assert tune(one, (1.0, 2.0), probe, default=9.0) == 9.0


def test_the_class_space_whitens_what_labels_share(rng: np.random.Generator) -> None:
    label = np.repeat(np.arange(40), 10)
    mix = np.array([[3.0, 0.0], [2.0, 0.5]])
    values = rng.normal(size=(40, 2))[label] * 5 + rng.normal(size=(400, 2)) @ mix.T
    space = ClassSpace(Labelled(values=values, label=label, animal=np.tile(["a", "b"], 200)), 41)
    at = space.project(values)
    within = at - np.array([at[label == k].mean(0) for k in range(40)])[label]
    # Shrinkage towards the diagonal of the total scatter leaves it a little below 1.
    assert (np.linalg.eigvalsh(np.cov(within.T)) < 1.5).all()
    found = space.log_likelihood(values)
    assert np.isneginf(found[:, 40]).all()
    assert (found[:, :40].argmax(1) == label).mean() > 10 / 40


def test_the_likelihood_is_that_of_a_gaussian(rng: np.random.Generator) -> None:
    training = clusters(rng)
    space = ClassSpace(training, 3)
    asked = rng.normal(size=(4, 3))
    found = space.log_likelihood(asked)
    by_hand = np.array(
        [
            [
                stats.norm.logpdf(x, m, np.sqrt(v)).sum()
                for m, v in zip(space._mean, space._variance, strict=True)
            ]
            for x in space.project(asked)
        ]
    )
    np.testing.assert_allclose(np.diff(found, axis=1), np.diff(by_hand, axis=1), atol=1e-9)


def test_ranks_do_not_see_scale_or_shift_of_a_session(rng: np.random.Generator) -> None:
    values, session = rng.normal(size=(20, 2)), np.repeat(["a", "b"], 10)
    moved = np.where(session[:, None] == "b", np.exp(3 * values) + 7, values)
    np.testing.assert_allclose(
        normalized(moved, session, how="rank"), normalized(values, session, how="rank")
    )


def test_undefined_values_stand_in_the_middle() -> None:
    values, session = np.array([[1.0], [np.nan], [3.0], [8.0]]), np.array(["a"] * 4)
    assert normalized(values, session, how="none")[1, 0] == 3.0
    assert normalized(values, session, how="rank")[1, 0] == pytest.approx(0)
    assert np.isfinite(normalized(np.full((4, 1), np.nan), session, how="zscore")).all()
    np.testing.assert_array_equal(normalized(np.ones((4, 1)), session, how="zscore"), 0)
