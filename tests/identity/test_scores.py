import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from neuroformer.identity.scores import Answers, chance_answers, intervals, mean_scores, permutation_p, score


def answers(truth: list[int], named: list[int], animal: str = "a") -> Answers:
    return Answers(
        animal=animal,
        rows=np.arange(len(truth)),
        truth=np.array(truth),
        named=np.array(named),
        rank=(np.array(truth) != np.array(named)).astype(int) * 6,
    )


def test_scores_are_those_of_scikit_learn(rng: np.random.Generator) -> None:
    truth, named = rng.integers(0, 3, 40), rng.integers(0, 4, 40)
    found = score(answers(truth.tolist(), named.tolist()))
    assert found["macro_f1"] == pytest.approx(f1_score(truth, named, labels=[0, 1, 2], average="macro"))
    with pytest.warns(UserWarning, match="y_pred contains"):
        assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, named))
    assert found["accuracy"] == found["top5"] == pytest.approx((truth == named).mean())


def test_animals_count_the_same() -> None:
    many, few = answers([0, 1] * 50, [0, 1] * 50), answers([0, 1], [1, 0], "b")
    assert mean_scores([score(many), score(few)])["accuracy"] == pytest.approx(0.5)


def test_intervals_hold_the_mean_and_need_two_animals(rng: np.random.Generator) -> None:
    found = [score(answers([0, 1, 0, 1], named)) for named in ([0, 1, 0, 1], [0, 1, 1, 1], [0, 1, 0, 0])]
    low, high = intervals(found, rng, draws=500)["accuracy"]
    assert low == 0.75
    assert low < mean_scores(found)["accuracy"] < high <= 1
    assert np.isnan(intervals(found[:1], rng, draws=100)["accuracy"]).all()


def test_perfect_answers_are_no_accident(rng: np.random.Generator) -> None:
    truth = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    sure = [answers(truth, truth, name) for name in "abc"]
    assert permutation_p(sure, rng, permutations=999) == pytest.approx(np.e / 1000)
    assert permutation_p([answers(truth, truth[::-1])], rng, permutations=999) <= 1


def test_p_values_of_guesses_are_valid() -> None:
    found = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        guess = [
            answers(rng.integers(0, 2, 12).tolist(), rng.integers(0, 2, 12).tolist(), name) for name in "ab"
        ]
        found.append(permutation_p(guess, rng, permutations=99))
    assert np.mean(np.array(found) <= 0.1) <= 0.1 + 2 * np.sqrt(0.09 / 100)


def test_a_p_value_is_the_share_of_permutations_that_do_as_well() -> None:
    # Two of two right: of the two orders of the labels one does as well.
    found = permutation_p([answers([0, 1], [0, 1])], np.random.default_rng(0), permutations=9999)
    assert found == pytest.approx(min(1.0, np.e * 0.5))


def test_chance_guesses_by_frequency(rng: np.random.Generator) -> None:
    asked = [answers([0] * 5000 + [1] * 5000, [0] * 10000)]
    (found,) = chance_answers(asked, [np.array([0.8, 0.2, 0.0])], rng)
    assert np.bincount(found.named, minlength=3)[2] == 0
    assert (found.named == 0).mean() == pytest.approx(0.8, abs=0.02)
    assert ((found.rank == 0) == (found.named == found.truth)).all()
    assert set(found.rank) == {0, 1}
