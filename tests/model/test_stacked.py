"""The fast way of a training step gives the likelihood, and its gradients."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from neuroformer.batch import Batch
from neuroformer.model import Neuroformer, SessionShape, stacked
from neuroformer.model.encoders import VariableShape
from neuroformer.model.stacked import log_likelihood, suits

SIZES, T, HISTORY = (3, 4, 4), 30, 8
KINDS = [
    "events",
    "many_per_bin",
    "levels",
    "variables",
    "blocks",
    "no_trunk",
    "low_rank",
    "low_rank_variables",
]

MakeBatch = Callable[..., Batch]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model(
    kind: str,
    make_model: Callable[..., Neuroformer],
    make_shape: Callable[..., SessionShape],
    make_shapes: Callable[..., list[VariableShape]],
) -> Neuroformer:
    model = make_model(
        *map(make_shape, SIZES),
        rank=2 if "low_rank" in kind else 0,
        n_levels=3 if kind == "levels" else 1,
        layers=1 if kind == "blocks" else 0,
        state=0 if kind == "no_trunk" else 4,
        variables=make_shapes() if "variables" in kind else (),
    )
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model.train()


@pytest.fixture(params=[(1, 1, 1), (2, 1, 2), (0, 2, 1)], ids=["one_session", "alike", "padded"])
def batch(
    request: pytest.FixtureRequest,
    kind: str,
    model: Neuroformer,
    make_batch: MakeBatch,
    draw_events: Any,
    add_variables: Callable[..., Batch],
    rng: np.random.Generator,
) -> Batch:
    rate = {"many_per_bin": 1.5, "silent": 0.0}.get(kind, 0.3)
    rows = [
        (s, draw_events(rng, n_bins=T, n_units=SIZES[s], rate=rate, n_levels=model.n_levels))
        for s in request.param
    ]
    batch = make_batch(model, *rows, n_bins=T, history=HISTORY, n_scored=[T - HISTORY, 10, 17])
    shapes = [*model.variables.values()]
    return add_variables(batch, shapes, rng) if shapes else batch


def gradients(model: Neuroformer, value: torch.Tensor) -> dict[str, torch.Tensor]:
    named = dict(model.named_parameters())
    found = torch.autograd.grad(value, list(named.values()), allow_unused=True)
    return {
        name: torch.zeros_like(p) if g is None else g
        for (name, p), g in zip(named.items(), found, strict=True)
    }


@pytest.mark.parametrize("own_history", ["impulses", "all_bins"])
@pytest.mark.parametrize("few_units", [0, 100])
def test_it_is_the_likelihood_and_so_are_its_gradients(
    kind: str,
    model: Neuroformer,
    batch: Batch,
    own_history: str,
    few_units: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stacked, "_WORTH", 0.0 if own_history == "impulses" else 1e9)
    monkeypatch.setattr(stacked, "_FEW_UNITS", few_units)
    monkeypatch.setattr("neuroformer.model.coupling._ALIKE", 0.3)
    assert suits(model, batch)
    value, state = log_likelihood(model, batch)
    expected = model.likelihood(batch).cells.sum()
    torch.testing.assert_close(value, expected, rtol=1e-11, atol=1e-9)
    assert (state is None) == (kind == "no_trunk")
    if state is not None:
        torch.testing.assert_close(state, model(batch)[1])
    found, right = gradients(model, value), gradients(model, expected)
    for name, gradient in right.items():
        torch.testing.assert_close(
            found[name], gradient, rtol=1e-9, atol=1e-9, msg=lambda m, name=name: f"{name}: {m}"
        )
    assert sum(bool(gradient.abs().sum() > 0) for gradient in right.values()) > 5


def test_the_sums_of_a_training_step_are_the_same(
    model: Neuroformer, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = model.loss_sums(batch)
    monkeypatch.setattr(stacked, "suits", lambda model, batch: False)
    plain = model.loss_sums(batch)
    for name in ("cells", "levels", "kl"):
        torch.testing.assert_close(getattr(fast, name), getattr(plain, name), rtol=1e-10, atol=1e-9)


def test_what_it_does_not_suit(
    make_model: Callable[..., Neuroformer], make_shape: Callable[..., SessionShape], make_batch: MakeBatch
) -> None:
    model = make_model(make_shape(3), make_shape(9))
    alone, mixed = ([(session, [(2, 1, 0)]) for session in sessions] for sessions in ((0, 0), (0, 1)))
    assert suits(model, make_batch(model, *alone, n_bins=6))
    assert not suits(
        model, make_batch(model, *mixed, n_bins=6)
    )  # most of the padded matrices would be padding
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not suits(model, make_batch(model, *alone, n_bins=6))
