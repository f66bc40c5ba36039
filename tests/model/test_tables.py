"""Tables grow by many sessions as by one after another, and their rows are trained alone as all together."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from neuroformer.batch import Batch
from neuroformer.model import ModelConfig, Neuroformer, SessionShape, neuroformer
from neuroformer.model.tables import SessionRows, append_rows, growing
from neuroformer.settings.model import CouplingConfig

Model = Callable[..., Neuroformer]
Batches = Callable[..., Batch]
Draw = Callable[..., list[tuple[int, int, int]]]


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small tables are treated as large ones."""
    monkeypatch.setattr(neuroformer, "_FEW_ROWS", 0)
    monkeypatch.setattr(neuroformer, "_WORTH", 0)


@pytest.mark.parametrize("rank", [0, 2])
def test_sessions_at_once_are_those_one_by_one(make_shape: Callable[..., SessionShape], rank: int) -> None:
    shapes = [make_shape(n) for n in (3, 2, 5)]
    config = ModelConfig(coupling=CouplingConfig(rank=rank))
    torch.manual_seed(0)
    together = Neuroformer(config=config, bin_s=0.005, sessions=shapes)
    torch.manual_seed(0)
    one_by_one = Neuroformer(config=config, bin_s=0.005, sessions=shapes[:1])
    for shape in shapes[1:]:
        one_by_one.add_session(shape)
    found, expected = together.state_dict(), one_by_one.state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert together.offsets.tolist() == [0, 3, 5, 10]
    together.add_sessions([])
    assert together.offsets.dtype == torch.long


def test_an_error_while_growing_leaves_tables_as_they_were() -> None:
    module = torch.nn.Module()
    module.table = torch.nn.Parameter(torch.zeros(2, 3))

    def fail() -> None:
        with growing():
            append_rows(module, "table", torch.ones(1, 3))
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert module.table.shape == (2, 3)
    append_rows(module, "table", torch.ones(1, 3))
    assert module.table.tolist() == [[0.0] * 3] * 2 + [[1.0] * 3]
    assert isinstance(module.table, torch.nn.Parameter)


def test_rows_of_sessions() -> None:
    there = SessionRows.of([3, 0, 3], torch.tensor([0, 2, 5, 6, 9]))
    assert there.sessions == (0, 3)
    assert there.sizes == (2, 3)
    assert there.rows.tolist() == [0, 1, 6, 7, 8]
    assert there.sum(torch.arange(5.0)).tolist() == [1.0, 9.0]


@pytest.mark.parametrize("sessions", [[0, 2], [1], [2], [0], [2, 0, 1]])
def test_rows_of_a_table(sessions: list[int]) -> None:
    table = torch.arange(6.0).view(6, 1)  # the last session has no units
    there = SessionRows.of(sessions, torch.tensor([0, 2, 6, 6]))
    torch.testing.assert_close(there.of_table(table), table[there.rows])


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("sampled", [None, 2])
@pytest.mark.usefixtures("always")
def test_gradients_of_rows_alone_are_those_of_whole_tables(
    make_model: Model,
    make_shape: Callable[..., SessionShape],
    make_batch: Batches,
    make_shapes: Callable[..., list],
    add_variables: Callable[..., Batch],
    draw_events: Draw,
    rng: np.random.Generator,
    rank: int,
    sampled: int | None,
) -> None:
    variables = make_shapes()
    shapes = [make_shape(n, levels=[0.5, 0.5]) for n in (3, 2, 4, 5)]
    model = make_model(*shapes, rank=rank, n_levels=2, variables=variables).train()
    model.config = replace(model.config, sampled_units=sampled)
    rows = [
        (s, draw_events(rng, n_bins=20, n_units=n, n_levels=2)) for s, n in ((3, 5), (1, 2), (3, 5), (2, 4))
    ]
    batch = add_variables(make_batch(model, *rows, n_bins=20, history=6), variables, rng)

    def trained(alone: bool) -> tuple[torch.Tensor, dict[str, torch.Tensor | None]]:
        torch.manual_seed(1)
        model.zero_grad()
        if alone:
            with model.rows_alone(batch) as local:
                assert len(model.bias) == 11
                loss = model.loss(local, labels=local)["loss"]
        else:
            loss = model.loss(batch, labels=batch)["loss"]
        loss.backward()
        return loss.detach(), {name: p.grad for name, p in model.named_parameters()}

    expected_loss, expected = trained(alone=False)
    names = [name for name, _ in model.named_parameters()]
    loss, found = trained(alone=True)
    assert [name for name, _ in model.named_parameters()] == names
    torch.testing.assert_close(loss, expected_loss)
    tables = {id(p) for p in model.unit_tables()}
    own = [3, 4, *range(5, 14)]  # rows of sessions 1, 2 and 3
    n_sparse = 0
    for name, parameter in model.named_parameters():
        gradient, reference = found[name], expected[name]
        assert (gradient is None) == (reference is None), name
        if gradient is None or reference is None:
            continue
        assert gradient.is_sparse == (id(parameter) in tables), name
        if gradient.is_sparse:
            n_sparse += 1
            gradient = gradient.coalesce()
            assert gradient.indices()[0].tolist() == own
            gradient = gradient.to_dense()
            assert (reference[:3] == 0).all()
        torch.testing.assert_close(gradient, reference, msg=lambda m, name=name: f"{name}: {m}")
    assert n_sparse >= 8


@pytest.mark.usefixtures("always")
def test_tables_are_whole_again_after_an_error(make_model: Model, make_shape: Callable[..., SessionShape],
                                               make_batch: Batches) -> None:  # fmt: skip
    model = make_model(make_shape(3), make_shape(2))
    before, batch = dict(model.named_parameters()), make_batch(model, (1, []), n_bins=8)

    def fail() -> None:
        with model.rows_alone(batch) as local:
            assert local.unit_row.tolist() == [[0, 1]]
            assert model.rows(1).tolist() == [0, 1]
            assert len(model.rows(0)) == 0
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    after = dict(model.named_parameters())
    assert list(before) == list(after)
    assert all(after[name] is parameter for name, parameter in before.items())
    assert model.rows(1).tolist() == [3, 4]


def test_small_tables_are_left_as_they_are(
    make_model: Model, make_shape: Callable[..., SessionShape], make_batch: Batches
) -> None:
    model = make_model(make_shape(3), make_shape(2))
    batch = make_batch(model, (1, []), n_bins=8)
    with model.rows_alone(batch) as local:
        assert local is batch
