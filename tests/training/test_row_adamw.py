"""Rows of absent sessions are left alone; rows of present ones are trained as AdamW trains them."""

import io
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neuroformer.training.finetune import _zero_first
from neuroformer.training.row_adamw import RowAdamW, clip_gradients

UNITS = (3, 2, 4)
ROWS = [range(3), range(3, 5), range(5, 9)]
N_STEPS = 12


class Tables(nn.Module):
    """A vector and a matrix per unit, a row per session, and something that all share."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        shapes = {"bias": (9,), "unit": (9, 4), "session": (3, 5), "shared": (6,)}
        for name, shape in shapes.items():
            setattr(self, name, nn.Parameter(torch.randn(shape, generator=generator)))


def optimizer_of(model: Tables, kind: Any = RowAdamW, decay: float = 0.1) -> Any:
    groups = [
        {"params": [model.shared, model.unit], "lr": 0.02, "weight_decay": decay},
        {"params": [model.bias, model.session], "lr": 0.05, "weight_decay": 0.0},
    ]
    if kind is not RowAdamW:
        return kind(groups, betas=(0.9, 0.99))
    tables = {"unit_tables": [model.bias, model.unit], "session_tables": [model.session]}
    return RowAdamW(groups, betas=(0.9, 0.99), units=UNITS, **tables)


def rows_of(name: str, sessions: Sequence[int]) -> list[int]:
    return list(sessions) if name == "session" else [row for s in sessions for row in ROWS[s]]


def give(model: Tables, step: int, sessions: Sequence[int], *, sparse: bool = False) -> None:
    """Gradients of a batch that shows some sessions."""
    generator = torch.Generator().manual_seed(step)
    for name, parameter in model.named_parameters():
        gradient = torch.randn(parameter.shape, generator=generator)
        if name != "shared":
            rows = rows_of(name, sessions)
            kept = torch.zeros_like(gradient)
            kept[rows] = gradient[rows]
            if sparse and name != "session":
                # Twice the half: as of a model that reads a table in two places.
                values = torch.cat([gradient[rows] / 2] * 2)
                kept = torch.sparse_coo_tensor(
                    torch.tensor([rows * 2]), values, kept.shape, check_invariants=True
                )
            gradient = kept
        parameter.grad = gradient


def train(
    model: Tables, optimizer: Any, batches: Sequence[Sequence[int]], *, first: int = 0, **how: Any
) -> None:
    for step, sessions in enumerate(batches, start=first):
        give(model, step, sessions, **how)
        if isinstance(optimizer, RowAdamW):
            optimizer.show(torch.tensor(sessions))
        optimizer.step()


def assert_same(a: Tables, b: Tables, **tolerance: float) -> None:
    for (name, x), y in zip(a.named_parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(x, y, msg=lambda m, name=name: f"{name}: {m}", **tolerance)


def test_with_all_sessions_in_every_batch_it_is_adamw() -> None:
    mine, torchs = Tables(), Tables()
    train(mine, optimizer_of(mine), [(0, 1, 2)] * N_STEPS)
    train(torchs, optimizer_of(torchs, torch.optim.AdamW), [(0, 1, 2)] * N_STEPS)
    assert_same(mine, torchs, rtol=1e-6, atol=1e-7)
    assert torch.equal(mine.shared, torchs.shared)
    untold = Tables()
    optimizer = optimizer_of(untold)
    for step in range(N_STEPS):
        give(untold, step, (0, 1, 2))
        optimizer.step()
    assert_same(untold, mine, rtol=0, atol=0)


@pytest.mark.parametrize("sparse", [False, True])
def test_a_row_that_was_away_fades_and_takes_the_steps_of_its_momentum(sparse: bool) -> None:
    batches = [(0, 1), (2,), (0, 2), (1,), (0, 1, 2), (2,), (0,), (1, 2)]
    model = Tables()
    start = {name: p.detach().double().clone() for name, p in model.named_parameters()}
    optimizer = optimizer_of(model)
    train(model, optimizer, batches, sparse=sparse)
    given = Tables()
    for name, lr, decay in (("unit", 0.02, 0.1), ("bias", 0.05, 0.0), ("session", 0.05, 0.0)):
        for session in range(3):
            rows = rows_of(name, [session])
            value = start[name][rows]
            mean, square = torch.zeros_like(value), torch.zeros_like(value)
            away = 0
            for step, shown in enumerate(batches, start=1):
                away += 1
                mean, square = 0.9 * mean, 0.99 * square
                if session not in shown:
                    continue
                give(given, step - 1, shown)
                gradient = getattr(given, name).grad[rows].double()
                mean, square = mean + 0.1 * gradient, square + 0.01 * gradient**2
                spread = (square / (1 - 0.99**step)).sqrt() + 1e-8
                value = value * (1 - lr * decay) ** away
                for k in range(away):  # what momentum would make of as many steps without a gradient
                    value = value - lr * (0.9 / 0.99**0.5) ** k * mean / (1 - 0.9**step) / spread
                away = 0
            found = getattr(model, name)[rows].double()
            torch.testing.assert_close(found, value, rtol=1e-4, atol=1e-5)


def test_a_row_shown_now_and_then_goes_as_far_as_with_adamw() -> None:
    """Up a slope of 1 with noise, shown in every eighth step."""
    far = []
    for kind in (RowAdamW, torch.optim.AdamW):
        model = Tables()
        optimizer = optimizer_of(model, kind, decay=0.0)
        begin = model.unit.detach().clone()
        generator = torch.Generator().manual_seed(0)
        for step in range(400):
            model.unit.grad = torch.zeros_like(model.unit)
            sessions = [step // 8 % 3] if step % 8 == 0 else []
            rows = rows_of("unit", sessions)
            model.unit.grad[rows] = 1 + torch.randn(len(rows), 4, generator=generator)
            if kind is RowAdamW:
                optimizer.show(torch.tensor(sessions, dtype=torch.long))
            optimizer.step()
        far.append(float((begin - model.unit.detach()).mean()))
    assert far[0] == pytest.approx(far[1], rel=0.2)
    assert far[0] > 2 * 400 / 24 * 0.02  # one step for each batch would be half of that at most


def test_absent_sessions_stay_as_they_are_and_their_moments_too() -> None:
    model = Tables()
    optimizer = optimizer_of(model)
    train(model, optimizer, [(0, 1, 2)] * 3)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    moments = {name: optimizer.state[p]["exp_avg"].clone() for name, p in model.named_parameters()}
    train(model, optimizer, [(1,)] * 3, first=3)
    for name in ("bias", "unit", "session"):
        rows = rows_of(name, [0, 2])
        assert torch.equal(getattr(model, name)[rows], before[name][rows])
        assert torch.equal(optimizer.state[getattr(model, name)]["exp_avg"][rows], moments[name][rows])
        shown = rows_of(name, [1])
        assert (getattr(model, name)[shown] != before[name][shown]).all()


def test_a_shown_row_whose_gradient_is_zero_is_trained() -> None:
    model = Tables()
    optimizer = optimizer_of(model)
    train(model, optimizer, [(0, 1)])
    before = model.unit.detach().clone()
    optimizer.show(torch.tensor([0]))
    model.unit.grad = torch.zeros_like(model.unit)
    optimizer.step()
    assert (model.unit[:3] != before[:3]).all()  # by its momentum
    assert torch.equal(model.unit[3:], before[3:])
    dense = model.unit.detach().clone()
    one = torch.sparse_coo_tensor(torch.tensor([[1]]), torch.zeros(1, 4), (9, 4), check_invariants=True)
    model.unit.grad = one  # without rows 0 and 2
    optimizer.step()
    assert (model.unit[:3] != dense[:3]).all()


def test_a_table_without_gradient_is_left() -> None:
    model = Tables()
    optimizer = optimizer_of(model)
    give(model, 0, (0,))
    model.unit.grad = None
    before = model.unit.detach().clone()
    optimizer.show(torch.tensor([0]))
    optimizer.step()
    assert torch.equal(model.unit, before)
    assert model.unit not in optimizer.state
    assert model.bias.grad is not None  # gradients are there after the step


def saved(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    found: dict[str, Any] = torch.load(file, weights_only=True)
    return found


def test_goes_on_from_what_was_saved_bit_by_bit() -> None:
    batches = [(0, 1), (2,), (0, 2), (1,), (0, 1, 2), (2,)]
    whole, first = Tables(), Tables()
    train(whole, optimizer_of(whole), batches)
    optimizer = optimizer_of(first)
    train(first, optimizer, batches[:3])
    second = Tables()
    second.load_state_dict(first.state_dict())
    again = optimizer_of(second)
    again.load_state_dict(saved(optimizer))
    train(second, again, batches[3:], first=3)
    assert_same(second, whole, rtol=0, atol=0)


def test_goes_on_from_plain_adamw() -> None:
    model, reference = Tables(), Tables()
    old = optimizer_of(reference, torch.optim.AdamW)
    train(reference, old, [(0, 1, 2)] * 4)
    model.load_state_dict(reference.state_dict())
    optimizer = optimizer_of(model)
    optimizer.load_state_dict(saved(old))
    assert optimizer.state[model.unit]["step"].tolist() == [4, 4, 4]
    assert optimizer.state[model.unit]["now"] == 4
    assert optimizer.state[model.shared]["step"].ndim == 0
    train(model, optimizer, [(0, 1, 2)] * 4, first=4)
    train(reference, old, [(0, 1, 2)] * 4, first=4)
    assert_same(model, reference, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("most", [0.5, 1e6])
def test_sparse_gradients_count_when_clipping(most: float) -> None:
    def clipped(sparse: bool) -> tuple[float, list[Tensor]]:
        model = Tables()
        give(model, 0, (0, 2), sparse=sparse)
        norm = clip_gradients(list(model.parameters()), most)
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        return float(norm), [g.to_dense() if g.is_sparse else g for g in gradients]

    norm, found = clipped(True)
    expected_norm, expected = clipped(False)
    assert norm == pytest.approx(expected_norm, rel=1e-6)
    assert norm > 1
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_rows_that_are_frozen_get_no_gradient_where_it_is_sparse() -> None:
    table = nn.Parameter(torch.zeros(4, 2))
    table.register_hook(_zero_first(2))
    index = torch.tensor([1, 3])
    nn.functional.embedding(index, table, sparse=True).sum().backward()
    assert table.grad is not None
    assert table.grad.to_dense().tolist() == [[0, 0], [0, 0], [0, 0], [1, 1]]


@pytest.mark.parametrize("fused", [None, True])
def test_what_a_session_owns_is_trained_when_it_is_shown_and_only_then(fused: bool | None) -> None:
    mine, torchs = ([nn.Parameter(torch.full((2,), float(k))) for k in range(7)] for _ in range(2))
    own = [mine[1:3], mine[3:5], mine[5:]]  # the first is for all
    groups = [{"params": mine[::2], "weight_decay": 0.1}, {"params": mine[1::2], "weight_decay": 0.0}]
    optimizer = RowAdamW(groups, betas=(0.9, 0.99), units=UNITS, own=own, fused=fused)
    groups = [{"params": torchs[::2], "weight_decay": 0.1}, {"params": torchs[1::2], "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=fused)
    for step, sessions in enumerate([(0, 1), (2,), (0, 2), (), (1,)]):
        for optimiser in (optimizer, reference):
            optimiser.zero_grad()
        assert all(p.grad is None for p in mine)
        shown = {0} | {k for s in sessions for k in (2 * s + 1, 2 * s + 2)}
        for k in shown:
            mine[k].grad = torch.tensor([0.1 * step + k, -1.0])
            torchs[k].grad = torch.tensor([0.1 * step + k, -1.0])
        optimizer.show(torch.tensor(sessions, dtype=torch.long))
        seen = [p for group in optimizer.shown() for p in group]
        assert {id(p) for p in seen} == {id(mine[k]) for k in shown}
        optimizer.step()
        reference.step()
        for a, b in zip(mine, torchs, strict=True):
            assert torch.equal(a, b)
    assert [len(group["params"]) for group in optimizer.param_groups] == [4, 3]
    assert len(optimizer.state_dict()["state"]) == 7
