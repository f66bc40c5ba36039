"""Empirical Bayes over animals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neuroformer.linear_readout import learn_hierarchy
from neuroformer.linear_readout.rows import Sums, with_intercept


def test_means_are_those_of_bayes_written_out(herd: Any) -> None:
    animals = [herd.animal(40) for _ in range(3)]
    h = learn_hierarchy([Sums.of(rows, 0.0) for rows in animals], functions=2, rounds=2)
    c = len(h.names) * 2
    # All labels together are Gaussian with a mean of zero.
    phi = [with_intercept(rows.features) for rows in animals]
    to_names = []
    for rows in animals:
        lay = np.zeros((25, c))
        for u, name in enumerate(rows.names):
            if name:
                at = h.names.index(name) * 2
                lay[2 * u : 2 * u + 2, at : at + 2] = np.eye(2)
        to_names.append(lay)
    spread = np.kron(np.eye(len(h.names)), h.between)
    x = np.concatenate([p @ lay for p, lay in zip(phi, to_names, strict=True)])
    total = x @ spread @ x.T
    first = 0
    for p, rows, noise in zip(phi, animals, h.noise, strict=True):
        own = np.zeros((25, 25))
        for u, name in enumerate(rows.names):
            own[2 * u : 2 * u + 2, 2 * u : 2 * u + 2] = h.named if name else h.unnamed
        own[-1, -1] = h.intercept
        total[first : first + 40, first : first + 40] += p @ own @ p.T + noise * np.eye(40)
        first += 40
    y = np.concatenate([rows.y for rows in animals])
    prior = h.prior(rho=0.0)
    assert prior.mean == pytest.approx(spread @ x.T @ np.linalg.solve(total, y), abs=1e-6)
    expected = spread - spread @ x.T @ np.linalg.solve(total, x @ spread)
    assert prior.covariance == pytest.approx(expected, abs=1e-6)
    sign, size = np.linalg.slogdet(total)
    assert sign > 0
    density = -0.5 * (size + y @ np.linalg.solve(total, y) + len(y) * np.log(2 * np.pi))
    assert h.log_evidence == pytest.approx(density)


def test_no_round_lowers_the_evidence(herd: Any) -> None:
    sums = [Sums.of(herd.animal(60), 0.5) for _ in range(3)]
    found = [learn_hierarchy(sums, functions=2, rounds=k).log_evidence for k in range(6)]
    assert (np.diff(found) > -1e-6).all()


def test_weights_of_names_are_recovered(herd: Any) -> None:
    h = learn_hierarchy([Sums.of(herd.animal(), 0.0) for _ in range(5)], functions=2, rounds=12)
    prior = h.prior(rho=0.0)
    assert prior.names == tuple("abcdefgh")
    assert np.abs(prior.mean.reshape(8, 2) - herd.weights).max() < 0.35
    assert np.corrcoef(prior.mean, herd.weights.ravel())[0, 1] > 0.97
    assert np.sqrt(np.diag(h.named)) == pytest.approx([0.15, 0.15], abs=0.06)
    assert np.sqrt(np.diag(h.between)) == pytest.approx([0.6, 0.6], abs=0.35)
    assert np.sqrt(h.noise) == pytest.approx(np.full(5, 0.5), abs=0.1)


def test_an_animal_left_out_says_nothing(herd: Any) -> None:
    animals = [herd.animal(80) for _ in range(3)]
    sums = [Sums.of(rows, 0.0) for rows in animals]
    h = learn_hierarchy(sums, functions=2, rounds=3)
    other = Sums.of(animals[2].scaled(5.0, -0.1), 0.0)
    again = learn_hierarchy([*sums[:2], other], functions=2, rounds=0, start=h)
    assert h.prior(rho=0.0, without=2).mean == pytest.approx(again.prior(rho=0.0, without=2).mean)
    assert not np.allclose(h.prior(rho=0.0).mean, again.prior(rho=0.0).mean)


def test_animals_without_names_share_sizes_alone(herd: Any, rng: np.random.Generator) -> None:
    animals = [herd.animal(100) for _ in range(2)]
    sums = []
    for rows in animals:
        found = Sums.of(rows, 0.0)
        sums.append(Sums(**{**vars(found), "names": ("",) * 12}))
    prior = learn_hierarchy(sums, functions=2, rounds=3).prior(rho=0.0)
    assert prior.names == ()
    mean, covariance = prior.of_units(("x", ""))
    assert (mean == 0).all()
    assert covariance[:2, :2] == pytest.approx(prior.unnamed)
