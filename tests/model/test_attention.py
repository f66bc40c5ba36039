import cmath
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from neuroformer.batch import Batch
from neuroformer.model import Neuroformer
from neuroformer.model.attention import Block, rotary_angles, rotate

WIDTH, HEADS = 8, 2


@pytest.fixture
def block() -> Block:
    generator = torch.Generator().manual_seed(0)
    block = Block(width=WIDTH, heads=HEADS).double().eval()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return block


@pytest.fixture
def tokens() -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, their times in bins, and which may look at which."""
    x = torch.randn(1, 6, WIDTH, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    time = torch.tensor([[0, 0, 3, 4, 4, 11]])
    age = time[:, :, None] - time[:, None, :]
    return x, time, (torch.ones(6, 6, dtype=torch.bool).tril() & (age <= 5)).unsqueeze(1)


def values(block: Block, x: Tensor) -> Tensor:
    return (block.norm_attention(x) @ block.qkv.weight[2 * WIDTH :].T).unflatten(
        -1, (HEADS, -1)
    )  # (B, E, H, C)


def test_weights_are_what_forward_uses(block: Block, tokens: tuple[Tensor, Tensor, Tensor]) -> None:
    x, time, mask = tokens
    angles = rotary_angles(time, 2, 24)
    weights = block.weights(x, angles, mask)
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
    assert (weights.masked_select(~mask.expand_as(weights)) == 0).all()
    attended = torch.einsum("bhqk,bkhc->bqhc", weights, values(block, x)).flatten(2)
    middle = x + attended @ block.out.weight.T
    expected = middle + block.mlp(block.norm_mlp(middle))
    torch.testing.assert_close(block(x, angles, mask), expected, rtol=1e-6, atol=1e-9)


def test_weights_given_from_outside_take_the_place_of_the_blocks_own(
    block: Block, tokens: tuple[Tensor, Tensor, Tensor]
) -> None:
    x, time, mask = tokens
    angles = rotary_angles(time, 2, 24)
    own = block.weights(x, angles, mask)
    torch.testing.assert_close(block.attended(x, angles, own), block(x, angles, mask), rtol=1e-6, atol=1e-9)

    given = own.detach().clone().requires_grad_()
    block.attended(x, angles, given)[0, 4].sum().backward()
    assert given.grad is not None
    assert (given.grad[:, :, 4] != 0).all()  # of the query that was read, and of no other
    assert (given.grad[:, :, [0, 1, 2, 3, 5]] == 0).all()
    looks_at_one = torch.zeros_like(own)
    looks_at_one[..., 2] = 1
    middle = x + values(block, x)[:, 2].flatten(1).unsqueeze(1) @ block.out.weight.T
    expected = middle + block.mlp(block.norm_mlp(middle))
    torch.testing.assert_close(block.attended(x, angles, looks_at_one), expected, rtol=1e-6, atol=1e-9)


def test_scores_turn_with_the_difference_of_times(
    block: Block, tokens: tuple[Tensor, Tensor, Tensor]
) -> None:
    x, time, mask = tokens
    found = block.weights(x, rotary_angles(time, 2, 24), mask).detach()
    normed = x / (x.square().mean(-1, keepdim=True) + torch.finfo(x.dtype).eps).sqrt()
    normed = (normed * block.norm_attention.weight)[0]
    q, k, _ = (normed @ block.qkv.weight.T).detach().chunk(3, dim=-1)
    for head in range(HEADS):
        for i in range(6):
            score = {}
            for j in range(6):
                if not mask[0, 0, i, j]:
                    continue
                total = 0.0
                for pair, period in enumerate((4.0, 24.0)):  # the shortest is 4 bins, the longest as asked
                    a = head * 4 + pair
                    query = complex(float(q[i, a]), float(q[i, a + 2]))
                    key = complex(float(k[j, a]), float(k[j, a + 2]))
                    turn = cmath.exp(2j * math.pi * int(time[0, i] - time[0, j]) / period)
                    total += (query * turn * key.conjugate()).real
                score[j] = math.exp(total / 2)  # √C
            for j, value in score.items():
                assert float(found[0, head, i, j]) == pytest.approx(value / sum(score.values()), rel=1e-5)


def test_only_differences_of_times_matter_however_late(
    block: Block, tokens: tuple[Tensor, Tensor, Tensor]
) -> None:
    x, time, mask = tokens
    early = block.weights(x, rotary_angles(time, 2, 100), mask)
    for shift in (1, 137, 100_000):
        late = block.weights(x, rotary_angles(time + shift, 2, 100), mask)
        torch.testing.assert_close(late, early, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(block.weights(x, rotary_angles(2 * time, 2, 100), mask), early, atol=1e-3)


def test_rotation_keeps_lengths() -> None:
    x = torch.randn(2, 3, 5, 8)
    turned = rotate(x, rotary_angles(torch.arange(10).view(2, 5), 4, 50))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))


def test_a_new_block_is_the_identity(tokens: tuple[Tensor, Tensor, Tensor]) -> None:
    x, time, mask = tokens
    block = Block(width=WIDTH, heads=HEADS).double()
    assert torch.equal(block(x, rotary_angles(time, 2, 24), mask), x)


def test_a_token_looks_at_itself_and_back_as_far_as_the_window(
    make_model: Callable[..., Neuroformer], make_batch: Callable[..., Batch]
) -> None:
    model = make_model()
    assert model.trunk is not None
    batch = make_batch(model, (0, [(0, 0, 0), (0, 1, 0), (6, 0, 0), (7, 2, 0)]), n_bins=9, further_events=2)
    looks = model.trunk.mask(batch)[0, 0].int().tolist()
    assert looks[:4] == [[1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 0, 0]]
    # Padding looks at itself too, so that no row of the softmax is empty; nothing real looks at padding.
    assert looks[4][4] == looks[5][5] == 1
    assert all(row[4:] == [0, 0] for row in looks[:4])


def test_the_state_can_be_pooled_from_other_tokens(
    make_model: Callable[..., Neuroformer], make_batch: Callable[..., Batch]
) -> None:
    model = make_model()
    assert model.trunk is not None
    batch = make_batch(model, (0, [(0, 0, 0), (2, 1, 0), (6, 2, 0)]), n_bins=9, history=3, further_events=1)
    weight = model.event_weight(batch)
    with torch.no_grad():
        own = model.trunk.state(batch, weight)
        assert own.shape == (1, 6, 4)
        tokens = model.trunk.contextual(batch)
        torch.testing.assert_close(model.trunk.state(batch, weight, tokens=tokens), own)
        silent = model.trunk.state(batch, weight, tokens=torch.zeros_like(tokens))
        torch.testing.assert_close(silent, torch.tanh(model.trunk.bias).expand(1, 6, -1))
        changed = tokens.clone()
        changed[:, 2] += 1  # the event in bin 6, which is the fourth that is scored
        found = model.trunk.state(batch, weight, tokens=changed)
        torch.testing.assert_close(found[:, :4], own[:, :4])
        assert (found[:, 4] != own[:, 4]).all()
        changed = tokens.clone()
        changed[:, 3] += 1  # padding
        torch.testing.assert_close(model.trunk.state(batch, weight, tokens=changed), own)
