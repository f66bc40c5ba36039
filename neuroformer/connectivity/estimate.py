"""One form for every estimate of who drives whom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True, kw_only=True, eq=False)
class ConnectivityMap:
    """How strongly each unit drives each other one, by one method. S = T = number of units, L = of lags.

    Only the off-diagonal entries mean something: what a unit does to itself is refractoriness and adaptation,
    not wiring. The unit of measure is the method's own, so estimates are compared by rank, never by size.

    Attributes:
        name: The method, a valid file and key name such as ``cross_correlation``.
        matrix: (S, T) float64, [source, target]; positive excites, negative inhibits, 0 is no influence.
        lag_profile: (S, T, L) float32 influence by lag, or None where the method has no lags.
        lags_s: (L,) float64, the lags of the profile in seconds, or None.
        p_values: (S, T) float64, two-sided, of each pair against the method's own null; NaN on the diagonal; or None.
        gain: (S, T) float64, change of the target's log-intensity after an event of the source, summed over lags; or
            None where the method has no such scale.
        gain_error: (S, T) float64, its standard error; infinite where the recording says nothing; None without `gain`.
        description: One sentence on what the numbers are.
    """

    name: str
    matrix: np.ndarray
    lag_profile: np.ndarray | None = None
    lags_s: np.ndarray | None = None
    p_values: np.ndarray | None = None
    gain: np.ndarray | None = None
    gain_error: np.ndarray | None = None
    description: str = ""

    def __post_init__(self) -> None:
        assert self.matrix.ndim == 2, f"{self.name}: matrix has shape {self.matrix.shape}, not (S, T)"
        assert (self.lag_profile is None) == (self.lags_s is None), (
            f"{self.name}: a profile and its lags go together"
        )
        assert self.p_values is None or self.p_values.shape == self.matrix.shape, (
            f"{self.name}: shape of p-values"
        )
        if self.lag_profile is not None and self.lags_s is not None:
            expected = (*self.matrix.shape, len(self.lags_s))
            assert self.lag_profile.shape == expected, (
                f"{self.name}: {self.lag_profile.shape} is not {expected}"
            )

    def called(self, q: float) -> np.ndarray:
        """(S, T) bool: the inferred graph, with a false-discovery rate of at most `q` if the null is right.

        Benjamini & Hochberg 1995, J. R. Stat. Soc. B 57:289, over all ordered pairs off the diagonal.
        """
        assert self.p_values is not None, f"{self.name}: has no null, so no graph"
        graph = np.zeros(self.matrix.shape, dtype=bool)
        off = ~np.eye(len(graph), dtype=bool)
        graph[off] = stats.false_discovery_control(self.p_values[off]) <= q
        return graph

    def delays_s(self) -> np.ndarray:
        """(S, T) seconds: the lag at which the influence is largest in size, whether or not the pair is connected."""
        assert self.lag_profile is not None, f"{self.name}: has no lags"
        assert self.lags_s is not None
        return self.lags_s[np.abs(self.lag_profile).argmax(axis=-1)]


def from_lag_profile(
    name: str, profile: np.ndarray, bin_s: float, *, description: str = ""
) -> ConnectivityMap:
    """Build a map whose matrix is the size of the profile over its lags, with the sign of its sum.

    The size is the root of the sum of squares, which a brief synaptic peak raises more than a leftover of slow shared
    drive of the same area, spread over all lags.

    Args:
        name: The method.
        profile: (S, T, L) influence of the source in bin t on the target in bin t + l, for l = 1 … L.
        bin_s: Width of a bin in seconds.
        description: One sentence on what the numbers are.
    """
    return ConnectivityMap(
        name=name,
        matrix=np.sign(profile.sum(axis=-1, dtype=np.float64))
        * np.sqrt(np.square(profile, dtype=np.float64).sum(axis=-1)),
        lag_profile=profile.astype(np.float32),
        lags_s=bin_s * np.arange(1, profile.shape[-1] + 1),
        description=description,
    )
