"""Cells and values of a grid, one into the other."""

from typing import Any

import numpy as np
import pytest

from neuroformer.data import Vocabulary
from neuroformer.data.grid import Axis, Grid, make_grid
from neuroformer.data.variables import Binned, VariableEntry
from neuroformer.errors import UserError
from neuroformer.settings.variables import VariableConfig


def entry(
    name: str, *, kind: str = "continuous", size: int = 1, role: Any = "both", **about: Any
) -> VariableEntry:
    settings = VariableConfig(role=role, grid=about.pop("grid", 4), source=about.pop("source", "behavior"))
    if kind == "continuous":
        about = {"lower": (0.0,) * size, "upper": (8.0,) * size} | about
    return VariableEntry(
        name=name, settings=settings, kind=kind, shape=(size,) if kind == "continuous" else (), **about
    )


def vocabulary(*entries: VariableEntry) -> Vocabulary:
    found = Vocabulary(bin_s=0.1)
    found.variables = {e.name: e for e in entries}
    return found


def grid() -> Grid:
    found = make_grid(
        vocabulary(
            entry("place", size=2, grid=3, lower=(0.0, -1.0), upper=(3.0, 2.0)),
            entry("speed", role="context"),
            entry("goal", role="target"),
            entry("pace", grid=0),
            entry("turn", grid=5, period=10.0, upper=(10.0,)),
            entry("side", kind="categorical", labels=("l", "r"), source="trials"),
        )
    )
    assert found is not None
    return found


def test_it_holds_what_is_decoded_and_an_input() -> None:
    found = grid()
    assert found.names == ["place", "turn", "side"]
    assert found.shape == (3, 3, 5, 2)
    assert len(found) == 90
    assert [axis.static for axis in found.axes] == [False, False, False, True]
    assert make_grid(vocabulary(entry("goal", role="target"), entry("speed", role="context"))) is None


def test_the_values_of_a_cell_lie_in_it() -> None:
    found = grid()
    known = np.ones(90, bool)
    values = {name: Binned(values=found.values(name), known=known) for name in found.names}
    np.testing.assert_array_equal(found.cells(values), np.arange(90))
    assert found.values("place").shape == (90, 2)
    assert found.values("side").dtype == np.int64
    gone = values | {"turn": Binned(values=found.values("turn"), known=known & (np.arange(90) != 7))}
    assert found.cells(gone)[7] == -1
    assert found.cells(gone)[8] == 8


def test_what_lies_outside_counts_to_the_edge_and_angles_come_round() -> None:
    line = Axis(name="x", dimension=0, edges=np.array([0.0, 1.0, 2.0]))
    assert line.cell(np.array([-5.0, 0.0, 0.99, 1.0, 2.0, 9.0])).tolist() == [0, 0, 0, 1, 1, 1]
    ring = Axis(name="x", dimension=0, edges=np.linspace(0, 360, 5), period=360.0)
    assert ring.cell(np.array([0.0, 359.0, 360.0, -1.0, 450.0, -1e-14])).tolist() == [0, 3, 0, 3, 1, 3]


def test_marginals_sum_over_the_other_axes(rng: np.random.Generator) -> None:
    found = grid()
    posterior = rng.dirichlet(np.ones(90), 7)
    for k, axis in enumerate(found.axes):
        index = np.unravel_index(np.arange(90), found.shape)[k]
        expected = np.stack([posterior[:, index == c].sum(1) for c in range(len(axis))], 1)
        np.testing.assert_allclose(found.marginal(posterior, k), expected)


def test_too_many_cells_are_refused_with_a_cure() -> None:
    with pytest.raises(
        UserError, match=r"has 64,000 cells \(a 40, a 40, b 40\).*lower data\.variables\.NAME\.grid"
    ):
        make_grid(vocabulary(entry("a", size=2, grid=40), entry("b", grid=40)))
