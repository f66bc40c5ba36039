"""A grid over the values of a target with one or two dimensions, or the classes of a categorical one."""

from __future__ import annotations

from typing import Literal, Self

import numpy as np

from neuroformer.baselines.decoding.target import Target, wrapped
from neuroformer.errors import UserError

Point = Literal["median", "mean", "mode"]


class Grid:
    """Equal cells of each dimension; the cell index runs through the last dimension first.

    Args:
        edges: for each of one or two dimensions, its rising, equally spaced edges.
        period: of all dimensions, if they are circular; the edges span one turn then.

    Attributes:
        centers: (G, D) middle of each cell.
        widths: (D,) width of a cell.
    """

    def __init__(self, edges: list[np.ndarray], *, period: float | None = None) -> None:
        """See the class."""
        self.edges, self.period = edges, period
        self.shape = tuple(len(e) - 1 for e in edges)
        middles = [(e[1:] + e[:-1]) / 2 for e in edges]
        self.centers = np.stack([m.ravel() for m in np.meshgrid(*middles, indexing="ij")], axis=1)
        self.widths = np.array([e[1] - e[0] for e in edges])

    @classmethod
    def over(cls, target: Target, y: np.ndarray, *, cells: int, cells_2d: int) -> Self:
        """Over a turn, the target's bounds, or the range of the labels (n, D).

        Raises:
            UserError: more than two dimensions, or bounds that are not those of the labels' dimensions.
        """
        n_dims = y.shape[1]
        if n_dims > 2:
            raise UserError(
                f"{target.name}: a grid over {n_dims} dimensions is too large; decode one or two at a time"
            )
        if target.bounds is not None and (
            len(target.bounds) != n_dims or any(not high > low for low, high in target.bounds)
        ):
            raise UserError(
                f"{target.name}: bounds={target.bounds}: expected a rising pair for each of {n_dims} dimension(s)"
            )
        edges = []
        for d in range(n_dims):
            if target.period is not None:
                low, high = 0.0, target.period
            elif target.bounds is not None:
                low, high = target.bounds[d]
            else:
                low, high = float(y[:, d].min()), float(y[:, d].max())
                if high - low < 1e-9 * max(
                    1.0, abs(low)
                ):  # a constant: a cell that holds it must have a width
                    low, high = low - 0.5, high + 0.5
            edges.append(np.linspace(low, high, (cells if n_dims == 1 else cells_2d) + 1))
        return cls(edges, period=target.period)

    @property
    def size(self) -> int:
        """Number of cells G."""
        return len(self.centers)

    def cells(self, y: np.ndarray) -> np.ndarray:
        """(n,) cell of each value (n, D); values beyond the grid go to its nearest cell."""
        index = []
        for d, edges in enumerate(self.edges):
            values = y[:, d] % self.period if self.period is not None else y[:, d]
            at = np.floor((values - edges[0]) / self.widths[d]).astype(np.int64)
            index.append(np.clip(at, 0, self.shape[d] - 1))
        return np.ravel_multi_index(index, self.shape)

    def kernel(self, sigma: float) -> np.ndarray:
        """(G, G) Gaussian of the distance between cells, 1 at distance 0; `sigma` in parts of the grid's range."""
        if sigma <= 0:
            return np.eye(self.size)
        apart = wrapped(self.centers[:, None] - self.centers, self.period)
        ranges = self.widths * self.shape
        return np.exp(-0.5 * ((apart / (sigma * ranges)) ** 2).sum(2))

    def steps(self) -> np.ndarray:
        """(G, G) number of the displacement from row to column, the same number for the same displacement."""
        index = np.stack(np.unravel_index(np.arange(self.size), self.shape), axis=1)
        step = index[None] - index[:, None]  # (G, G, D)
        sizes = np.array(self.shape)
        step = step % sizes if self.period is not None else step + sizes - 1
        return np.ravel_multi_index(list(np.moveaxis(step, 2, 0)), tuple(2 * sizes - 1))

    def point(self, probability: np.ndarray, how: Point) -> np.ndarray:
        """(T, D) value that stands for probabilities (T, G)."""
        if how == "mode":
            return self.centers[probability.argmax(1)]
        if self.period is not None:
            cosine, sine = self._moments(probability)
            return np.arctan2(sine, cosine) * (self.period / (2 * np.pi)) % self.period
        if how == "median" and len(self.shape) == 1:
            below = np.concatenate([np.zeros((len(probability), 1)), np.cumsum(probability, axis=1)], axis=1)
            at = np.minimum((below[:, 1:] < 0.5).sum(1), self.size - 1)
            rows = np.arange(len(probability))
            part = (0.5 - below[rows, at]) / np.maximum(probability[rows, at], 1e-12)
            return (self.edges[0][at] + np.clip(part, 0, 1) * self.widths[0])[:, None]
        return probability @ self.centers

    def spread(self, probability: np.ndarray) -> np.ndarray:
        """(T, D) standard deviation, that within a cell included; no more than that of a uniform one on a circle."""
        if self.period is not None:
            cosine, sine = self._moments(probability)
            length = np.clip(np.hypot(cosine, sine), 1e-12, 1)
            variance = -2 * np.log(length) * (self.period / (2 * np.pi)) ** 2
            return np.sqrt(np.minimum(variance + self.widths**2 / 12, self.period**2 / 12))
        mean = probability @ self.centers
        # About the mean, not from raw moments: these cancel where the posterior is sharp.
        variance = np.einsum("tg,tgd->td", probability, (self.centers - mean[:, None]) ** 2)
        return np.sqrt(variance + self.widths**2 / 12)

    def _moments(self, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert self.period is not None
        angle = self.centers * (2 * np.pi / self.period)
        return probability @ np.cos(angle), probability @ np.sin(angle)
