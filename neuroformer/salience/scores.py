"""What deletion and insertion do to errors, pooled over sessions and seeds, with intervals; and a sentence a model.

Intervals draw blocks of test time, the same for all orders of units, and sessions where there are several: a difference
from random units is paired. That of random units is drawn over the orders too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from neuroformer.evaluation.block_draws import Score
from neuroformer.salience.agreement import mean_agreement
from neuroformer.salience.deletion import area

DRAWS = 1000
NAMES = {
    "gradient": "gradient × input",
    "integrated": "integrated gradients",
    "occlusion": "occlusion",
    "attention": "attention",
}
"""How saliences are called in words."""


class SalienceScores:
    """Results of all cells of one model.

    Args:
        results: of its cells (every session and seed).
        seed: of the draws.
    """

    def __init__(self, results: Sequence[dict[str, Any]], *, seed: int = 0) -> None:
        """See the class."""
        self.results = list(results)
        self.model = results[0]["model"]
        self.targets = list(results[0]["targets"])
        self.sessions = list(dict.fromkeys(r["session"] for r in results))
        self.seeds = sorted({r["seed"] for r in results})
        self.counts = [k for k in results[0]["counts"] if all(k in r["counts"] for r in results)]
        self._rng_seed = seed

    def saliences(self, target: str) -> list[str]:
        """Those that every session has."""
        first, *rest = [list(r["targets"][target]["saliences"]) for r in self.results]
        return [s for s in first if all(s in other for other in rest)]

    def rmse(self, target: str) -> Score:
        """With all units."""
        return self._pool([_full(r, target) for r in self.results])

    def rise(self, target: str, salience: str, k: int | None = None, *, kind: str = "deletion") -> Score:
        """RMSE minus that with all units, without (or with nothing but) the k most salient units.

        Args:
            target: of behaviour.
            salience: by which units are ordered; `random` for the mean over random orders.
            k: units; None: as many as each session's sentences are about.
            kind: deletion or insertion.
        """
        return self._pool([_rise(r, target, salience, k or r["highlight"], kind) for r in self.results])

    def against_random(
        self, target: str, salience: str, k: int | None = None, *, kind: str = "deletion"
    ) -> Score:
        """Paired: the rise with the most salient units minus the mean rise with random ones."""
        return self.rise(target, salience, k, kind=kind) - self.rise(target, "random", k, kind=kind)

    def random_range(
        self, target: str, k: int | None = None, *, kind: str = "deletion"
    ) -> tuple[float, float]:
        """Central 95 % of the rises with random orders, mean over sessions; not of time."""
        found = np.mean(
            [_random_rises(r, target, k or r["highlight"], kind) for r in self.results], axis=0
        )  # (R,), the r-th order of each session
        low, high = np.quantile(found, [0.025, 0.975])
        return float(low), float(high)

    def beyond_random(self, target: str, salience: str) -> tuple[int, int]:
        """Random orders whose deletion hurts at least as much, mean over sessions, and how many there are."""
        ours = self.rise(target, salience).value
        each = np.mean([_random_rises(r, target, r["highlight"], "deletion") for r in self.results], axis=0)
        return int((each >= ours).sum()), len(each)

    def area(self, target: str, salience: str, kind: str) -> float:
        """Between the curves of salient and of random units, over the logarithm of their number; > 0 is faithful."""
        ours, random = (
            np.array([self.rise(target, s, k, kind=kind).value for k in self.counts])
            for s in (salience, "random")
        )
        return float(area(self.counts, ours - random if kind == "deletion" else random - ours))

    def retrained(self, target: str, salience: str) -> tuple[float, float] | None:
        """Rise of RMSE of a model fitted again without the units, salient and random."""
        rises: list[list[float]] = []
        for r in self.results:
            again = r["targets"][target].get("retrained")
            if again is None:
                return None
            full = _rmse(_array(r["targets"][target]["full"]))
            random = [_rmse(_array(e)) for e in again["random"]]
            rises.append([_rmse(_array(again["saliences"][salience])) - full, float(np.mean(random)) - full])
        ours, others = np.mean(rises, axis=0)
        return float(ours), float(others)

    def agreement(self, target: str, salience: str) -> dict[str, float] | None:
        """Between seeds, mean over sessions; None with one seed."""
        found = []
        for session in self.sessions:
            mine = [r for r in self.results if r["session"] == session]
            units = [np.array(r["targets"][target]["saliences"][salience]["units"]) for r in mine]
            found.append(mean_agreement(units, mine[0]["highlight"]))
        if any(f is None for f in found):
            return None
        return {k: float(np.mean([f[k] for f in found if f])) for k in found[0] or {}}

    def mean_of(self, target: str, salience: str, *keys: str) -> float | None:
        """Mean over cells of a number that they have; None where they have none."""
        found = []
        for r in self.results:
            value: Any = r["targets"][target]["saliences"][salience]
            for key in keys:
                value = None if value is None else value[key]
            found.append(value)
        return None if any(v is None for v in found) else float(np.mean(found))

    def _pool(self, each: Sequence[Any]) -> Score:
        """Mean over seeds and sessions of what draws of blocks give in each cell."""
        rng = np.random.default_rng(self._rng_seed)
        by_session: dict[str, list[np.ndarray]] = {}
        blocks = []
        for r, value in zip(self.results, each, strict=True):
            m = len(r["targets"][self.targets[0]]["full"])
            blocks.append(m)
            # All seeds of a session, and all orders of units, see the same blocks drawn.
            weights = np.random.default_rng([self._rng_seed, self.sessions.index(r["session"])]).multinomial(
                m, np.full(m, 1 / m), size=DRAWS
            )
            draws = np.concatenate([np.ones((1, m)), weights]) if m > 1 else np.ones((1, m))
            by_session.setdefault(r["session"], []).append(value(_Drawn(draws)))
        means = np.stack([np.mean(seeds, axis=0) for seeds in by_session.values()])  # (sessions, 1 + DRAWS)
        n = len(means)
        value, drawn = float(means[:, 0].mean()), means[:, 1:]
        if n > 1 and drawn.shape[1]:
            at = rng.integers(n, size=(n, DRAWS))
            drawn = drawn[at, np.arange(DRAWS)]
        return Score(value, drawn.mean(0), n if n > 1 else min(blocks))


class _Drawn:
    """RMSE in every draw of blocks (1 + draws,), from sums by block (M, 2)."""

    def __init__(self, weights: np.ndarray) -> None:
        self._weights = weights

    def __call__(self, sums: np.ndarray) -> np.ndarray:
        total = self._weights @ sums  # (1 + draws, 2)
        with np.errstate(invalid="ignore", divide="ignore"):
            found: np.ndarray = np.sqrt(total[:, 0] / total[:, 1])
        return found


def _array(value: Any) -> np.ndarray:
    return np.asarray(value, float)


def _rmse(sums: np.ndarray) -> float:
    total, n = sums.sum(0)
    return float(math.sqrt(total / n))


def _full(r: dict[str, Any], target: str) -> Any:
    sums = _array(r["targets"][target]["full"])
    return lambda draws: draws(sums)


def _rise(r: dict[str, Any], target: str, salience: str, k: int, kind: str) -> Any:
    found, at = r["targets"][target], r["counts"].index(k)
    full = _array(found["full"])
    if salience == "random":
        each = _array(found["random"][kind])[:, at]  # (R, M, 2)
        return lambda draws: np.mean([draws(e) for e in each], axis=0) - draws(full)
    ours = _array(found["saliences"][salience][kind])[at]
    return lambda draws: draws(ours) - draws(full)


def _random_rises(r: dict[str, Any], target: str, k: int, kind: str) -> np.ndarray:
    found = r["targets"][target]
    full = _rmse(_array(found["full"]))
    return np.array([_rmse(e) - full for e in _array(found["random"][kind])[:, r["counts"].index(k)]])


def rows(scores: SalienceScores, units: dict[str, str]) -> list[dict[str, Any]]:
    """A row per target and salience."""
    found = []
    for target in scores.targets:
        for s in scores.saliences(target):
            rise, difference = scores.rise(target, s), scores.against_random(target, s)
            again = scores.retrained(target, s)
            hurt, orders = scores.beyond_random(target, s)
            found.append({
                "target": target, "model": scores.model, "salience": s, "unit": units.get(target, ""),
                "deleted": _highlights(scores), "rmse": scores.rmse(target).value,
                "rise": rise.value, "rise_interval": rise.interval,
                "random_rise": scores.rise(target, "random").value,
                "random_range": scores.random_range(target),
                "minus_random": difference.value, "minus_random_interval": difference.interval,
                "random_that_hurt_as_much": hurt, "random_orders": orders,
                "deletion_area": scores.area(target, s, "deletion"),
                "insertion_area": scores.area(target, s, "insertion"),
                "retrained_rise": None if again is None else again[0],
                "retrained_random_rise": None if again is None else again[1],
                "seed_agreement": scores.agreement(target, s),
                "shuffled_weights_rank_correlation": scores.mean_of(target, s, "shuffled_weights", "rank_correlation"),
                "average_precision": scores.mean_of(target, s, "average_precision"),
                "completeness_error": scores.mean_of(target, s, "residual") if s == "integrated" else None,
                "windows": scores.mean_of(target, s, "windows"),
            })  # fmt: skip
    return found


def _highlights(scores: SalienceScores) -> str:
    counts = sorted({r["highlight"] for r in scores.results})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"


def sentence(row: dict[str, Any]) -> str:
    """What deletion by one salience does to one model, in words."""
    unit = f" {row['unit']}" if row["unit"] else ""
    low, high = row["random_range"]
    clear = row["minus_random_interval"] is not None and row["minus_random_interval"][0] > 0
    k = row["deleted"]
    text = (
        f"{row['model']}, {row['target']}: deleting the {k} most salient units by {NAMES[row['salience']]} "
        f"changes RMSE by {row['rise']:+.3g}{_interval(row['rise_interval'])}{unit}, "
        f"{k} random ones by {row['random_rise']:+.3g} [{low:.2g}, {high:.2g}]: "
        + ("it hurts more than chance" if clear else "no clear difference from chance")
    )
    if row["salience"] == "occlusion" and row["windows"] < 10:
        text += f" (salience of {row['windows']:.0f} windows only, raise max_occlusions)"
    if row["average_precision"] is not None:
        text += f"; average precision for the true units {row['average_precision']:.2f}"
    return text + "."


def _interval(ends: Sequence[float] | None) -> str:
    return "" if ends is None else f" [{ends[0]:.2g}, {ends[1]:.2g}]"
