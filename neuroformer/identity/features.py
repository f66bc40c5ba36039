"""Feature sets of all units, brought to one scale."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from neuroformer.errors import UserError
from neuroformer.identity.activity import Activity
from neuroformer.identity.population import behavior_features, population_features
from neuroformer.identity.statistics import autocorrelogram_features, rate_features

_COMPUTED: dict[str, Callable[[Activity], tuple[np.ndarray, list[str]]]] = {
    "rates": rate_features,
    "autocorrelogram": autocorrelogram_features,
    "population": population_features,
    "behavior": behavior_features,
}
COMBINED = {
    "statistics": ("rates", "autocorrelogram"),
    "embedding+statistics": ("embedding", "rates", "autocorrelogram"),
    "all_statistics": ("rates", "autocorrelogram", "population", "behavior"),
    "embedding+all_statistics": ("embedding", "rates", "autocorrelogram", "population", "behavior"),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureSet:
    """One description of every unit.

    Attributes:
        name: of the set.
        values: (N, F) float64, finite, on the common scale.
        columns: names of the F features.
        undefined: share of the values that could not be computed and were put in the middle of their session.
    """

    name: str
    values: np.ndarray
    columns: list[str]
    undefined: float


def plain_features(
    activities: Sequence[Activity], names: Sequence[str]
) -> dict[str, tuple[np.ndarray, list[str]]]:
    """Compute the named basic sets: (N, F) with NaN where undefined, and names of the columns.

    `behavior` is left out where no variable is common to all sessions.

    Raises:
        UserError: sessions have different columns, as where some have amplitudes and others do not.
    """
    found = {}
    for name in names:
        if name == "behavior" and not activities[0].behavior_names:
            continue
        with warnings.catch_warnings():
            # A unit or a trace without a value gives NaN, which is counted below; no need to warn of it as well.
            warnings.simplefilter("ignore", RuntimeWarning)
            parts = [_COMPUTED[name](activity) for activity in activities]
        # A shorter session may lack the longest lags; what all have is compared.
        common = [c for c in parts[0][1] if all(c in columns for _, columns in parts)]
        if not common:
            raise UserError(
                f"features: {name} has no feature that every session has; take sessions of one kind"
            )
        found[name] = (
            np.concatenate([values[:, [columns.index(c) for c in common]] for values, columns in parts]),
            common,
        )
    return found


def basic_sets(names: Sequence[str]) -> list[str]:
    """The basic sets that the named ones are made of."""
    return list(dict.fromkeys(basic for name in names for basic in COMBINED.get(name, (name,))))


def feature_set(
    name: str,
    basics: dict[str, tuple[np.ndarray, list[str]]],
    session: np.ndarray,
    *,
    normalize: str,
) -> FeatureSet | None:
    """Put the basic sets of `name` side by side on the common scale; None where nothing new is left to combine.

    Args:
        name: basic or combined.
        basics: from `plain_features`, and `embedding`.
        session: (N,) which session each unit is of.
        normalize: see `normalized`.
    """
    wanted = COMBINED.get(name, (name,))
    present = [basic for basic in wanted if basic in basics and basics[basic][0].shape[1]]
    if not present or (name.startswith("embedding") and "embedding" not in present):
        return None
    values = np.concatenate([basics[basic][0] for basic in present], 1).astype(np.float64)
    columns = [f"{basic}:{column}" for basic in present for column in basics[basic][1]]
    return FeatureSet(
        name=name,
        values=normalized(values, session, how=normalize),
        columns=columns,
        undefined=float((~np.isfinite(values)).mean()),
    )


def normalized(values: np.ndarray, session: np.ndarray, *, how: str) -> np.ndarray:
    """Bring sessions together without labels; undefined values go to the middle of their session.

    Args:
        values: (N, F), NaN where undefined.
        session: (N,) which session each unit is of.
        how: `rank` (normal scores of the ranks within the session), `zscore` (within the session), `none`.

    >>> normalized(np.array([[1.0], [100.0], [2.0], [np.nan]]), np.array(["a"] * 4), how="rank").round(2).ravel()
    array([-0.97,  0.97,  0.  ,  0.  ])
    """
    out = np.zeros(values.shape)
    for name in np.unique(session):
        rows = session == name
        part = np.where(np.isfinite(values[rows]), values[rows], np.nan)
        if how == "rank":
            ranks = stats.rankdata(part, axis=0, nan_policy="omit")
            part = stats.norm.ppf((ranks - 0.5) / np.isfinite(part).sum(0).clip(1))
        elif how == "zscore":
            filled = np.ma.masked_invalid(part)
            spread = filled.std(0).filled(0)
            part = (part - filled.mean(0).filled(0)) / np.where(spread > 0, spread, np.inf)
        middle = np.ma.median(np.ma.masked_invalid(part), axis=0)
        out[rows] = np.where(np.isfinite(part), part, np.ma.filled(middle, 0.0))
    return out
