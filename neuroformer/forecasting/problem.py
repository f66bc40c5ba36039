"""What every method of forecasting is given, and what it gives back.

Legend: O origins, H horizons, N units, R rows of the training or validation part.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from neuroformer.data import Part
from neuroformer.forecasting.series import Rows, Series

MOST_ORIGINS = 400


@dataclass(frozen=True, eq=False)
class Problem:
    """One session: rows to fit to, rows to choose on, and origins to forecast from.

    Attributes:
        series: the session's activity.
        horizon: longest horizon H, bins.
        part: with the origins.
        stride: bins between origins; None: as few as give at most 400.
        most: rows of the training part to fit to.
    """

    series: Series
    horizon: int
    part: Part = "test"
    stride: int | None = None
    most: int = 20_000

    @cached_property
    def origins(self) -> Rows:
        """(O,) the same for every method."""
        rows = self.series.origins(self.part, self.horizon, stride=self.stride or 1)
        if self.stride is None and len(rows) > MOST_ORIGINS:
            return self.series.origins(self.part, self.horizon, stride=-(-len(rows) // MOST_ORIGINS))
        return rows

    @cached_property
    def train(self) -> Rows:
        """Rows to fit to."""
        return self.series.fitting_rows("train", self.most)

    @cached_property
    def val(self) -> Rows:
        """Rows to choose on."""
        return self.series.fitting_rows("val", self.most)

    @cached_property
    def truth(self) -> np.ndarray:
        """(O, H, N) what happened, standardised, NaN where not measured."""
        return np.stack([self.series.targets(self.origins, h + 1) for h in range(self.horizon)], 1)


@dataclass(frozen=True, eq=False)
class Forecast:
    """Of one method for one session.

    Attributes:
        values: (O, H, N) standardised expected activity.
        chosen: what was chosen on the validation part, for the results.
    """

    values: np.ndarray
    chosen: dict[str, Any] = field(default_factory=dict)
