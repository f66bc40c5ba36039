"""The grid of behaviour on which an encoder is inverted: a product of the decoded variables' axes."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from neuroformer.data.variables import Binned, VariableEntry
from neuroformer.data.vocabulary import Vocabulary
from neuroformer.errors import UserError

MOST_CELLS = 4_000


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One variable's cells, or one dimension's.

    Attributes:
        name: of the variable.
        dimension: which of its dimensions; 0 for a categorical one.
        edges: (K + 1,) of the cells in the variable's unit; of a categorical one −½, ½, …
        period: a full turn of a circular variable.
        labels: of a categorical one.
        static: whether the value holds for a whole trial.
    """

    name: str
    dimension: int
    edges: np.ndarray
    period: float | None = None
    labels: tuple[str, ...] = ()
    static: bool = False

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.edges) - 1

    @property
    def centres(self) -> np.ndarray:
        """(K,) middle of each cell."""
        return 0.5 * (self.edges[1:] + self.edges[:-1])

    def cell(self, values: np.ndarray) -> np.ndarray:
        """Cell of each value; what lies outside counts to the outermost cell, a circular value comes round."""
        if self.period is not None:
            values = values % self.period
        return np.clip(np.searchsorted(self.edges, values, side="right") - 1, 0, len(self) - 1)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Every combination of the axes' cells, the last axis running fastest.

    Attributes:
        axes: in the order of the variables.
    """

    axes: tuple[Axis, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Cells of each axis."""
        return tuple(len(axis) for axis in self.axes)

    def __len__(self) -> int:
        """G, number of cells."""
        return prod(self.shape)

    @property
    def names(self) -> list[str]:
        """The variables, each once."""
        return list(dict.fromkeys(axis.name for axis in self.axes))

    def values(self, name: str) -> np.ndarray:
        """(G, D) value of a continuous variable in each cell, or (G,) labels."""
        columns = []
        for k, axis in enumerate(self.axes):
            if axis.name != name:
                continue
            shape = [1] * len(self.axes)
            shape[k] = len(axis)
            centres = np.broadcast_to(axis.centres.reshape(shape), self.shape).ravel()
            if axis.labels:
                return np.round(centres).astype(np.int64)
            columns.append(centres)
        return np.stack(columns, 1)

    def cells(self, variables: dict[str, Binned]) -> np.ndarray:
        """(T,) cell in which the variables lie in each bin; −1 where one is unknown."""
        index, known = np.zeros((), np.int64), np.ones((), bool)
        for axis in self.axes:
            found = variables[axis.name]
            values = found.values if found.values.ndim == 1 else found.values[:, axis.dimension]
            index = index * len(axis) + axis.cell(values)
            known = known & found.known
        return np.where(known, index, -1)

    def marginal(self, posterior: np.ndarray, k: int) -> np.ndarray:
        """(T, K) probability of the cells of axis `k` from (T, G)."""
        full = posterior.reshape(-1, *self.shape)
        others = tuple(i + 1 for i in range(len(self.axes)) if i != k)
        summed: np.ndarray = full.sum(others)
        return summed


def make_grid(vocabulary: Vocabulary) -> Grid | None:
    """The grid of all variables that are decoded and that events may be predicted from; None if there is none.

    Raises:
        UserError: it would be too large.
    """
    axes: list[Axis] = []
    for entry in vocabulary.variables.values():
        if entry.is_input and entry.is_decoded and entry.settings.grid:
            axes += _axes(entry)
    grid = Grid(axes=tuple(axes))
    if axes and len(grid) > MOST_CELLS:
        sizes = ", ".join(f"{axis.name} {len(axis)}" for axis in axes)
        raise UserError(
            f"data.variables: the grid of the decoded variables has {len(grid):,} cells ({sizes}), at most "
            f"{MOST_CELLS:,} are inverted; lower data.variables.NAME.grid, or set it to 0 for all but one"
        )
    return grid if axes else None


def _axes(entry: VariableEntry) -> list[Axis]:
    static = entry.settings.source == "trials"
    if entry.kind == "categorical":
        edges = np.arange(len(entry.labels) + 1) - 0.5
        return [Axis(name=entry.name, dimension=0, edges=edges, labels=entry.labels, static=static)]
    return [
        Axis(
            name=entry.name,
            dimension=d,
            edges=np.linspace(entry.lower[d], entry.upper[d], entry.settings.grid + 1),
            period=entry.period,
            static=static,
        )
        for d in range(entry.shape[0])
    ]
