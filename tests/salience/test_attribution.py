"""Saliences against what they must be: of a linear model exactly, of any model by their axioms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from neuroformer.frames.fitted import Fitted, WindowRegression
from neuroformer.salience.attention import attention_salience, rollout
from neuroformer.salience.attribution import (
    Windows,
    gradient_times_input,
    integrated_gradients,
    occlusion,
    predict_at,
)
from neuroformer.salience.explain import explain, spread

B, T, N, D = 5, 4, 7, 2


@pytest.fixture
def windows() -> Windows:
    x = torch.randn(B, T, N, generator=torch.Generator().manual_seed(0))
    return Windows(x=x, position=torch.tensor([0, 1, 2, 3, 3]))


def linear(rng: np.random.Generator) -> tuple[Fitted, np.ndarray]:
    weights = rng.normal(size=(3, N, D))  # the frames from two before to the one itself
    module = WindowRegression(weights, rng.normal(size=D), before=2)
    return Fitted(module=module, size=T, position=None, causal=True), weights


def curved(x: Tensor) -> Tensor:
    g = torch.Generator().manual_seed(1)
    a, b = torch.randn(N, 6, generator=g), torch.randn(6, D, generator=g)
    return torch.tanh(x.cumsum(1) @ a / 3) @ b


def test_of_a_linear_model_they_are_weights_times_inputs(windows: Windows, rng: np.random.Generator) -> None:
    model, weights = linear(rng)
    wanted = np.zeros((B, T, N, D))
    for b in range(B):
        p = int(windows.position[b])
        for k in range(3):
            if (s := p + k - 2) >= 0:
                wanted[b, s] = weights[k] * windows.x[b, s].numpy()[:, None]
    for d in range(D):
        for found in (
            gradient_times_input(model, windows, d, batch=2),
            integrated_gradients(model, windows, d, steps=3, batch=2),
        ):
            np.testing.assert_allclose(found, wanted[..., d], atol=1e-5)
    np.testing.assert_allclose(occlusion(model, windows, batch=3), wanted.sum(1), atol=1e-5)


def test_integrated_gradients_are_complete_and_gradients_are_not(windows: Windows) -> None:
    at_mean = Windows(x=torch.zeros_like(windows.x), position=windows.position)
    change = predict_at(curved, windows) - predict_at(curved, at_mean)
    for d in range(D):
        total = integrated_gradients(curved, windows, d, steps=32).sum((1, 2))
        torch.testing.assert_close(total, change[:, d], atol=1e-2, rtol=1e-2)
        assert (gradient_times_input(curved, windows, d).sum((1, 2)) - change[:, d]).abs().max() > 0.1


def test_the_path_is_followed_where_networks_that_normalise_turn(windows: Windows) -> None:
    g = torch.Generator().manual_seed(2)
    a, b, bias = (
        torch.randn(N, 6, generator=g),
        torch.randn(6, D, generator=g),
        0.01 * torch.randn(6, generator=g),
    )

    def normalised(x: Tensor) -> Tensor:
        return torch.nn.functional.rms_norm(x @ a + bias, (6,)) @ b

    at_mean = Windows(x=torch.zeros_like(windows.x), position=windows.position)
    change = predict_at(normalised, windows) - predict_at(normalised, at_mean)
    total = integrated_gradients(normalised, windows, 0, steps=24).sum((1, 2))
    assert (total - change[:, 0]).abs().max() < 0.1 * change[:, 0].abs().max()


def test_occlusion_is_the_brute_force(windows: Windows) -> None:
    found = occlusion(curved, windows, batch=2)
    for unit in (0, 4):
        x = windows.x.clone()
        x[:, :, unit] = 0
        other = Windows(x=x, position=windows.position)
        torch.testing.assert_close(found[:, unit], predict_at(curved, windows) - predict_at(curved, other))


def test_units_and_lags_add_up(windows: Windows, rng: np.random.Generator) -> None:
    model, weights = linear(rng)
    found = explain(model, windows, [1], saliences=["gradient", "occlusion"], steps=4, max_occlusions=2 * N)
    gradient = found["gradient"]
    assert gradient.by_lag is not None
    assert not gradient.by_lag[T:].any()  # it looks back alone
    assert not gradient.by_lag[: T - 3].any()
    own = np.abs(weights[2, :, 1] * windows.x.numpy()[np.arange(B), windows.position]).mean(0)
    np.testing.assert_allclose(gradient.by_lag[T - 1], own, atol=1e-5)
    assert found["occlusion"].n_windows == 2
    assert "attention" not in found
    np.testing.assert_allclose(found["occlusion"].signed, gradient.signed[[0, B - 1]], atol=1e-5)
    assert "occlusion" not in explain(
        model, windows, [1], saliences=["gradient", "occlusion"], steps=4, max_occlusions=N - 1
    )


def test_rollout_of_layers_that_look_at_one_frame() -> None:
    first = torch.zeros(1, 1, 3, 3)
    first[..., 0] = 1
    row = rollout(first)
    torch.testing.assert_close(row[0, 2], torch.tensor([0.5, 0.0, 0.5]))
    twice = rollout(first.repeat(1, 2, 1, 1))
    torch.testing.assert_close(twice[0, 2], torch.tensor([0.75, 0.0, 0.25]))
    torch.testing.assert_close(twice.sum(-1), torch.ones(1, 3))
    x, loud = torch.tensor([[[1.0, -2.0]] * 3]), torch.tensor([3.0, 1.0])
    found = attention_salience(first, x, torch.tensor([2]), loud)
    torch.testing.assert_close(found[0], torch.tensor([[1.5, 1.0], [0.0, 0.0], [1.5, 1.0]]))


def test_spread() -> None:
    assert spread(10, 3).tolist() == [0, 4, 9]
    assert spread(3, 10).tolist() == [0, 1, 2]
    assert len(spread(5, 0)) == 0
