"""Readouts learned on several animals, and used on another."""

from __future__ import annotations

from typing import Any

import numpy as np

from neuroformer.linear_readout import fit_weights, learn_readout, wide_prior


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def test_other_animals_decode_one_without_labels(herd: Any) -> None:
    prior = learn_readout([herd.animal() for _ in range(4)], functions=2)
    new = herd.animal(400)
    train, test = new.cut(0, 12), new.cut(100, 400)

    def score(n: int, wide: bool) -> float:
        fitted = fit_weights(train.cut(0, n), wide_prior(12, 2) if wide else prior)
        return correlation(fitted.predict(test.features)[0], test.y)

    assert score(0, wide=False) > 0.85
    assert score(12, wide=False) > score(12, wide=True) + 0.2


def test_intervals_cover_what_they_say_in_another_animal(herds: Any) -> None:
    herd = herds(own=0.3, noise=1.0, rho=0.6, seed=1)
    prior = learn_readout([herd.animal() for _ in range(5)], functions=2, correlations=[0.0, 0.6])
    covered = []
    for _ in range(6):
        new = herd.animal(300)
        mean, spread = fit_weights(new.cut(0, 60), prior).predict(new.features[100:])
        covered.append(np.mean(np.abs(new.y[100:] - mean) < 1.2816 * spread))
    assert 0.7 < np.mean(covered) < 0.9


def test_animals_of_different_scales(herds: Any) -> None:
    herd = herds(noise=0.3, seed=2)
    prior = learn_readout([herd.animal(offset=4.0, scale=s) for s in (0.4, 1.0, 2.5, 0.6)], functions=2)
    assert abs(prior.centre - 4.0) < 0.5
    new = herd.animal(300, offset=4.0, scale=3.0)
    mean, _ = fit_weights(new.cut(0, 150), prior).predict(new.features[150:])
    assert correlation(mean, new.y[150:]) > 0.9
    assert np.mean((mean - new.y[150:]) ** 2) < 0.2 * new.y.var()


def test_labels_that_lie(herd: Any, rng: np.random.Generator) -> None:
    """Where other animals know nothing, no name gains a weight that matters."""
    animals = []
    for _ in range(4):
        rows = herd.animal(100)
        animals.append(type(rows)(**{**vars(rows), "y": rng.normal(size=100)}))
    prior = learn_readout(animals, functions=2)
    new = herd.animal(200)
    said, _ = fit_weights(new.cut(0, 0), prior).predict(new.features)
    assert said.std() < 0.5 * new.y.std()


def test_classes_get_a_slope(herd: Any) -> None:
    animals = []
    for _ in range(4):
        rows = herd.animal()
        animals.append(type(rows)(**{**vars(rows), "y": np.sign(rows.y)}))
    prior = learn_readout(animals, functions=2, classes=True)
    assert prior.slope > 1
    assert not prior.own_scale
    new = herd.animal(300)
    said, _ = fit_weights(new.cut(0, 0), prior).predict(new.features)
    assert np.mean((said > 0) == (new.y > 0)) > 0.8


def test_one_animal_is_enough_to_learn_sizes(herd: Any) -> None:
    prior = learn_readout([herd.animal()], functions=2)
    assert np.isfinite(prior.factor)
    assert fit_weights(herd.animal(100), prior).mean.shape == (25,)
