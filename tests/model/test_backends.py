"""Every backend against attention over all pairs with the packed mask."""

import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from neuroformer.batch import Batch
from neuroformer.errors import UserError
from neuroformer.model import Neuroformer
from neuroformer.model.backends import block_diagonal, flex, make_attend, sdpa, xformers
from neuroformer.model.packing import Packed

HEADS, CHANNELS = 2, 16


@pytest.fixture
def batch(
    make_model: Callable[..., Neuroformer],
    make_batch: Callable[..., Batch],
    draw_events: Any,
    rng: np.random.Generator,
) -> Batch:
    rows = [(0, draw_events(rng, n_bins=n, n_units=3, rate=0.5)) for n in (4, 90, 7, 60)]
    return make_batch(make_model(), *rows, n_bins=90)


def reference(packed: Packed, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax over all pairs."""
    scores = torch.einsum("qhc,khc->hqk", q, k) / math.sqrt(q.shape[-1])
    weights = scores.masked_fill(~packed.mask(), -torch.inf).softmax(-1)
    return torch.einsum("hqk,khc->qhc", weights, v).flatten(1)


def heads(packed: Packed) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    size = (len(packed.time), HEADS, CHANNELS)
    return tuple(torch.randn(size, generator=generator).requires_grad_() for _ in range(3))


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("window", [1, 6, 200])
@pytest.mark.parametrize("backend", [sdpa, flex])
def test_backends_equal_the_reference(batch: Batch, backend: Any, window: int, aligned: bool) -> None:
    packed = Packed.of(batch, window, aligned=aligned)
    q, k, v = heads(packed)
    with torch.no_grad():
        found = backend(packed, torch.float32)(q.detach(), k.detach(), v.detach())
        torch.testing.assert_close(found, reference(packed, q, k, v), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("window", [1, 6, 200])
def test_gradients_equal_those_of_the_reference(batch: Batch, window: int) -> None:
    packed = Packed.of(batch, window)
    inputs = heads(packed)
    found, expected = (
        torch.autograd.grad((make(*inputs) ** 2).sum(), inputs)
        for make in (sdpa(packed, torch.float32), lambda *x: reference(packed, *x))
    )
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_the_mask_of_xformers_is_that_of_the_rows(batch: Batch) -> None:
    pytest.importorskip("xformers", reason="xformers is not installed")
    packed = Packed.of(batch, 200)
    mask = block_diagonal(packed)
    n = len(packed.time)
    torch.testing.assert_close(mask.materialize((n, n)) == 0, packed.mask())


def test_windows_that_cut_rows_are_no_block_diagonal(batch: Batch) -> None:
    assert block_diagonal(Packed.of(batch, 6)) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("window", [6, 200])
@pytest.mark.parametrize("backend", [sdpa, flex, xformers])
def test_backends_equal_the_reference_on_cuda(batch: Batch, backend: Any, window: int) -> None:
    if backend is xformers:
        pytest.importorskip("xformers", reason="xformers is not installed")
    packed = Packed.of(batch.to("cuda"), window)
    inputs = tuple(x.detach().cuda().requires_grad_() for x in heads(packed))
    outputs = [make(*inputs) for make in (backend(packed, torch.float32), lambda *x: reference(packed, *x))]
    torch.testing.assert_close(*outputs, rtol=1e-2, atol=1e-3)
    found, expected = (torch.autograd.grad((y**2).sum(), inputs) for y in outputs)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-2, atol=1e-2)


@pytest.mark.parametrize("name", ["flex", "xformers"])
def test_what_cannot_train_here_is_refused_and_evaluates_by_sdpa(batch: Batch, name: str) -> None:
    packed = Packed.of(batch, 6)
    q, k, v = heads(packed)
    with pytest.raises(
        UserError, match=rf"model\.trunk\.attention={name}: expected a CUDA device, found cpu"
    ):
        make_attend(name, packed, q, training=True)
    found = make_attend(name, packed, q, training=False)(q, k, v)
    torch.testing.assert_close(found, reference(packed, q, k, v), rtol=1e-4, atol=1e-5)


def test_a_missing_xformers_is_named(batch: Batch) -> None:
    try:
        importlib.import_module("xformers")
    except ImportError:
        with pytest.raises(
            UserError, match=r"model\.trunk\.attention=xformers: the package xformers cannot be imported"
        ):
            xformers(Packed.of(batch, 200), torch.float32)
