"""What the scores of all methods and sessions say, horizon by horizon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from neuroformer.forecasting.scores import LOWER_IS_BETTER, Curve
from neuroformer.plotting import method_label
from neuroformer.settings.forecast import OURS

NAMES = {
    "mae": "mean absolute error",
    "mse": "mean squared error",
    "correlation": "correlation, median unit",
    "correlation_mean": "correlation, mean of units",
    "bits_per_spike": "bits per spike",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Summary:
    """Scores by session and method.

    Attributes:
        curves: of each session, of each method.
        bin_s: width of a bin, seconds.
    """

    curves: Mapping[str, Mapping[str, Curve]]
    bin_s: float

    @property
    def methods(self) -> list[str]:
        """In the order of the first session."""
        return list(next(iter(self.curves.values())))

    @property
    def horizon(self) -> int:
        """Longest horizon, bins."""
        return len(next(iter(next(iter(self.curves.values())).values())).scores["mae"])

    def values(self, method: str, metric: str) -> np.ndarray:
        """(S, H) of each session."""
        return np.array(
            [[score.value for score in session[method].scores[metric]] for session in self.curves.values()]
        )

    def median(self, method: str, metric: str) -> np.ndarray:
        """(H,) median over sessions, NaN where no session has a value."""
        values = self.values(method, metric)
        some = np.isfinite(values).any(0)
        found = np.full(values.shape[1], np.nan)
        found[some] = np.nanmedian(values[:, some], axis=0)
        return found

    def best(self, methods: Sequence[str], metric: str) -> list[str | None]:
        """(H,) the method with the best median at each horizon."""
        sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
        values = np.array([sign * self.median(method, metric) for method in methods])
        return [
            methods[int(np.nanargmax(column))] if np.isfinite(column).any() else None for column in values.T
        ]

    def compared(self, metric: str) -> list[dict[str, object]]:
        """Ours beside the best baseline of each horizon.

        Medians, in how many sessions ours is at or above that baseline, and the interval of the difference where there
        is one session.
        """
        baselines = [m for m in self.methods if m not in OURS]
        ours = [m for m in self.methods if m in OURS]
        if not (baselines and ours):
            return []
        sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
        rows: list[dict[str, object]] = []
        for h, (mine, other) in enumerate(
            zip(self.best(ours, metric), self.best(baselines, metric), strict=True)
        ):
            if mine is None or other is None:
                continue
            a, b = self.values(mine, metric)[:, h], self.values(other, metric)[:, h]
            row: dict[str, object] = {
                "horizon": h + 1,
                "ours": mine,
                "value": float(self.median(mine, metric)[h]),
                "baseline": other,
                "baseline_value": float(self.median(other, metric)[h]),
                "sessions_at_or_above": int((sign * (a - b) >= 0).sum()),
                "sessions": len(a),
            }
            if len(a) == 1:
                session = next(iter(self.curves.values()))
                difference = session[mine].scores[metric][h] - session[other].scores[metric][h]
                row["difference_interval"] = difference.interval
            rows.append(row)
        return rows

    def sentence(self, metric: str) -> str:
        """Who wins at which horizons."""
        best = self.best(self.methods, metric)
        parts = []
        for method, group in groupby(enumerate(best), key=lambda pair: pair[1]):
            steps = [h + 1 for h, _ in group]
            if method is None:
                continue
            at = f"{steps[0]}" if len(steps) == 1 else f"{steps[0]}–{steps[-1]}"
            seconds = f"{steps[0] * self.bin_s:.3g}"
            if len(steps) > 1:
                seconds += f"–{steps[-1] * self.bin_s:.3g}"
            parts.append(f"{method_label(method)} at {at} ({seconds} s)")
        n = len(self.curves)
        over = f"median of {n} sessions" if n > 1 else "one session"
        return f"Best {NAMES[metric]} ({over}), by bins ahead: {'; '.join(parts)}."


def shown_horizons(horizon: int) -> list[int]:
    """Horizons of the printed table.

    >>> shown_horizons(32)
    [1, 2, 5, 10, 20, 32]
    """
    return sorted({h for h in (1, 2, 5, 10, 20, 50, 100, 200) if h < horizon} | {horizon})
