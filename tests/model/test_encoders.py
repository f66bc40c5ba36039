"""Values → tokens."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from neuroformer.model.encoders import FrameConvolution, FramePatches, VariableShape, make_encoder


def frames(channels: int, height: int, width: int, **about: object) -> VariableShape:
    about = {"mean": (0.5,), "scale": (2.0,)} | about
    return VariableShape(name="film", kind="frames", shape=(channels, height, width), **about)  # type: ignore[arg-type]


def test_bumps_are_even_over_the_range_and_clipped_outside() -> None:
    shape = VariableShape(name="x", kind="continuous", shape=(1,), lower=(-3.0,), upper=(7.0,), functions=6)
    encoder = make_encoder(shape, 6).double()
    with torch.no_grad():
        encoder.linear.weight.copy_(torch.eye(6))
        found = encoder(torch.linspace(-3, 7, 11, dtype=torch.float64)[:, None])
        torch.testing.assert_close(found.sum(-1), torch.ones(11, dtype=torch.float64))
        assert found[::2].argmax(-1).tolist() == list(range(6))
        ends = encoder(torch.tensor([[-50.0], [-3.0], [7.0], [50.0]], dtype=torch.float64))
    torch.testing.assert_close(ends[0], ends[1])
    torch.testing.assert_close(ends[2], ends[3])


def test_circular_values_come_round() -> None:
    shape = VariableShape(name="x", kind="continuous", shape=(2,), period=360.0, functions=8)
    encoder = make_encoder(shape, 5).double()
    values = torch.rand(20, 2, dtype=torch.float64) * 360
    with torch.no_grad():
        torch.testing.assert_close(encoder(values), encoder(values + torch.tensor([360.0, -720.0])))
        near, far = encoder(torch.tensor([[0.1, 0.0], [359.9, 0.0], [180.0, 0.0]], dtype=torch.float64))[1:]
        here = encoder(torch.tensor([[0.1, 0.0]], dtype=torch.float64))[0]
    assert (near - here).norm() < 0.1 * (far - here).norm()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 9), (5, 7), (8, 8), (13, 4), (30, 41)])
@pytest.mark.parametrize("channels", [1, 3])
def test_patches_of_any_size_hold_every_pixel_once(height: int, width: int, channels: int) -> None:
    encoder = FramePatches(frames(channels, height, width), 6).double()
    values = torch.randn(2, 3, channels, height, width, dtype=torch.float64)
    h, w = -(-height // 4), -(-width // 4)
    with torch.no_grad():
        found = encoder(values)
        assert found.shape == (2, 3, 16, 6)
        for p in range(16):
            row, column = divmod(p, 4)
            patch = torch.zeros(2, 3, channels, h, w, dtype=torch.float64)
            cut = values[..., row * h : (row + 1) * h, column * w : (column + 1) * w]
            patch[..., : cut.shape[-2], : cut.shape[-1]] = (cut - 0.5) / 2
            expected = encoder.linear(patch.flatten(2)) + encoder.place[p]
            torch.testing.assert_close(found[:, :, p], expected)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 2), (9, 16)])
def test_the_convolution_is_a_3d_one_over_a_frame_and_the_two_before_it(height: int, width: int) -> None:
    encoder = FrameConvolution(frames(2, height, width), 6).double()
    values = torch.randn(2, 7, 2, height, width, dtype=torch.float64)
    with torch.no_grad():
        x = F.pad(((values - 0.5) / 2).transpose(1, 2), (0, 0, 0, 0, 2, 0), mode="replicate")
        x = F.gelu(encoder.time(x)).transpose(1, 2).flatten(0, 1)
        expected = encoder.linear(encoder.pool(F.gelu(encoder.space(x))).flatten(1)).view(2, 7, 1, 6)
        torch.testing.assert_close(encoder(values), expected)
        for k in range(7):
            other = values.clone()
            other[:, k] += 1
            moved = (encoder(other) - expected).abs().amax((0, 2, 3)) > 1e-12
            assert moved.tolist() == [k <= s <= k + 2 for s in range(7)]


def test_frames_that_are_far_apart_or_unknown_are_not_seen_together() -> None:
    encoder = FrameConvolution(frames(1, 6, 6, stays=3), 4).double()
    values = torch.randn(1, 6, 1, 6, 6, dtype=torch.float64)
    bins = torch.tensor([[0, 2, 9, 12, 13, 17]])
    known = torch.tensor([[True, True, True, True, False, True]])
    sees = {0: {0}, 1: {0, 1}, 2: {2}, 3: {2, 3}, 5: {5}}
    with torch.no_grad():
        reference = encoder(values, bins, known)
        for k in range(6):
            other = values.clone()
            other[:, k] = torch.from_numpy(np.random.default_rng(k).normal(size=(1, 1, 6, 6)))
            moved = (encoder(other, bins, known) - reference).abs().amax((0, 2, 3)) > 1e-12
            assert {s for s in sees if moved[s]} == {s for s, seen in sees.items() if k in seen}
