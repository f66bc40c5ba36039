"""Densities against SciPy, and what a readout says of a variable."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from neuroformer.batch import Batch, Variable
from neuroformer.model.encoders import VariableShape
from neuroformer.model.readout import Readout

PLANE = VariableShape(name="place", kind="continuous", shape=(2,), mean=(1.0, -3.0), scale=(2.0, 0.5))
HEADING = VariableShape(name="heading", kind="continuous", shape=(2,), period=360.0)
MODE = VariableShape(name="mode", kind="categorical", n_labels=4)


def readout(*shapes: VariableShape) -> Readout:
    found = Readout(
        variables=shapes, context_width=4, width=8, time_constants=[1.0], window=0, heads=2, unit_dropout=0.2,
        dropout=0.2,
    )  # fmt: skip
    found.add_session(3, 0.5)
    return found.double().eval()


def labelled(name: str, values: torch.Tensor, known: torch.Tensor, history: int = 0) -> Batch:
    n_rows, n_bins = known.shape
    none = torch.zeros(n_rows, 1, dtype=torch.long)
    scored = torch.ones(n_rows, n_bins, dtype=torch.bool)
    scored[:, :history] = False
    return Batch(
        session=none[:, 0], unit_row=none, unit_mask=none == 0, event_unit=none, event_bin=none, event_level=none,
        event_mask=none > 0, scored=scored, variables={name: Variable(values=values, known=known)},
    )  # fmt: skip


def score(shape: VariableShape, raw: torch.Tensor, values: torch.Tensor) -> np.ndarray:
    known = torch.ones(values.shape[:2], dtype=torch.bool)
    density, counted = readout(shape).log_likelihood({shape.name: raw}, labelled(shape.name, values, known))[
        shape.name
    ]
    assert counted.all()
    return density.numpy()


def test_gaussian_density(rng: np.random.Generator) -> None:
    raw, values = torch.from_numpy(rng.normal(size=(2, 9, 4))), torch.from_numpy(rng.normal(size=(2, 9, 2)))
    said = readout(PLANE).decoded({"place": raw})["place"]
    assert said.mean is not None
    assert said.spread is not None
    scale = np.array(PLANE.scale)
    expected = stats.norm(said.mean.numpy(), said.spread.numpy()).logpdf(values.numpy()) + np.log(scale)
    np.testing.assert_allclose(score(PLANE, raw, values), expected.sum(-1))


@pytest.mark.parametrize("kappa", [1e-4, 0.3, 5.0, 400.0])
def test_von_mises_density_and_what_is_said_of_it(rng: np.random.Generator, kappa: float) -> None:
    mean = rng.uniform(0, 2 * np.pi, (1, 50, 2))
    raw = torch.from_numpy(kappa * np.concatenate([np.cos(mean), np.sin(mean)], -1))
    values = torch.from_numpy(rng.uniform(-400, 800, (1, 50, 2)))
    expected = stats.vonmises(kappa, loc=mean).logpdf(np.deg2rad(values.numpy()))
    np.testing.assert_allclose(score(HEADING, raw, values), expected.sum(-1), rtol=1e-6, atol=1e-6)
    said = readout(HEADING).decoded({"heading": raw})["heading"]
    assert said.mean is not None
    assert said.spread is not None
    np.testing.assert_allclose(said.mean, np.rad2deg(mean), atol=1e-6)
    if kappa > 1:
        np.testing.assert_allclose(said.spread, np.rad2deg(stats.circstd(
            stats.vonmises(kappa).rvs(100_000, random_state=1), high=np.pi, low=-np.pi)), rtol=0.02)  # fmt: skip


def test_categorical_density(rng: np.random.Generator) -> None:
    raw, values = torch.from_numpy(rng.normal(size=(2, 9, 4))), torch.from_numpy(rng.integers(0, 4, (2, 9)))
    p = np.exp(raw.numpy()) / np.exp(raw.numpy()).sum(-1, keepdims=True)
    np.testing.assert_allclose(
        score(MODE, raw, values), np.log(np.take_along_axis(p, values.numpy()[..., None], -1))[..., 0]
    )
    said = readout(MODE).decoded({"mode": raw})["mode"].log_probability
    assert said is not None
    np.testing.assert_allclose(said.exp(), p)


@pytest.mark.parametrize("circular", [False, True])
def test_densities_integrate_to_one(circular: bool) -> None:
    about: Any = {"period": 2 * np.pi} if circular else {"mean": (4.0,), "scale": (3.0,)}
    shape = VariableShape(name="x", kind="continuous", shape=(1,), **about)
    for raw in ([0.3, -1.2], [0.0, 0.0], [-2.0, 1.0]):
        grid = np.linspace(0, 2 * np.pi, 2001) if circular else np.linspace(-150, 150, 20001)
        values = torch.from_numpy(grid)[None, :, None]
        density = score(shape, torch.tensor(raw, dtype=torch.float64).expand(1, len(grid), 2), values)[0]
        step = grid if circular else grid / 3
        assert integrate.simpson(np.exp(density), x=step) == pytest.approx(1, abs=1e-6)


def test_the_first_gradient_of_a_circular_readout_is_no_larger_than_another() -> None:
    raw = torch.zeros(1, 8, 4, dtype=torch.float64, requires_grad=True)
    values = torch.linspace(0, 350, 16, dtype=torch.float64).view(1, 8, 2)
    batch = labelled("heading", values, torch.ones(1, 8, dtype=torch.bool))
    readout(HEADING).log_likelihood({"heading": raw}, batch)["heading"][0].sum().backward()
    assert raw.grad is not None
    angle = values.deg2rad()
    torch.testing.assert_close(raw.grad, torch.cat([angle.cos(), angle.sin()], -1), rtol=0, atol=1e-5)


def test_only_known_values_of_scored_bins_count(rng: np.random.Generator) -> None:
    raw, values = torch.from_numpy(rng.normal(size=(2, 6, 4))), torch.from_numpy(rng.normal(size=(2, 9, 2)))
    known = torch.from_numpy(rng.random((2, 9)) < 0.5)
    found, counted = readout(PLANE).log_likelihood({"place": raw}, labelled("place", values, known, 3))[
        "place"
    ]
    assert torch.equal(counted, known[:, 3:])
    assert torch.equal(found == 0, ~counted)
    assert readout(PLANE, MODE).log_likelihood({"mode": raw}, labelled("place", values, known, 3)) == {}
